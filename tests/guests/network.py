"""Ethernet segments, and hosts without a kernel of their own, for guests to meet.

Everything stands in the network namespace of the process: call isolate() first, and it all ends with the process, as
it has process ids, mounts and networks of its own.
"""

import os
import shlex
import signal
import subprocess
import sys

ISOLATED = "LB_ISOLATED"


def isolate() -> None:
    """Starts this program anew in namespaces of its own; what it leaves running is killed when it ends."""
    if is_isolated():
        # Process 1, which we are, is not ended by a signal that it does not handle.
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda number, _: sys.exit(128 + number))
        run("mount -t tmpfs run /run && mkdir /run/netns && ip link set lo up")
        return
    os.environ[ISOLATED] = "yes"
    unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    os.execvp("unshare", [*unshare, sys.executable, *sys.argv])


def is_isolated() -> bool:
    return ISOLATED in os.environ


def bridge(name: str) -> None:
    """A switch. It learns and forwards at once, and has no address itself."""
    run(f"ip link add {name} type bridge forward_delay 0 mcast_snooping 0")
    run(f"sysctl -qw net.ipv6.conf.{name}.disable_ipv6=1; ip link set {name} up")


def tap(name: str, at: str, queues: int = 1) -> str:
    """A port of the switch `at`, for a guest's card."""
    several = "multi_queue" if queues > 1 else ""
    run(f"ip link show {name} >/dev/null 2>&1 || ip tuntap add {name} mode tap {several}")
    run(f"sysctl -qw net.ipv6.conf.{name}.disable_ipv6=1; ip link set {name} master {at} up")
    return name


class Host:
    """A host on the segments that shares our kernel: a client, or a server whose kernel does not matter."""

    def __init__(self, name: str):
        self.name = name
        run(f"ip netns add {name} && ip -n {name} link set lo up")

    def plug(self, card: str, at: str, *addresses: str) -> None:
        """A card on the switch `at`."""
        port = f"{self.name}-{card}"
        run(f"ip link add {port} type veth peer name {card} netns {self.name}")
        run(f"sysctl -qw net.ipv6.conf.{port}.disable_ipv6=1; ip link set {port} master {at} up")
        for address in addresses:
            self.run(f"ip address add {address} dev {card} {'nodad' if ':' in address else ''}")
        self.run(f"ip link set {card} up")
        # What leaves here has its checksum, as on a wire.
        self.run(f"ethtool -K {card} tx off >/dev/null")

    def command(self, command: str) -> list[str]:
        return ["ip", "netns", "exec", self.name, "bash", "-c", command]

    def run(self, command: str, seconds: float = 60) -> str:
        """The output of a command that must not fail."""
        return run(shlex.join(self.command(command)), seconds)

    def try_output(self, command: str, seconds: float = 60) -> str:
        """What a command said, even if it failed."""
        done = subprocess.run(self.command(command), timeout=seconds, stdin=subprocess.DEVNULL, text=True, errors="replace",
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return done.stdout

    def start(self, command: str, **streams) -> subprocess.Popen:
        return subprocess.Popen(self.command(f"exec {command}"), stdin=subprocess.DEVNULL, **streams)


def run(command: str, seconds: float = 60) -> str:
    done = subprocess.run(
        ["bash", "-c", command], timeout=seconds, text=True, errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    if done.returncode:
        raise RuntimeError(f"{command}: exit code {done.returncode}\n{done.stdout.strip()}")
    return done.stdout.strip()
