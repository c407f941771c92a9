"""Clients, balancer and backends: three network namespaces in a row.

    clients c0 --- l0 balancer l1 --- b0 backends

The addresses are those of packets/src/plan.rs. Nothing is ever resolved: each neighbour is written down.
"""

from common.namespaces import Namespaces

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


class Topology(Namespaces):
    def __init__(self, name):
        super().__init__(name, ["clients", "balancer", "backends"])

    def build(self):
        for part in self.namespaces:
            self.sysctls(part, {"net.ipv6.conf.default.disable_ipv6": int(part != "balancer")})
        self.sysctls("balancer", SYSCTLS)
        self.wire(("clients", "c0"), ("balancer", "l0"))
        self.wire(("balancer", "l1"), ("backends", "b0"))
        self.ip("balancer", *[line for network in NETWORKS for line in network_of_balancer(*network)])
        self.ip("balancer", "route add 10.64.0.0/10 via 10.1.0.16", "route add fd00:64::/64 via fd00:1::10")
        # Frames from a native XDP program reach a veth only where its other end polls.
        self.call("balancer", "ethtool", "-K", "l0", "gro", "on")

    def wire(self, one, other):
        (part, interface), (peer_part, peer) = one, other
        end = f"name {peer} address {MACS[peer]} netns {self.namespaces[peer_part]}"
        self.ip(part, f"link add {interface} address {MACS[interface]} type veth peer {end}")
        self.ip(part, f"link set {interface} up")
        self.ip(peer_part, f"link set {peer} up")

    def nft(self, rules):
        self.call("balancer", "nft", "-f", "-", stdin=rules)

    def place(self, interface):
        part = {"c0": "clients", "b0": "backends"}.get(interface, "balancer")
        return {"namespace": str(self.path(part)), "interface": interface}


def network_of_balancer(interface, number, neighbour):
    yield f"address add 10.{number}.0.1/24 dev {interface}"
    yield f"address add fd00:{number}::1/64 dev {interface} nodad"
    for host in BACKENDS:
        for address in (f"10.{number}.0.{host}", f"fd00:{number}::{host:x}"):
            yield f"neighbour add {address} lladdr {MACS[neighbour]} dev {interface} nud permanent"
