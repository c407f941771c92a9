"""Who forwards, and how the balancer's namespace is set up for it. Runs in the guest; the host knows names only."""

import contextlib
import dataclasses
import json
import pathlib
import subprocess
import time

from ..topology import BACKENDS

LB = "/usr/bin/lb"
CONFIG, LOG, SOCKET = (pathlib.Path("/run", name) for name in ("lb.yaml", "lb.log", "lb.sock"))
VIP, PORT, BACKEND_PORT = "10.0.0.1", 80, 8080
CONN_TAB_BITS = 20
"""The largest table that IPVS takes: chains stay short whatever is entered."""
PATIENCE = 60
"""Seconds of the guest: of instructions, in thousands of millions."""


@dataclasses.dataclass(frozen=True)
class Contender:
    name: str
    title: str
    mode: str = ""
    """dr or nat; without one, packets are for a backend itself."""
    hook: str = ""
    """Of lb, in the kernel; without one it is the kernel that forwards."""
    frames: bool = False
    """What it sends are frames of XDP, not socket buffers."""
    alone: bool = False
    """Nobody forwards: counted where the balancer would be."""

    @property
    def reference(self):
        """The name of the contender that this one is compared with."""
        return f"ipvs-{self.mode or 'dr'}"

    @property
    def inside(self):
        """The name of what is in its figure beside itself."""
        return "sink-frames" if self.frames else "sink-buffers"

    def request(self, topology, flows):
        """The fields of a measurement that say what comes out."""
        ends = [("clients", "c0"), ("ingress", "l0"), ("egress", "l1"), ("backends", "l0" if self.alone else "b0")]
        return {
            **{name: topology.place(interface) for name, interface in ends},
            "sink": "xdp" if self.frames else "tc",
            "flows": flows,
            "direct": not self.mode,
            "keeps_address": self.mode == "dr",
            "handshake": {"dr": "forward", "nat": "both"}.get(self.mode) if flows else None,
        }

    def forwarder(self, topology):
        """A context in which it forwards."""
        if self.hook:
            return Lb(self, topology)
        return Ipvs(self, topology) if self.mode else contextlib.nullcontext(Stateless())


CONTENDERS = [
    Contender("sink-frames", "generator and sink alone, frames", frames=True, alone=True),
    Contender("sink-buffers", "generator and sink alone, socket buffers", alone=True),
    Contender("routing", "plain routing"),
    Contender("ipvs-dr", "IPVS, dr", "dr"),
    Contender("ipvs-nat", "IPVS, nat", "nat"),
    Contender("lb-xdp-dr", "lb, XDP, dr", "dr", "xdp", frames=True),
    Contender("lb-xdp-nat", "lb, XDP, nat", "nat", "xdp", frames=True),
    Contender("lb-tc-dr", "lb, tc, dr", "dr", "tc"),
    Contender("lb-tc-nat", "lb, tc, nat", "nat", "tc"),
]

BY_NAME = {contender.name: contender for contender in CONTENDERS}


class Stateless:
    """Plain routing, or nobody."""

    keeps_flows = False


class Ipvs:
    """One virtual service, round robin, as `ipvsadm` sets it up. Sysctls have their defaults: no connection tracking."""

    keeps_flows = True

    def __init__(self, contender, topology):
        self.topology = topology
        flag, port = ("-m", BACKEND_PORT) if contender.mode == "nat" else ("-g", PORT)
        self.rules = [f"-A -t {VIP}:{PORT} -s rr"]
        self.rules += [f"-a -t {VIP}:{PORT} -r 10.2.0.{host}:{port} {flag} -w 1" for host in BACKENDS]

    def __enter__(self):
        self.topology.ip("balancer", f"address add {VIP}/32 dev l0")
        self.topology.call("balancer", "ipvsadm", "-R", stdin="\n".join(self.rules) + "\n")
        return self

    def __exit__(self, *_):
        self.topology.call("balancer", "ipvsadm", "-C")

    def established(self):
        connections = self.topology.output("balancer", "cat", "/proc/net/ip_vs_conn").splitlines()
        return sum("ESTABLISHED" in connection.split() for connection in connections)

    def flows(self):
        """As its destinations count them: the list above leaves some out where there are many."""
        lines = map(str.split, self.topology.output("balancer", "ipvsadm", "-L", "-n").splitlines())
        return sum(int(line[-2]) + int(line[-1]) for line in lines if {"Masq", "Route"} & set(line))


class Lb:
    """The program with a configuration file, as in production."""

    keeps_flows = True

    def __init__(self, contender, topology):
        self.topology = topology
        port = f":{BACKEND_PORT}" if contender.mode == "nat" else ""
        self.configuration = {
            "frontends": {"web": {"mode": contender.mode, "listen": f"{VIP}:{PORT}", "pool": "web"}},
            "pools": {"web": {"backends": [f"10.2.0.{host}{port}" for host in BACKENDS]}},
            "l4": {"attach": contender.hook, "interfaces": ["l0", "l1"]},
            "admin": {"socket": str(SOCKET)},
        }

    def __enter__(self):
        self.topology.ip("balancer", f"address add {VIP}/32 dev l0")
        # YAML holds JSON.
        CONFIG.write_text(json.dumps(self.configuration))
        with LOG.open("w") as log:
            self.process = subprocess.Popen(self.inside("run", "-c", CONFIG), stdout=log, stderr=log)
        try:
            self.wait()
        except BaseException:
            self.leave()
            raise
        return self

    def __exit__(self, *_):
        self.leave()

    def wait(self):
        """Until it answers."""
        deadline = time.monotonic() + PATIENCE
        while self.ask("status").returncode:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"lb does not start:\n{LOG.read_text()}")
            time.sleep(0.1)

    def leave(self):
        self.process.terminate()
        self.process.wait()
        subprocess.run(self.inside("detach"), check=True, stdout=subprocess.DEVNULL)

    def established(self):
        return self.by_state().get("established", 0)

    def flows(self):
        return sum(self.by_state().values())

    def by_state(self):
        return json.loads(self.ask("flows", "--by-state", "--json").stdout)["by_state"]

    def ask(self, *arguments):
        return subprocess.run(self.inside(*arguments, "--socket", SOCKET), capture_output=True, text=True, check=False)

    def inside(self, *arguments):
        """`ip netns exec` would hide bpffs behind a sysfs of its own."""
        return ["nsenter", f"--net={self.topology.path('balancer')}", LB, *map(str, arguments)]
