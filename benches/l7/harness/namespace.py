"""The network namespace that all of it runs in."""

import os
import pathlib
import subprocess
import sys


def enter(marker="LB_BENCH_NAMESPACE"):
    """Runs this program again in a network namespace of its own, where nothing else listens or sends."""
    if marker in os.environ:
        prepare()
        return
    os.environ[marker] = "1"
    unshare = ["unshare", "--net"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
    os.execvp("unshare", [*unshare, sys.executable, *sys.argv])


def prepare():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    write_sysctl("net/ipv4/ip_local_port_range", "16384 60999")
    write_sysctl("net/core/somaxconn", "16384")
    # Debian's default is cubic. A namespace may only choose what its host allows; without loss, as on loopback, reno
    # is the same, while a host's BBR would pace, with timers of its own.
    if not write_sysctl("net/ipv4/tcp_congestion_control", "cubic"):
        write_sysctl("net/ipv4/tcp_congestion_control", "reno")


def write_sysctl(name, value):
    try:
        pathlib.Path("/proc/sys", name).write_text(value)
        return True
    except OSError:
        return False


def read_sysctl(name):
    return pathlib.Path("/proc/sys", name).read_text().strip()
