"""Who holds the address: lb pairs and keepalived pairs, set up alike."""

import os
import signal
import subprocess

from common.machine import family

from .topology import ADDRESSES, NODES

PRIORITIES = {"a": 150, "b": 100}
VRID = 51


class Daemon:
    """One process on a node, with its children."""

    def __init__(self, command, log):
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def signal(self, number):
        """To all at once."""
        pids = family(self.process.pid)
        # Stopped first, so that no parent starts another child.
        if number == signal.SIGKILL:
            send(pids, signal.SIGSTOP)
        send(pids, number)

    def stop(self):
        """As an init system does it."""
        self.process.send_signal(signal.SIGTERM)

    def end(self):
        self.signal(signal.SIGKILL)
        self.process.wait()


def send(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


class Contender:
    """Knows how its daemons are configured and started."""

    name = title = None
    can_yield = False

    def __init__(self, program):
        self.program = program

    def start(self, topology, node, setting, log=subprocess.DEVNULL):
        directory = setting.directory / node
        directory.mkdir(exist_ok=True)
        return Daemon(topology.inside(node, *self.command(node, setting, directory)), log)


class Keepalived(Contender):
    name = title = "keepalived"

    def command(self, node, setting, directory):
        config = directory / "keepalived.conf"
        config.write_text(self.config(node, setting))
        pids = ["-p", directory / "keepalived.pid", "-r", directory / "vrrp.pid"]
        for file in pids[1::2]:
            file.unlink(missing_ok=True)
        # In the foreground, only VRRP, and what it has to say to the standard output.
        return [self.program, "-n", "-P", "-l", "-D", "-f", config, *pids]

    def config(self, node, setting):
        first, rest = setting.vips[:1], setting.vips[1:]
        excluded = f"virtual_ipaddress_excluded {{\n{lines(rest)}  }}\n" if rest else ""
        other = next(other for other in NODES if other != node)
        return f"""
global_defs {{
  router_id {node}
  vrrp_version 3
  vrrp_rt_priority 20
  vrrp_rlimit_rttime 10000000
  vrrp_no_swap
}}
vrrp_instance public {{
  state BACKUP
  interface eth0
  virtual_router_id {VRID}
  priority {PRIORITIES[node]}
  advert_int {setting.interval / 1000}
  unicast_src_ip {ADDRESSES[node]}
  unicast_peer {{
    {ADDRESSES[other]}
  }}
  virtual_ipaddress {{
{lines(first)}  }}
  {excluded}}}
"""


def lines(vips):
    return "".join(f"    {vip}/16 dev eth0\n" for vip in vips)


class Lb(Contender):
    name = title = "lb"
    can_yield = True

    def command(self, node, setting, directory):
        config = directory / "lb.yaml"
        config.write_text(self.config(setting, directory))
        return [self.program, "run", "--node", node, "-c", config]

    def config(self, setting, directory):
        nodes = ", ".join(f"{node}: {{ address: {ADDRESSES[node]}, priority: {PRIORITIES[node]} }}" for node in NODES)
        addresses = ", ".join(f"{vip}/16" for vip in setting.vips)
        return f"""
nodes: {{ {nodes} }}
vrrp:
  public: {{ interface: eth0, vrid: {VRID}, interval: {setting.interval}ms, addresses: [{addresses}] }}
frontends:
  site: {{ listen: "{setting.vips[0]}:80", pool: site }}
pools:
  site: {{ backends: ["{ADDRESSES['client']}:8080"] }}
admin: {{ socket: {directory}/admin.sock }}
log: {{ level: debug }}
"""

    def yield_role(self, topology, node, setting):
        socket = setting.directory / node / "admin.sock"
        command = topology.inside(node, self.program, "vrrp", "yield", "--socket", socket)
        # Where it is refused, questions are lost or not; that is what counts.
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
