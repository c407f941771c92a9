"""Hosts as network namespaces, and the wires between them.

              lan 203.0.113.0/24                       back 10.0.0.0/24
    client .7 ----+---- .2 a .2 --------------------------+
                  +---- .3 b .3 --------------------------+
                  +------------------- .11-.13 s1 s2 s3 --+ .11-.13

The pair's addresses: 203.0.113.10 for the client, and 10.0.0.1 as the way back of what nat sends to the servers.
"""

import os
import pathlib
import subprocess

VIP, GATEWAY = "203.0.113.10", "10.0.0.1"
NODES = {"a": 2, "b": 3}
SERVERS = {"s1": 11, "s2": 12, "s3": 13}
PYTHON = "/usr/bin/python3"


class Net:
    """Removed at the end, whatever the end is."""

    def __init__(self):
        self.prefix = f"lb-demo-{os.getpid()}-"
        self.running = []

    def __enter__(self):
        for host in ("switch", "client", *NODES, *SERVERS):
            call("ip", "netns", "add", self.prefix + host)
            self.ip(host, "link set lo up")
        for bridge in ("lan", "back"):
            self.ip("switch", f"link add {bridge} type bridge mcast_snooping 0", f"link set {bridge} up")
        self.wire("client", "eth0", "lan", "203.0.113.7")
        for node, number in NODES.items():
            self.wire(node, "eth0", "lan", f"203.0.113.{number}")
            self.wire(node, "eth1", "back", f"10.0.0.{number}")
            self.sysctl(node, "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0")
            self.hears_its_own(node, "eth0")
            self.hears_its_own(node, "eth1")
        for server, number in SERVERS.items():
            self.wire_server(server, number)
        return self

    def __exit__(self, *_):
        for process in self.running:
            process.kill()
        for process in self.running:
            process.wait()
        for path in pathlib.Path("/run/netns").glob(self.prefix + "*"):
            subprocess.run(["ip", "netns", "delete", path.name], check=False)

    def hears_its_own(self, node, interface):
        """As a network card does. A bridge floods what it cannot place, and the other node would forward it early."""
        self.ip("switch", f"link set {node}-{interface} type bridge_slave flood off")

    def wire_server(self, server, number):
        """Silent about the VIP, which dr needs it to have (deploy/real-server does this on a real one)."""
        self.sysctl(server, "net.ipv4.conf.all.arp_ignore=1", "net.ipv4.conf.all.arp_announce=2")
        self.wire(server, "eth0", "back", f"10.0.0.{number}")
        self.wire(server, "eth1", "lan", f"203.0.113.{number}")
        self.sysctl(server, "net.ipv4.conf.all.rp_filter=0")
        self.ip(
            server,
            f"address add {VIP}/32 dev lo",
            f"route add default via {GATEWAY} table 100",
            "rule add from 10.0.0.0/24 to 203.0.113.0/24 table 100",
        )

    def wire(self, host, interface, bridge, address):
        socket = f"{host}-{interface}"
        peer = f"peer name {interface} netns {self.prefix}{host}"
        self.ip("switch", f"link add {socket} type veth {peer}", f"link set {socket} master {bridge} up")
        self.ip(host, f"address add {address}/24 dev {interface}", f"link set {interface} up")

    def plug(self, node, is_in):
        """Both cables of a node."""
        for interface, bridge in (("eth0", "lan"), ("eth1", "back")):
            where = f"master {bridge}" if is_in else "nomaster"
            self.ip("switch", f"link set {node}-{interface} {where}")
            if is_in:
                self.hears_its_own(node, interface)

    def holder(self):
        """Which nodes have the VIP."""
        return [node for node in NODES if f" {VIP}/" in self.output(node, "ip", "-o", "-4", "address", "show")]

    def start(self, host, *command, **options):
        process = subprocess.Popen(self.inside(host, *command), **options)
        self.running.append(process)
        return process

    def ip(self, host, *lines):
        call("ip", "-n", self.prefix + host, "-batch", "-", stdin="\n".join(lines) + "\n")

    def sysctl(self, host, *settings):
        call(*self.inside(host, "sysctl", "-qw", *settings))

    def output(self, host, *command):
        return subprocess.run(self.inside(host, *command), stdout=subprocess.PIPE, text=True, check=True).stdout

    def inside(self, host, *command):
        return ["ip", "netns", "exec", self.prefix + host, *map(str, command)]


def call(*command, stdin=None):
    subprocess.run(command, input=stdin, text=True, check=True)
