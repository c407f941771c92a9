"""Boots a kernel and an initramfs, and says how it ended."""

import dataclasses
import functools
import os
import pathlib
import resource
import signal
import subprocess
import tempfile
import threading
import time

from .initramfs import ENDED

# Without `no_timer_check` a guest panics at its start where the emulation gets too little of a CPU; a watchdog that
# measures time would only tell of the same.
PARAMETERS = "quiet console=ttyS0 panic=-1 oops=panic no_timer_check nowatchdog rcupdate.rcu_cpu_stall_suppress=1"
LAST_LINES = 25


@dataclasses.dataclass(frozen=True)
class Result:
    status: int | None  # of the script; None where it did not come to its end
    output: str  # of the script
    console: str  # of the kernel
    seconds: float
    cpu: float  # seconds of it that QEMU computed
    fault: str | None  # why there is no status

    @property
    def good(self):
        return self.status == 0

    def explanation(self):
        """What a person wants to see of a guest that failed."""
        if self.fault is None:
            return f"the script ended with {self.status}"
        return f"{self.fault}; the end of its console:\n{tail(self.console)}\nand of its output:\n{tail(self.output)}"


def tail(text):
    return "\n".join(text.splitlines()[-LAST_LINES:])


@functools.cache
def accelerator():
    """KVM where it works. That /dev/kvm opens does not say so: in a guest of a host without nested virtualisation
    it does, too. LB_GUEST_ACCEL=tcg|kvm decides otherwise."""
    flags = pathlib.Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split()
    usable = os.access("/dev/kvm", os.R_OK | os.W_OK) and ("vmx" in flags or "svm" in flags)
    return os.environ.get("LB_GUEST_ACCEL") or ("kvm" if usable else "tcg")


def machine(*, memory=1024, cpus=2, icount=None):
    """The beginning of QEMU's command line, without any device or kernel. `icount`: as the option of that name; guest
    time then counts instructions, on one CPU."""
    if icount:
        return [*HEAD, "-accel", "tcg,thread=single", "-cpu", "max", "-icount", icount, "-m", str(memory)]
    kind = ["-accel", "kvm", "-cpu", "host"] if accelerator() == "kvm" else ["-accel", "tcg,thread=multi", "-cpu", "max"]
    return [*HEAD, *kind, "-smp", str(cpus), "-m", str(memory)]


# It ends with whoever started it.
HEAD = ["setpriv", "--pdeathsig", "KILL", "--", "qemu-system-x86_64"]
HEAD += ["-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none", "-no-reboot"]


def boot(kernel, initramfs, *, seconds=300, parameters="", say=None, devices=(), **shape):
    """Until the script ends, or for so many seconds. `say` is given each line of the script's output as it comes;
    `devices` are further arguments of QEMU, `shape` is what `machine` takes."""
    with tempfile.TemporaryDirectory(prefix="lb-guest-") as folder:
        console = pathlib.Path(folder, "console")
        command = [*machine(**shape), "-kernel", kernel.image, "-initrd", initramfs, "-append"]
        command += [f"{PARAMETERS} {parameters}".strip(), "-serial", f"file:{console}", "-serial", "stdio", *devices]
        return watch([str(word) for word in command], console, seconds, say or (lambda line: None))


def watch(command, console, seconds, say):
    began, before = time.monotonic(), children()
    guest = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    limit = threading.Timer(seconds, guest.kill)
    limit.start()
    try:
        status, output = listen(guest.stdout, say)
    finally:
        late = not limit.is_alive()
        limit.cancel()
        guest.kill()
        errors = guest.communicate()[1].decode(errors="replace")
    kernel = console.read_text(encoding="utf-8", errors="replace") if console.exists() else ""
    fault = None if status is not None else why(late, seconds, kernel, guest.returncode, errors)
    return Result(status, output, kernel, time.monotonic() - began, children() - before, fault)


def children():
    """Seconds that programs have computed which this process started and which have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def listen(stream, say):
    """The script's status, if it comes to its end, and its output."""
    lines = []
    for raw in stream:
        line = raw.decode(errors="replace").rstrip("\r\n")
        if line.startswith(ENDED):
            return int(line[len(ENDED) :]), "\n".join(lines)
        lines.append(line)
        say(line)
    return None, "\n".join(lines)


def why(late, seconds, console, code, errors):
    if "Kernel panic" in console:
        return "the guest's kernel panicked"
    if late:
        return f"the guest was not done after {seconds} seconds"
    if code not in (0, -signal.SIGKILL):
        return f"QEMU ended with {code}: {errors.strip()}"
    return "the guest ended before its script did"
