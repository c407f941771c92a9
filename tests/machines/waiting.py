"""How long guests waited for a CPU of the host: that is no fault of what runs in them, and no part of a gap."""

import pathlib
import threading
import time
from bisect import bisect_left

EVERY = 0.05


class Waiting:
    """Looks at the threads of each guest from now on."""

    def __init__(self, machines):
        self.machines = machines
        self.times, self.samples = [], []
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self) -> None:
        while True:
            sample = {thread: waited for guest in self.machines for thread, waited in threads_of(guest)}
            self.samples.append(sample)
            self.times.append(time.monotonic())
            time.sleep(EVERY)

    def between(self, start: float, end: float) -> tuple[float, str]:
        """The seconds that the thread with the least luck waited in that time, and whose it is."""
        first, last = bisect_left(self.times, start), bisect_left(self.times, end) - 1
        if first >= last:
            return 0.0, ""
        before, after = self.samples[first], self.samples[last]
        waited = [(after[thread] - before[thread], thread[0]) for thread in after.keys() & before.keys()]
        return max(waited, default=(0.0, ""))


def threads_of(guest) -> list[tuple[tuple[str, str], float]]:
    """Name and thread, and its seconds on a run queue so far."""
    if not guest.running:
        return []
    found = []
    for thread in pathlib.Path(f"/proc/{guest.process.pid}/task").iterdir():
        try:
            found.append(((guest.name, thread.name), int((thread / "schedstat").read_text().split()[1]) / 1e9))
        except OSError:
            pass  # it has ended
    return found
