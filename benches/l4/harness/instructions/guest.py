"""What runs in the guest: one measurement after the other, each in namespaces of its own.

The clock there counts instructions (QEMU's -icount shift=0: one is a nanosecond), so what the tool calls seconds are
thousands of millions of them. Each measurement is printed as a line of JSON behind `MARK`.
"""

import json
import pathlib
import subprocess
import sys

from ..topology import BACKENDS, Topology
from . import contenders

MARK = "MEASURED "
HOME = "/benches"
REQUEST = "/request.json"
TOOL = "/usr/bin/lb-bench-packets"
CLOCK = pathlib.Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")


def main():
    request = json.loads(pathlib.Path(REQUEST).read_text())
    prepare()
    for number in range(request["rounds"]):
        for name in request["contenders"]:
            for kind, measured in measure(contenders.BY_NAME[name], request["flows"], request["packets"]):
                print(MARK + json.dumps({"contender": name, "kind": kind, "round": number, **measured}), flush=True)


def prepare():
    """As at the start of a machine that balances by IPVS."""
    subprocess.run(["modprobe", "veth"], check=True)
    subprocess.run(["modprobe", "ip_vs", f"conn_tab_bits={contenders.CONN_TAB_BITS}"], check=True)
    # Any other clock is a device, whose reading takes longer than what it is to measure.
    if CLOCK.read_text().strip() != "tsc":
        sys.exit(f"the clock is {CLOCK.read_text().strip()}, not the counter of the processor")


def measure(contender, flows, packets):
    with Topology("bench") as topology:
        topology.ip("balancer", "link set lo up")
        # They answer to ARP, as a balancer may ask anew even for what is written down.
        topology.ip("backends", *[f"address add 10.2.0.{host}/24 dev b0" for host in BACKENDS])
        offloads(topology)
        with contender.forwarder(topology) as forwarder:
            yield "established", run(contender.request(topology, flows), packets)
            if forwarder.keeps_flows:
                expect(flows, forwarder.established(), "established flows")
            yield "new", run(contender.request(topology, 0), packets)
            if forwarder.keeps_flows:
                expect(flows + packets + warm_up(packets), forwarder.flows(), "flows")


def warm_up(packets):
    return packets // 10


def run(request, packets):
    command = [TOOL, "--cpu", "0", "throughput"]
    request = {**request, "packets": packets, "warm_up": warm_up(packets)}
    done = subprocess.run(command, input=json.dumps(request), stdout=subprocess.PIPE, text=True, check=True)
    measured = json.loads(done.stdout)
    expect(measured["sent"], measured["right"], "packets at the end")
    return {"sent": measured["sent"], "instructions": round(measured["seconds"] * 1e9)}


def offloads(topology):
    """What XDP needs of veth, for everybody: peers that sum themselves, and receive by polling."""
    for part, interface in (("clients", "c0"), ("backends", "b0"), ("balancer", "l0"), ("balancer", "l1")):
        topology.output(part, "ethtool", "-K", interface, "tx", "off", "gro", "on")


def expect(expected, found, what):
    if found != expected:
        sys.exit(f"{expected} {what} were expected, and there are {found}")


if __name__ == "__main__":
    main()
