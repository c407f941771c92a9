"""What a client sees while something happens: `with Traffic(pair, "new", "203.0.113.10") as seen: ...`."""

import json
import pathlib
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

from steps import require

# More than this of a gap is said to be the host's.
WORTH_TELLING = 0.05
PROBE = pathlib.Path(__file__).with_name("probe.py")


@dataclass(frozen=True)
class Gap:
    """A time without an answer, and how much of it a guest waited for a CPU of the host."""

    start: float
    end: float
    waited: float
    guest: str

    @property
    def seconds(self) -> float:
        return self.end - self.start - self.waited

    def __str__(self) -> str:
        if self.start == self.end:
            return "below 0.2 s"
        host = f" and {self.waited:.2f} s in which {self.guest} had no CPU" if self.waited > WORTH_TELLING else ""
        return f"{self.seconds:.2f} s{host}"


class Traffic:
    """Requests from before the event to after it; `answers` and the others are there when the block has ended."""

    def __init__(self, pair, kind: str, address: str, port: int = 80, connections: int = 1, settle: float = 1.0):
        self.host, self.waiting, self.settle = pair.client, pair.waiting, settle
        # A client's own lateness would look like lb's.
        self.command = f"chrt -f 10 {sys.executable} {PROBE} {kind} {address} {port} {connections}"

    def __enter__(self):
        self.process = subprocess.Popen(
            self.host.command(f"exec {self.command}"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        time.sleep(self.settle)
        return self

    def __exit__(self, kind, error, trace):
        if kind is None:
            time.sleep(self.settle)
        output, _ = self.process.communicate("", timeout=60)
        self.reports = json.loads(output)

    @property
    def answers(self) -> int:
        return sum(report["answers"] for report in self.reports)

    @property
    def failures(self) -> int:
        return sum(report["failures"] for report in self.reports)

    @property
    def longest(self) -> "Gap":
        """The longest time without an answer."""
        times = [times for report in self.reports for times in report["gaps"]]
        gaps = [Gap(start, end, *self.waiting.between(start, end)) for start, end in times]
        return max(gaps, key=lambda gap: gap.seconds, default=Gap(0, 0, 0, ""))

    @property
    def errors(self) -> str:
        counts = {}
        for report in self.reports:
            for error, count in report["errors"].items():
                counts[error] = counts.get(error, 0) + count
        return ", ".join(f"{count} x {error}" for error, count in counts.items())

    def none_refused(self) -> None:
        """Fails where a request was refused or cut off; one that only took long may have met a slow guest."""
        refused = {error for report in self.reports for error in report["errors"] if not error.startswith("TimeoutError")}
        require(not refused, f"requests failed: {self.errors}")

    def lasted(self, limit: float) -> str:
        """The gap in words; fails where it was longer than the limit."""
        require(self.answers > 10, f"the client got {self.answers} answers in all: {self.errors}")
        requests = self.answers + self.failures
        seen = f"longest gap {self.longest}, {self.failures} of {requests} requests failed"
        require(self.longest.seconds <= limit, f"{seen}; allowed {limit:.1f} s; {self.errors}")
        return seen

    def all_live(self) -> str:
        """Fails where a kept connection broke."""
        live = sum(not report["failures"] and report["answers"] > 0 for report in self.reports)
        require(live == len(self.reports), f"{live} of {len(self.reports)} connections live: {self.errors}")
        return f"{live} of {live} connections live, longest gap {self.longest}"


class Pings:
    """Twenty pings a second; how many were sent, and how many are lost."""

    def __init__(self, host, address: str):
        self.command = host.command(f"exec ping -n -i 0.05 {address}")

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        time.sleep(1)
        return self

    def __exit__(self, kind, error, trace):
        time.sleep(1)
        self.process.send_signal(signal.SIGINT)
        output, _ = self.process.communicate(timeout=60)
        self.sent, received = map(int, re.search(r"(\d+) packets transmitted, (\d+) received", output).groups())
        # The last one may still be on its way.
        self.lost = max(0, self.sent - received - 1)
