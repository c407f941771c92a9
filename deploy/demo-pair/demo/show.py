"""What is shown, in order."""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from .net import GATEWAY, NODES, PYTHON, SERVERS, VIP, Net

HERE = pathlib.Path(__file__).parent
REPOSITORY = HERE.parents[2]
PATIENCE = 30

CONFIG = """
nodes:
  a: {{ address: 203.0.113.2, priority: 150 }}
  b: {{ address: 203.0.113.3, priority: 100 }}
vrrp:
  public: {{ interface: eth0, vrid: 51, interval: {interval}, group: pair, addresses: [{vip}/24] }}
  gateway: {{ interface: eth1, vrid: 52, interval: {interval}, group: pair, peers: multicast, addresses: [{gateway}/24] }}
l4: {{ flows: 65536 }}
sync: {{ secret_file: {directory}/secret }}
frontends:
  web: {{ listen: "{vip}:80", pool: web }}
  nat: {{ mode: nat, listen: "{vip}:7000", pool: nat }}
  nat-udp: {{ mode: nat, listen: "{vip}:7000/udp", pool: nat }}
  dr: {{ mode: dr, listen: "{vip}:7001", pool: dr }}
pools:
  web: {{ check: {{ http: {{ path: / }}, interval: 1s }}, backends: [{web}] }}
  nat: {{ backends: [{nat}] }}
  dr: {{ backends: [{dr}] }}
metrics: {{ listen: "node:9600" }}
admin: {{ socket: /mnt/admin.sock }}
"""


def main():
    options = parse()
    if os.geteuid() != 0:
        sys.exit("make demo-pair makes network namespaces: it must run as root")
    # Ended by a signal, it still cleans up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with tempfile.TemporaryDirectory(prefix="lb-demo-") as directory, Net() as net:
            show = Show(net, options, pathlib.Path(directory))
            try:
                show.run()
            except Failed as why:
                sys.exit(f"{why}\n{show.logs()}")
    except KeyboardInterrupt:
        sys.exit("\ninterrupted; everything is removed")


def parse():
    parser = argparse.ArgumentParser(prog="deploy/demo-pair/run", description="a failover, and what clients see of it")
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    parser.add_argument("--lb", type=pathlib.Path, default=target / "release" / "lb")
    parser.add_argument("--interval", default="100ms", help="of adverts (default 100ms)")
    parser.add_argument("--connections", type=int, default=1000, help="held by the client (default 1000)")
    return parser.parse_args()


class Failed(Exception):
    """The show cannot go on."""


class Show:
    def __init__(self, net, options, directory):
        self.net, self.options, self.directory = net, options, directory
        self.file = directory / "lb.yaml"
        self.nodes = {}

    def run(self):
        (self.directory / "secret").write_text("of this demonstration only, and gone with it")
        self.file.write_text(self.config())
        for server, number in SERVERS.items():
            self.net.start(server, PYTHON, "-B", HERE / "server.py", server, f"10.0.0.{number}", VIP)
        for node in NODES:
            self.start(node)
        self.until(["a"])
        self.until_in_step()
        say(f"Two nodes with one file, adverts every {self.options.interval}; a has {VIP}, b waits.")
        say(f"A client holds {self.options.connections} connections, half by nat and half by dr, sends 1,000 datagrams")
        say("a second by nat, and makes one web request after the other, each on a new connection.\n")
        self.scene("a loses its power", self.lose_power, ["b"])
        self.scene("a comes back, and takes over when it has learnt the flows", self.return_power, ["a"])
        self.scene("lb vrrp yield on a", self.yield_role, ["b"])
        say("\n" + self.lb("b", "vrrp", "status"))

    def scene(self, title, act, holders):
        """Traffic, what happens in the middle of it, and what the client says."""
        hold = self.client("hold", self.options.connections)
        if hold.stdout.readline() != "ready\n":
            raise Failed("the client cannot connect")
        time.sleep(2)
        probe = self.client("probe", 7000, "chrt", "-f", "50")
        time.sleep(1)
        act()
        self.until(holders)
        time.sleep(2)
        if all(node.poll() is None for node in self.nodes.values()):
            self.until_in_step()
        seen = {**finished(probe), **finished(hold)}
        web = seen["web"]
        say(f"{title}:")
        say(f"  longest gap           {seen['gap']:.0f} ms ({seen['lost']} of {seen['sent']} datagrams lost)")
        say(f"  connections kept      {seen['kept']}")
        say(f"  connections lost      {seen['broken']}")
        say(f"  web requests          {web['answered']} answered, {web['failed']} failed")

    def lose_power(self):
        self.net.plug("a", False)
        self.nodes["a"].kill()
        self.nodes["a"].wait()
        self.net.ip("a", f"address delete {VIP}/24 dev eth0", f"address delete {GATEWAY}/24 dev eth1")

    def return_power(self):
        self.net.plug("a", True)
        self.start("a")

    def yield_role(self):
        self.lb("a", "vrrp", "yield")

    def start(self, node):
        """In mounts of its own, which end with it: what it leaves in the kernel when it is killed goes as well."""
        home = self.directory / node
        home.mkdir(exist_ok=True)
        log = open(self.directory / f"{node}.log", "ab")
        mounts = f'mount -t bpf bpf /sys/fs/bpf && mount --bind {home} /mnt && exec "$0" "$@"'
        command = ["sh", "-c", mounts, self.options.lb, "run", "--node", node, "-c", self.file]
        self.nodes[node] = self.net.start(node, *command, stderr=log, stdout=log)

    def config(self):
        def backends(prefix, port=""):
            return ", ".join(f'"{prefix}{number}{port}"' for number in SERVERS.values())

        return CONFIG.format(
            interval=self.options.interval,
            vip=VIP,
            gateway=GATEWAY,
            directory=self.directory,
            web=backends("10.0.0.", ":80"),
            nat=backends("10.0.0."),
            dr=backends("203.0.113."),
        )

    def lb(self, node, *arguments):
        """An operator's command."""
        environment = {**os.environ, "LB_SOCKET": str(self.directory / node / "admin.sock")}
        command = [self.options.lb, *arguments]
        return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout

    def client(self, verb, number, *wrapper):
        command = [*wrapper, PYTHON, "-B", HERE / "client.py", verb, VIP, number]
        return self.net.start("client", *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def logs(self):
        return "\n".join(f"---- {node} ----\n{(self.directory / f'{node}.log').read_text()}" for node in NODES)

    def until(self, holders):
        wait(f"{VIP} to be at {holders}", lambda: self.net.holder() == holders)

    def until_in_step(self):
        """Each node knows the other's flows."""
        wanted = {"lb_l4_sync_ready 1", *(f'lb_peer_up{{node="{node}"}} 1' for node in NODES)}
        wait("the nodes to know each other's flows", lambda: self.metrics() >= wanted)

    def metrics(self):
        """Lines that are true on both nodes, or on the one that can say them."""
        lines = [self.scrape(number) for number in NODES.values()]
        ready = {"lb_l4_sync_ready 1"} if all("lb_l4_sync_ready 1" in one for one in lines) else set()
        return ready | {line for one in lines for line in one if line.startswith("lb_peer_up")}

    def scrape(self, number):
        command = self.net.inside("client", "curl", "-s", f"http://203.0.113.{number}:9600/metrics")
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout.splitlines()


def wait(what, is_so):
    until = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > until:
            raise Failed(f"waited {PATIENCE} s in vain for {what}")
        time.sleep(0.05)


def finished(process):
    process.stdin.close()
    return json.loads(process.stdout.read())


def say(text):
    print(text, flush=True)
