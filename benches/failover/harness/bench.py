"""The command line of `benches/failover/run`."""

import argparse
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

from common import arguments, machine
from common.report import in_turn, publish

from . import calm, cases, contenders, report, rounds
from .topology import Topology

QUICK = {"rounds": 3, "calm": 30}
CONTENDERS = {"lb": contenders.Lb, "keepalived": contenders.Keepalived}
PARTS = ("failover", "start", "calm")
TOOL = "lb-bench-prober"


def main():
    options = parse()
    machine.require_root("benches/failover makes network namespaces and stops processes in them")
    # Ended by a signal, it still cleans up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    machine.install("build", "bench-failover")
    tool = options.tool or machine.build(TOOL) / TOOL
    with contextlib.ExitStack() as stack:
        directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lb-bench-")))
        log = stack.enter_context(open(options.log, "wb")) if options.log else subprocess.DEVNULL
        bench = Bench(options, tool, directory, log)
        for name in options.contenders:
            contender = CONTENDERS[name](program(options, name))
            topology = stack.enter_context(Topology(f"lb-bench-{os.getpid()}-{name}"))
            bench.pairs.append((contender, topology))
        parts, tables = bench.run()
        publish(options, environment(options), parts, tables)


def parse():
    parser = argparse.ArgumentParser(prog="benches/failover/run", description="what a client sees of a failover")
    parser.add_argument("--rounds", type=int, default=10, help="of each case and contender (default 10)")
    parser.add_argument("--interval", default="10ms,100ms", help="of adverts, comma-separated (default 10ms,100ms)")
    parser.add_argument("--calm", type=int, default=600, help="seconds of each calm run (default 600)")
    parser.add_argument("--quick", action="store_true", help="3 rounds, calm runs of 30 s")
    parser.add_argument("--parts", default="", help=f"comma-separated, of: {','.join(PARTS)}")
    parser.add_argument("--cases", default="", help=f"comma-separated, of: {','.join(cases.BY_NAME)}")
    parser.add_argument("--loads", default="", help=f"of the calm runs, of: {','.join(calm.BY_NAME)}")
    parser.add_argument("--contenders", default="", help=f"comma-separated, of: {','.join(CONTENDERS)}")
    parser.add_argument("--lb", type=pathlib.Path, help="this binary, instead of a build of the tree")
    parser.add_argument("--tool", type=pathlib.Path, help="this binary, instead of a build of prober/")
    parser.add_argument("--log", type=pathlib.Path, help="write what the daemons say here")
    arguments.add_files(parser)
    options = arguments.parse(parser, QUICK)
    options.interval = [milliseconds(parser, text) for text in options.interval.split(",")]
    options.parts = arguments.chosen(parser, {part: part for part in PARTS}, options.parts)
    options.cases = arguments.chosen(parser, cases.BY_NAME, options.cases)
    options.loads = arguments.chosen(parser, calm.BY_NAME, options.loads)
    options.contenders = arguments.chosen(parser, {name: name for name in CONTENDERS}, options.contenders)
    return options


def milliseconds(parser, text):
    number = text.removesuffix("ms")
    if number == text or not number.isdigit() or int(number) % 10 or not int(number):
        parser.error(f"an interval is so many times 10ms, not `{text}`")
    return int(number)


def program(options, name):
    if name == "lb":
        return options.lb or machine.build("lb") / "lb"
    return shutil.which(name)


class Bench:
    def __init__(self, options, tool, directory, log):
        self.options, self.tool, self.directory, self.log = options, tool, directory, log
        self.pairs = []
        """Contenders, each with namespaces of its own."""

    def run(self):
        parts, tables = {}, []
        if "failover" in self.options.parts:
            results = self.failovers()
            parts["failover"] = [{"case": c, "interval": i, "rounds": found} for (c, i), found in results.items()]
            for interval in self.options.interval:
                tables.append(f"## Adverts every {interval} ms\n\n" + self.tables_of(interval, results))
            tables += [report.pauses(results), report.early(results)]
        if "start" in self.options.parts:
            results = self.starts()
            parts["start"] = [{"interval": i, "contender": n, "rounds": r} for (i, n), r in results.items()]
            tables.append("## Both nodes start with 1,000 addresses\n\n" + report.start_table(results))
        if "calm" in self.options.parts:
            parts["calm"] = self.calm_runs()
            calm_table = report.calm_table(self.options.loads, parts["calm"], self.options.calm)
            tables.append("## Nothing happens, on a busy machine\n\n" + calm_table)
        return parts, tables

    def tables_of(self, interval, results):
        made = [make(interval, self.options.cases, results) for make in (report.failover_table, report.after_table)]
        return "\n\n".join(table for table in made if table)

    def turns(self):
        """In each round the same phase for all, from the first to the last of them evenly: how long the silence may last
        depends on it more than on who is measured."""
        for number in range(self.options.rounds):
            for pair in in_turn(self.pairs, number):
                yield *pair, (number + 0.5) / self.options.rounds

    def failovers(self):
        results = {}
        for interval in self.options.interval:
            for case in self.options.cases:
                found = results[case.name, interval] = {contender.name: [] for contender, _ in self.pairs}
                for contender, topology, phase in self.turns():
                    if case.only in ("", contender.name):
                        setting = self.setting(contender, interval, rounds.addresses(case.addresses), phase)
                        once = rounds.measured(topology, self.tool, contender, case, setting, self.log)
                        found[contender.name] += once
                        progress(case.name, interval, contender, once)
        return results

    def starts(self):
        results = {}
        for interval in self.options.interval:
            for contender, topology, _ in self.turns():
                setting = self.setting(contender, interval, rounds.addresses(cases.MANY))
                once = rounds.start_many(topology, contender, setting, self.log)
                results.setdefault((interval, contender.name), []).append(once)
                progress("start", interval, contender, [once])
        return results

    def calm_runs(self):
        """One pair after the other: each has the machine and the load for itself."""
        results = {}
        for load in self.options.loads:
            found = results[load.name] = {}
            for pair in self.pairs:
                found |= calm.measure(*pair, load, self.setting, self.options.calm)
            print(load.name, found, file=sys.stderr)
        return results

    def setting(self, contender, interval, vips, phase=0.0):
        directory = self.directory / contender.name
        directory.mkdir(exist_ok=True)
        return rounds.Setting(interval, vips, directory, phase)


def progress(what, interval, contender, measured):
    print(f"{what:<16} {interval:>4} ms  {contender.name:<12} {measured}", file=sys.stderr)


def environment(options):
    intervals = "/".join(str(interval) for interval in options.interval)
    settings = {"rounds": options.rounds, "intervals": f"{intervals} ms"}
    return machine.environment(settings, cpu=f"{machine.cpu_model()}, {os.cpu_count()} cores")
