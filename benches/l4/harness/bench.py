"""The command line of `benches/l4/run`."""

import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys

from common import arguments, machine
from common.report import in_turn, publish

from . import cases, contenders, report
from .topology import Topology

QUICK = {"rounds": 3, "scale": 0.25}
TOOL = "lb-bench-packets"
BUCKETS = 1 << 19
"""Of the throughput part: four million entries, room for all new flows of a measurement."""


def main():
    options = parse()
    machine.require_root("benches/l4 makes network namespaces and loads programs into the kernel")
    machine.install("build", "bench-l4")
    tool = Tool(options.tool or machine.build(TOOL) / TOOL, options.cpu)
    machine.prioritise(options.nice)
    parts, tables = {}, []
    if "prices" in options.parts:
        parts["prices"] = prices(options, tool)
        tables.append("## ns per packet\n\n" + report.prices_table(options.cases, parts["prices"]))
    if "throughput" in options.parts:
        parts["throughput"] = throughput(options, tool)
        tables.append("## One core, over veth\n\n" + report.throughput_table(options.contenders, parts["throughput"]))
    if "control" in options.parts:
        parts["control"] = tool("control", {"rounds": options.rounds})
        tables.append("## Control plane\n\n" + report.control_table(parts["control"]))
    environment = machine.environment({"rounds": options.rounds, "scale": options.scale, "CPU": options.cpu})
    publish(options, environment, parts, tables)


def parse():
    parser = argparse.ArgumentParser(prog="benches/l4/run", description="the layer-4 data plane, and what it costs")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each case and contender (default 7)")
    parser.add_argument("--scale", type=float, default=1.0, help="packets of each measurement, times this")
    parser.add_argument("--quick", action="store_true", help="3 rounds of fewer packets")
    parser.add_argument("--parts", default="prices,throughput,control", help="comma-separated (default all)")
    parser.add_argument("--cases", default="", help=f"comma-separated, of: {','.join(cases.BY_NAME)}")
    parser.add_argument("--contenders", default="", help=f"comma-separated, of: {','.join(contenders.BY_NAME)}")
    parser.add_argument("--cpu", type=int, default=1, help="where everything runs (default 1)")
    parser.add_argument("--tool", type=pathlib.Path, help="this binary, instead of a build of packets/")
    parser.add_argument("--nice", type=int, default=0, help="priority, for a machine that does other things too")
    arguments.add_files(parser)
    options = arguments.parse(parser, QUICK)
    options.cases = arguments.chosen(parser, cases.BY_NAME, options.cases)
    options.contenders = arguments.chosen(parser, contenders.BY_NAME, options.contenders)
    return options


class Tool:
    """What `packets/` builds, on one CPU."""

    def __init__(self, binary, cpu):
        self.command = [str(binary), "--cpu", str(cpu)]

    def __call__(self, verb, request, wrap=()):
        """`wrap`: the command that it is started under."""
        command = [*wrap, *self.command, verb]
        done = subprocess.run(command, input=json.dumps(request), stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed")
        return json.loads(done.stdout)


def prices(options, tool):
    requests = [case.request(options.scale) for case in options.cases]
    with Topology(f"lb-bench-{os.getpid()}") as topology:
        return tool(
            "prices",
            {"rounds": options.rounds, "ingress": "l0", "egress": "l1", "cases": requests},
            topology.inside("balancer"),
        )


def throughput(options, tool):
    results = {contender.name: {report.ESTABLISHED: [], report.NEW: []} for contender in options.contenders}
    with contextlib.ExitStack() as stack:
        stack.enter_context(contenders.room_in_conntrack())
        topologies = {
            contender.name: stack.enter_context(Topology(f"lb-bench-{os.getpid()}-{contender.name}"))
            for contender in options.contenders
        }
        for contender in options.contenders:
            if contender.rules:
                topologies[contender.name].nft(contender.rules)
        for number in range(options.rounds):
            for contender in in_turn(options.contenders, number):
                one_round(options, tool, contender, topologies[contender.name], results[contender.name])
    return results


def one_round(options, tool, contender, topology, results):
    for kind, flows, packets in ((report.ESTABLISHED, 1024, 2_000_000), (report.NEW, 0, 1_000_000)):
        request = {
            **{name: topology.place(interface) for name, interface in interfaces(contender)},
            "forwarder": contender.forwarder and {**contender.forwarder, "buckets": BUCKETS},
            "direct": contender.direct,
            "keeps_address": contender.keeps_address,
            "flows": flows,
            "warm_up": int(packets * options.scale) // 10,
            "packets": int(packets * options.scale),
        }
        measured = tool("throughput", request)
        results[kind].append(measured)
        print(f"{contender.name:<12} {kind:<12} {measured['right'] / measured['seconds']:>12,.0f}/s", file=sys.stderr)
        if contender.rules:
            contenders.forget_connections(topology)


def interfaces(contender):
    end = "l0" if contender.shortcut else "b0"
    return [("clients", "c0"), ("ingress", "l0"), ("egress", "l1"), ("backends", end)]
