"""Clients, balancer and backends: three network namespaces in a row.

    clients c0 --- l0 balancer l1 --- b0 backends

The addresses are those of packets/src/plan.rs. Nothing is ever resolved: each neighbour is written down.
"""

import pathlib
import subprocess

MACS = {"c0": "02:00:00:00:00:01", "l0": "02:00:00:00:00:02", "l1": "02:00:00:00:00:03", "b0": "02:00:00:00:00:04"}
BACKENDS = range(16, 32)

# Network of the balancer's interface, and who has the addresses of the backends there.
NETWORKS = [("l0", 1, "c0"), ("l1", 2, "b0"), ("l0", 3, "c0")]

SYSCTLS = {
    "net.ipv4.ip_forward": 1,
    "net.ipv6.conf.all.forwarding": 1,
    "net.ipv4.conf.all.rp_filter": 0,
    "net.ipv4.conf.default.rp_filter": 0,
}


class Topology:
    def __init__(self, name):
        self.clients, self.balancer, self.backends = (f"{name}-{part}" for part in ("clients", "lb", "backends"))

    def __enter__(self):
        self.leave()
        try:
            self.build()
        except BaseException:
            self.leave()
            raise
        return self

    def __exit__(self, *_):
        self.leave()

    def leave(self):
        for namespace in (self.clients, self.balancer, self.backends):
            if path(namespace).exists():
                subprocess.run(["ip", "netns", "delete", namespace], check=False)

    def build(self):
        for namespace in (self.clients, self.balancer, self.backends):
            call("ip", "netns", "add", namespace)
            self.sysctl(namespace, "net.ipv6.conf.default.disable_ipv6", int(namespace != self.balancer))
        for name, value in SYSCTLS.items():
            self.sysctl(self.balancer, name, value)
        pair((self.clients, "c0"), (self.balancer, "l0"))
        pair((self.balancer, "l1"), (self.backends, "b0"))
        batch(self.balancer, [line for network in NETWORKS for line in network_of_balancer(*network)])
        batch(self.balancer, ["route add 10.64.0.0/10 via 10.1.0.16", "route add fd00:64::/64 via fd00:1::10"])
        # Frames from a native XDP program reach a veth only where its other end polls.
        call("ip", "netns", "exec", self.balancer, "ethtool", "-K", "l0", "gro", "on")

    def sysctl(self, namespace, name, value):
        call("ip", "netns", "exec", namespace, "sysctl", "-qw", f"{name}={value}")

    def nft(self, rules):
        call("ip", "netns", "exec", self.balancer, "nft", "-f", "-", stdin=rules)

    def place(self, interface):
        namespace = {"c0": self.clients, "b0": self.backends}.get(interface, self.balancer)
        return {"namespace": str(path(namespace)), "interface": interface}


def path(namespace):
    return pathlib.Path("/run/netns", namespace)


def pair(one, other):
    (namespace, interface), (peer_namespace, peer) = one, other
    call(
        *["ip", "-n", namespace, "link", "add", interface, "address", MACS[interface], "type", "veth"],
        *["peer", "name", peer, "address", MACS[peer], "netns", peer_namespace],
    )
    call("ip", "-n", namespace, "link", "set", interface, "up")
    call("ip", "-n", peer_namespace, "link", "set", peer, "up")


def network_of_balancer(interface, number, neighbour):
    yield f"address add 10.{number}.0.1/24 dev {interface}"
    yield f"address add fd00:{number}::1/64 dev {interface} nodad"
    for host in BACKENDS:
        for address in (f"10.{number}.0.{host}", f"fd00:{number}::{host:x}"):
            yield f"neighbour add {address} lladdr {MACS[neighbour]} dev {interface} nud permanent"


def batch(namespace, lines):
    call("ip", "-n", namespace, "-batch", "-", stdin="\n".join(lines) + "\n")


def call(*command, stdin=None):
    subprocess.run(command, input=stdin, text=True, check=True)
