"""What a client sees while something happens: `with Traffic(host, "new", "203.0.113.10") as seen: ...`."""

import json
import pathlib
import subprocess
import sys
import time

from steps import require

PROBE = pathlib.Path(__file__).with_name("probe.py")


class Traffic:
    """Requests from before the event to after it; `longest` and the others are there when the block has ended."""

    def __init__(self, host, kind: str, address: str, port: int = 80, connections: int = 1, settle: float = 1.0):
        self.host, self.settle = host, settle
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
    def longest(self) -> float:
        """The longest time without an answer, in seconds."""
        return max(report["longest"] for report in self.reports)

    @property
    def errors(self) -> str:
        counts = {}
        for report in self.reports:
            for error, count in report["errors"].items():
                counts[error] = counts.get(error, 0) + count
        return ", ".join(f"{count} x {error}" for error, count in counts.items())

    def lasted(self, limit: float) -> str:
        """The gap in words; fails where it was longer than the limit."""
        require(self.answers > 10, f"the client got {self.answers} answers in all: {self.errors}")
        seen = f"longest gap {self.longest:.2f} s, {self.failures} of {self.answers + self.failures} requests failed"
        require(self.longest <= limit, f"{seen}; allowed {limit} s; {self.errors}")
        return seen

    def all_live(self) -> str:
        """Fails where a kept connection broke."""
        live = sum(not report["failures"] and report["answers"] > 0 for report in self.reports)
        require(live == len(self.reports), f"{live} of {len(self.reports)} connections live: {self.errors}")
        return f"{live} of {live} connections live, longest gap {self.longest:.2f} s"
