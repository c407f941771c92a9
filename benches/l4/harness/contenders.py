"""Who forwards in the throughput part, and how the namespace of the balancer is set up for it."""

import contextlib
import dataclasses
import pathlib
import sys

# Round robin, as the product does it here.
DNAT = """
table ip bench {
  chain prerouting {
    type nat hook prerouting priority dstnat;
    ip daddr 10.0.0.1 tcp dport 80 dnat to numgen inc mod 16 map { %s }
  }
}
""" % ", ".join(f"{n} : 10.2.0.{16 + n} . 8080" for n in range(16))


@dataclasses.dataclass(frozen=True)
class Contender:
    name: str
    title: str
    forwarder: dict | None = None
    """The product; without it, the kernel as it is configured."""
    rules: str = ""
    direct: bool = False
    """Clients send to a backend itself, for the kernel to route."""
    keeps_address: bool = False
    """Packets for the VIP arrive with that address."""
    shortcut: bool = False
    """Nobody forwards: counted where the balancer would be."""


CONTENDERS = [
    Contender("lb-xdp-dr", "lb, XDP, dr", {"hook": "xdp", "mode": "dr"}, keeps_address=True),
    Contender("lb-xdp-nat", "lb, XDP, nat", {"hook": "xdp", "mode": "nat"}),
    Contender("lb-tc-nat", "lb, tc, nat", {"hook": "tc", "mode": "nat"}),
    Contender("routing", "plain forwarding", direct=True),
    Contender("nftables", "nftables DNAT", rules=DNAT),
    Contender("generator", "generator and sink alone", direct=True, shortcut=True),
]

BY_NAME = {contender.name: contender for contender in CONTENDERS}

CONNTRACK = {
    pathlib.Path("/sys/module/nf_conntrack/parameters/hashsize"): "1048576",
    pathlib.Path("/proc/sys/net/netfilter/nf_conntrack_max"): "4194304",
}


@contextlib.contextmanager
def room_in_conntrack():
    """Four million connections in a hash of a million chains; these settings are the machine's, so they go back."""
    before = {path: path.read_text() for path in CONNTRACK if path.exists()}
    for path in before:
        path.write_text(CONNTRACK[path])
    try:
        yield
    finally:
        for path, value in before.items():
            path.write_text(value)


# All entries of the namespace: IPCTNL_MSG_CT_DELETE without a tuple (linux/netfilter/nfnetlink_conntrack.h).
FLUSH = """
import socket, struct
link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
link.send(struct.pack("=IHHIIBBH", 20, 1 << 8 | 2, 5, 1, 0, 0, 0, 0))
error = struct.unpack_from("=i", link.recv(4096), 16)[0]
assert error == 0, error
"""


def forget_connections(topology):
    topology.call("balancer", sys.executable, "-B", "-c", FLUSH)
