"""What the benchmark needs of the machine: packages, a network namespace of its own, pinned processes."""

import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]

PROXY_CPU = "0"
OTHER_CPU = "1"


def install(*parts):
    """Installs the Debian packages that the `parts` of `.ci/setup` need and that are not there."""
    subprocess.run([REPOSITORY / ".ci" / "setup", *parts], check=True)


def find(program):
    return shutil.which(program, path=os.environ["PATH"] + ":/usr/local/sbin:/usr/sbin:/sbin")


def build(*packages):
    """Release builds; returns the directory of the binaries."""
    names = [argument for package in packages for argument in ("-p", package)]
    subprocess.run(["cargo", "build", "--release", "--quiet", *names], check=True, cwd=REPOSITORY)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    return target / "release"


def enter_namespace(marker="LB_BENCH_NAMESPACE"):
    """Runs this program again in a network namespace of its own, where nothing else listens or sends."""
    if marker in os.environ:
        prepare_namespace()
        return
    os.environ[marker] = "1"
    unshare = ["unshare", "--net"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
    os.execvp("unshare", [*unshare, sys.executable, *sys.argv])


def prepare_namespace():
    subprocess.run([find("ip"), "link", "set", "lo", "up"], check=True)
    write_sysctl("net/ipv4/ip_local_port_range", "16384 60999")
    write_sysctl("net/core/somaxconn", "16384")
    # Debian's default is cubic. A namespace may only choose what its host allows; without loss, as on loopback, reno
    # is the same, while a host's BBR would pace, with timers of its own.
    if not write_sysctl("net/ipv4/tcp_congestion_control", "cubic"):
        write_sysctl("net/ipv4/tcp_congestion_control", "reno")


def prioritise(nice):
    """Niceness counts only within a session where the kernel groups by session, so the group gets it as well."""
    if nice:
        os.nice(nice)
        try:
            pathlib.Path("/proc/self/autogroup").write_text(str(nice))
        except OSError:
            pass


def write_sysctl(name, value):
    try:
        pathlib.Path("/proc/sys", name).write_text(value)
        return True
    except OSError:
        return False


def read_sysctl(name):
    return pathlib.Path("/proc/sys", name).read_text().strip()


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


def family(pid):
    """The process and its descendants."""
    found = [pid]
    for parent in found:
        for children in pathlib.Path(f"/proc/{parent}/task").glob("*/children"):
            found += [int(child) for child in children.read_text().split()]
    return found


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid):
    sizes = {}
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, size = line.split()[:2]
        sizes[name] = int(size) * 1024
    return sizes["Rss:"], sizes["Pss:"]
