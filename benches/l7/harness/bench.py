"""The command line of `benches/l7/run`."""

import argparse
import contextlib
import os
import pathlib
import sys
import tempfile

from common import arguments, machine
from common.report import in_turn, publish

from . import generators, namespace, process, programs, report
from .cases import BY_NAME

QUICK = {"rounds": 3, "scale": 0.4}


def main():
    options = parse()
    with stage(options) as site:
        summaries = run(options, site)
    found = environment(options)
    publish(options, found, {"cases": summaries}, report.tables(summaries), report.versions(found))
    sys.exit(1 if any(summary["void"] for summary in summaries) else 0)


def parse():
    parser = argparse.ArgumentParser(prog="benches/l7/run", description="lb, HAProxy and nginx side by side")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each case and proxy (default 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="requests per round, times this")
    parser.add_argument("--requests", type=int, help="requests per round of every case, instead of its own number")
    parser.add_argument("--quick", action="store_true", help="3 rounds of fewer requests: under five minutes")
    parser.add_argument("--cases", default="", help=f"comma-separated, of: {','.join(BY_NAME)}")
    parser.add_argument("--proxies", default="lb,haproxy,nginx", help="comma-separated (default all three)")
    parser.add_argument("--lb", type=pathlib.Path, help="this binary, instead of a release build of the tree")
    parser.add_argument("--nice", type=int, default=0, help="priority of everything measured, for a busy machine")
    arguments.add_files(parser, "table")
    options = arguments.parse(parser, QUICK)
    options.cases = arguments.chosen(parser, BY_NAME, options.cases)
    options.proxies = arguments.chosen(parser, {name: name for name in programs.COMMANDS}, options.proxies)
    return options


@contextlib.contextmanager
def stage(options, *parts):
    """Where proxies are measured: a namespace, a scratch directory and the origin. `parts`: of `.ci/setup`."""
    process.require_two_cpus()
    prepare(options, *parts)
    namespace.enter()
    machine.prioritise(options.nice)
    with tempfile.TemporaryDirectory(prefix="lb-bench-", dir="/dev/shm") as directory:
        site = programs.Site(directory)
        origin = programs.start_origin(site)
        try:
            yield site
        finally:
            origin.stop()


def prepare(options, *parts):
    """Outside of the namespace, where packages and crates can be fetched."""
    if "LB_BENCH_LOAD" not in os.environ:
        machine.install("build", "bench", *parts)
        build_lb = "lb" in options.proxies and not options.lb
        binaries = machine.build("lb-bench-load", *(["lb"] if build_lb else []))
        os.environ["LB_BENCH_LOAD"] = str(binaries / "lb-bench-load")
        os.environ["LB_BENCH_LB"] = str((options.lb or binaries / "lb").resolve())
    options.load = os.environ["LB_BENCH_LOAD"]
    options.lb = os.environ["LB_BENCH_LB"]


def run(options, site):
    rows = {case.name: {proxy: [] for proxy in options.proxies} for case in options.cases}
    for number in range(options.rounds):
        for case in options.cases:
            for proxy in in_turn(options.proxies, number):
                one_round(options, site, case, proxy, rows[case.name], number)
    peers = [proxy for proxy in options.proxies if proxy != "lb"]
    return [report.summarise(case, rows[case.name], peers) for case in options.cases]


def one_round(options, site, case, proxy, rows, number):
    if not isinstance(rows[proxy], list):
        return
    requests = options.requests or int(case.requests * options.scale)
    running = programs.start_proxy(proxy, case, site, options.lb)
    try:
        row = generators.measure(case, running, site, options.load, requests)
    except generators.Wrong as reason:
        rows[proxy] = f"round {number + 1}: {reason}".replace("\n", " ")
        tell(number, case, proxy, rows[proxy])
        print(running.log.read_text(errors="replace")[-2000:], file=sys.stderr)
        return
    finally:
        running.stop()
    rows[proxy].append(row)
    headline = report.IDLE_METRICS[0] if case.idle else report.METRICS[0]
    tell(number, case, proxy, f"{headline} {row[headline]:.3f}")


def tell(number, case, proxy, text):
    print(f"round {number + 1}  {case.name:<10} {proxy:<8} {text}", file=sys.stderr, flush=True)


def environment(options):
    settings = {
        "rounds": options.rounds,
        "scale": options.requests or options.scale,
        "congestion control": namespace.read_sysctl("net/ipv4/tcp_congestion_control"),
    }
    versions = programs.versions(options.lb if "lb" in options.proxies else None)
    return machine.environment(settings, versions=versions)
