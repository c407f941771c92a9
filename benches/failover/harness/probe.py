"""What the client asks, and what it sees."""

import contextlib
import dataclasses
import struct
import subprocess
import threading
import time

PORT = 7000
PERIOD = 1_000_000
"""Between two questions, in nanoseconds."""
REALTIME = ["chrt", "-f", "60"]


@dataclasses.dataclass(frozen=True)
class Seen:
    """Of the questions in some span of time."""

    gap: float
    """The longest silence in ms, beyond the one that is between two answers anyway."""
    lost: int
    pause: float
    """The longest time in ms in which the prober itself did not ask."""
    movements: int
    """How often another node answered than before."""


class Prober:
    def __init__(self, topology, tool, vip, directory):
        self.topology, self.tool, self.vip = topology, tool, vip
        self.out = directory / "probes"
        self.records = []

    def __enter__(self):
        command = [*REALTIME, self.tool, "probe", f"{self.vip}:{PORT}", "--out", self.out]
        self.process = subprocess.Popen(self.topology.inside("client", *command), stdin=subprocess.PIPE)
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def finish(self):
        self.process.stdin.close()
        if self.process.wait(timeout=10):
            raise RuntimeError("the prober failed")
        self.records = list(struct.iter_unpack("<QQB", self.out.read_bytes()))

    def seen(self, begin, end):
        """Between two readings of time.monotonic_ns()."""
        records = [record for record in self.records if begin <= record[0] < end]
        if not records:
            raise RuntimeError("the prober did not ask")
        asked = [begin, *(record[0] for record in records), end]
        answers = sorted((answered, name) for _, answered, name in records if answered)
        heard = [begin, *(answered for answered, _ in answers), end]
        return Seen(
            gap=longest(heard),
            lost=sum(1 for record in records if not record[1]),
            pause=longest(asked),
            movements=sum(1 for (_, one), (_, next_one) in zip(answers, answers[1:]) if one != next_one),
        )


def longest(times):
    step = max(later - earlier for earlier, later in zip(times, times[1:]))
    return max(step - PERIOD, 0) / 1e6


def await_advert(topology, tool, listener, seconds):
    """Returns so long after an advert that comes to that node."""
    command = [*REALTIME, tool, "advert", "--microseconds", round(seconds * 1e6)]
    subprocess.run(topology.inside(listener, *command), check=True)


@contextlib.contextmanager
def echoes(topology, tool, vip, nodes):
    """On each node, before and after it has the address."""
    commands = [[*REALTIME, tool, "echo", f"{vip}:{PORT}", "--name", node] for node in nodes]
    running = [
        subprocess.Popen(topology.inside(node, *command)) for node, command in zip(nodes, commands, strict=True)
    ]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


class Watch:
    """Virtual addresses that come and go on a node, by the kernel's notifications."""

    def __init__(self, topology, node, vip):
        self.changes = []
        command = topology.inside(node, "ip", "-o", "-4", "monitor", "address")
        self.vip = vip
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.thread.join()

    def read(self):
        for line in self.process.stdout:
            if f" {self.vip}/" in line:
                self.changes.append((time.monotonic_ns(), not line.startswith("Deleted")))

    def between(self, begin, end):
        return [has for at, has in self.changes if begin <= at < end]
