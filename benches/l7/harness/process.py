"""Programs that run on one CPU, and what they use."""

import os
import pathlib
import socket
import subprocess
import sys
import time

from common.machine import family

PROXY_CPU = "0"
OTHER_CPU = "1"


def require_two_cpus():
    if not {int(PROXY_CPU), int(OTHER_CPU)} <= os.sched_getaffinity(0):
        sys.exit("the benchmark needs CPUs 0 and 1: one for the proxy, one for generator and origin")


class Process:
    """A program pinned to one CPU, with whatever processes it starts."""

    def __init__(self, cpu, command, log, **options):
        self.log = pathlib.Path(log)
        with self.log.open("ab") as output:
            self.child = subprocess.Popen(["taskset", "-c", cpu, *map(str, command)], stderr=output, **options)

    @property
    def pid(self):
        return self.child.pid

    def begin(self):
        """The measured requests start now."""
        self.cpu_before = self.cpu_seconds()

    def end(self):
        """They have ended; returns the CPU seconds that they took."""
        return self.cpu_seconds() - self.cpu_before

    def cpu_seconds(self):
        """User and system time so far, of all threads and processes."""
        return sum(cpu_seconds(pid) for pid in family(self.pid))

    def memory(self):
        """Resident memory in bytes: (RSS summed, PSS summed)."""
        parts = [memory(pid) for pid in family(self.pid)]
        return sum(part[0] for part in parts), sum(part[1] for part in parts)

    def stop(self):
        self.child.terminate()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()

    def wait_for_port(self, port, seconds=10):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                break
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.02)
        raise RuntimeError(f"nothing listens on port {port}; {self.log}:\n{self.log.read_text()[-2000:]}")


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid):
    sizes = {}
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, size = line.split()[:2]
        sizes[name] = int(size) * 1024
    return sizes["Rss:"], sizes["Pss:"]
