"""Nothing befalls the active node, but the machine is busy: nobody may take over."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from .probe import Watch
from .rounds import Round, addresses
from .topology import ADDRESSES, NODES

INTERVAL = 100
SPINNERS = 16


@dataclasses.dataclass(frozen=True)
class Load:
    name: str
    title: str
    begin: Callable
    """Begins it; what must end is put on the stack."""
    addresses: int = 1
    stalls_log: bool = False
    each_second: Callable = None


def spin(stack, _turn):
    for _ in range(SPINNERS):
        stack.callback(end, subprocess.Popen([sys.executable, "-c", "while True: pass"]))


def idle(_stack, _turn):
    pass


def proxy(stack, turn):
    """As many requests as go through the proxy of lb's active node, or straight to the same server."""
    config = turn.setting.directory / "origin.conf"
    config.write_text(ORIGIN.format(directory=turn.setting.directory, address=ADDRESSES["client"]))
    topology = turn.topology
    stack.callback(end, subprocess.Popen(topology.inside("client", "nginx", "-c", config, "-e", "stderr")))
    time.sleep(1)
    to = f"{turn.setting.vips[0]}:80" if turn.contender.name == "lb" else f"{ADDRESSES['client']}:8080"
    wrk = ["wrk", "-t2", "-c128", "-d24h", f"http://{to}/"]
    stack.callback(end, subprocess.Popen(topology.inside("client", *wrk), stdout=subprocess.DEVNULL))


ORIGIN = """
daemon off; master_process off; pid {directory}/origin.pid;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {directory}/n1; proxy_temp_path {directory}/n2; fastcgi_temp_path {directory}/n3;
  uwsgi_temp_path {directory}/n4; scgi_temp_path {directory}/n5;
  server {{ listen {address}:8080; location / {{ return 200 "hello"; }} }}
}}
"""


def everything(stack, turn):
    spin(stack, turn)
    proxy(stack, turn)


class Pipe:
    """A log that nobody reads."""

    def __init__(self, stack):
        self.reader, self.writer = os.pipe()
        for descriptor in (self.reader, self.writer):
            stack.callback(os.close, descriptor)

    def fill(self):
        """Whoever writes to it now waits."""
        # Through a file of its own: only this one does not wait.
        with open(f"/proc/self/fd/{self.writer}", "wb", buffering=0, opener=nonblocking) as file:
            while file.write(b"x"):
                pass


def nonblocking(path, flags):
    return os.open(path, flags & ~(os.O_CREAT | os.O_TRUNC) | os.O_NONBLOCK)


def something_to_log(second, turn):
    """Every ten seconds they read their configuration again, which both say in their log."""
    if second % 10 == 5:
        for daemon in turn.daemons.values():
            daemon.process.send_signal(signal.SIGHUP)


LOADS = [
    Load("spinning", f"{SPINNERS} spinning processes", spin),
    Load("proxy", "lb's proxy at full load", proxy),
    Load("stalled-log", "a log that nobody reads", idle, stalls_log=True, each_second=something_to_log),
    Load("many", "1,000 addresses", idle, addresses=1000),
    Load("all", "all of these at once", everything, addresses=1000, stalls_log=True, each_second=something_to_log),
]

BY_NAME = {load.name: load for load in LOADS}


def measure(contender, topology, load, setting_of, seconds):
    """How often an address came or went, by the contender's name; nothing where the pair does not come to rest."""
    with contextlib.ExitStack() as stack:
        setting = setting_of(contender, INTERVAL, addresses(load.addresses))
        topology.whole_again()
        pipe = Pipe(stack)
        turn = Round(topology, contender, setting, stack, pipe.writer if load.stalls_log else subprocess.DEVNULL)
        if not came_to_rest(turn):
            return {}
        time.sleep(1)
        pipe.fill()
        watches = watch(stack, turn)
        load.begin(stack, turn)
        for second in range(seconds):
            time.sleep(1)
            if load.each_second:
                load.each_second(second, turn)
        return {contender.name: sum(len(one.changes) for one in watches)}


def came_to_rest(turn):
    for node in NODES:
        turn.start(node)
        if not turn.settles():
            return False
    return True


def watch(stack, turn):
    ends = {turn.setting.vips[0], turn.setting.vips[-1]}
    return [stack.enter_context(Watch(turn.topology, node, vip)) for node in NODES for vip in ends]


def end(process):
    process.kill()
    process.wait()
