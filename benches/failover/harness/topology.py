"""A client and two nodes on one bridge: four network namespaces.

    client .7 ---- client-port \\
    a      .2 ---- a-port -------- bridge `lan`, 10.1.0.0/16 (in the namespace `switch`)
    b      .3 ---- b-port ------ /
"""

import subprocess
import time

from common.namespaces import Namespaces

ADDRESSES = {"client": "10.1.0.7", "a": "10.1.0.2", "b": "10.1.0.3"}
NODES = ("a", "b")
PATIENCE = 10
"""Seconds."""

SYSCTLS = {
    "net.ipv6.conf.all.disable_ipv6": 1,
    "net.ipv6.conf.default.disable_ipv6": 1,
    "net.ipv4.conf.all.rp_filter": 0,
    "net.ipv4.conf.default.rp_filter": 0,
    "net.ipv4.conf.all.promote_secondaries": 1,
    "net.ipv4.conf.default.promote_secondaries": 1,
}


class Topology(Namespaces):
    def __init__(self, name):
        super().__init__(name, ["switch", *ADDRESSES])

    def build(self):
        for part in self.namespaces:
            self.sysctls(part, SYSCTLS)
            self.ip(part, "link set lo up")
        self.ip("switch", "link add lan type bridge mcast_snooping 0", "link set lan up")
        for part, address in ADDRESSES.items():
            namespace = self.namespaces[part]
            self.ip("switch", f"link add {part}-port type veth peer name eth0 netns {namespace}")
            self.ip("switch", f"link set {part}-port master lan up")
            self.ip(part, f"address add {address}/16 dev eth0", "link set eth0 up")

    def whole_again(self):
        """As it was built: everything plugged in, nothing cut, no virtual address left behind."""
        self.heal()
        for node in NODES:
            self.attach(node)
            self.ip(node, *[f"address delete {vip}/16 dev eth0" for vip in self.held(node)])
            self.reaches(node)
        self.forget()

    def reaches(self, node):
        """A port carries only after the kernel's worker has seen that it is up, and who was asked for before is asked
        for again a second later: so long no advert leaves."""
        for part, address in ADDRESSES.items():
            if part != node:
                self.ping(node, address)

    def ping(self, node, address):
        until = time.monotonic() + PATIENCE
        ping = self.inside(node, "ping", "-qn", "-c", 1, "-W", 1, address)
        while subprocess.run(ping, stdout=subprocess.DEVNULL, check=False).returncode:
            if time.monotonic() > until:
                raise RuntimeError(f"{node} does not reach {address}")

    def forget(self):
        """The client asks anew who has an address."""
        self.call("client", "ip", "neigh", "flush", "dev", "eth0")

    def held(self, node):
        lines = self.output(node, "ip", "-o", "-4", "address", "show", "dev", "eth0").splitlines()
        return {line.split()[3].split("/")[0] for line in lines} - {ADDRESSES[node]}

    def detach(self, node):
        self.ip("switch", f"link set {node}-port nomaster")

    def attach(self, node):
        self.ip("switch", f"link set {node}-port master lan up")

    def unplug(self, node):
        """The node sees that its link is down."""
        self.ip("switch", f"link set {node}-port down")

    def cut(self, *directions):
        """Frames from one node to the other are lost; the client reaches both."""
        drops = "\n".join(f'iifname "{one}-port" oifname "{other}-port" drop' for one, other in directions)
        chain = f"chain forward {{\ntype filter hook forward priority 0\n{drops}\n}}"
        self.call("switch", "nft", "-f", "-", stdin=f"table bridge cut {{\n{chain}\n}}\n")

    def heal(self):
        self.call("switch", "nft", "-f", "-", stdin="table bridge cut\ndelete table bridge cut\n")
