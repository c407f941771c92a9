"""The command line of `benches/l7/run`."""

import argparse
import os
import pathlib
import sys
import tempfile

from . import generators, machine, programs, report
from .cases import BY_NAME, CASES

QUICK = {"rounds": 3, "scale": 0.4}


def main():
    options = parse()
    machine.require_two_cpus()
    prepare(options)
    machine.enter_namespace()
    machine.prioritise(options.nice)
    with tempfile.TemporaryDirectory(prefix="lb-bench-", dir="/dev/shm") as directory:
        site = programs.Site(directory)
        origin = programs.start_origin(site)
        try:
            summaries = run(options, site)
        finally:
            origin.stop()
    publish(options, summaries)
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
    parser.add_argument("--markdown", type=pathlib.Path, help="also write the table here")
    parser.add_argument("--json", type=pathlib.Path, help="also write every measurement here")
    options = parser.parse_args()
    if options.quick:
        vars(options).update(QUICK)
    options.cases = [chosen(parser, BY_NAME, name) for name in names(options.cases)] or CASES
    options.proxies = [name for name in names(options.proxies) if chosen(parser, programs.COMMANDS, name)]
    return options


def names(text):
    return [name for name in text.split(",") if name]


def chosen(parser, table, name):
    if name not in table:
        parser.error(f"no `{name}`; there are: {', '.join(table)}")
    return table[name]


def prepare(options):
    """Outside of the namespace, where packages and crates can be fetched."""
    if "LB_BENCH_LOAD" not in os.environ:
        machine.install("build", "bench")
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
            # Nobody always comes first, or always after the same one.
            turn = number % len(options.proxies)
            for proxy in options.proxies[turn:] + options.proxies[:turn]:
                one_round(options, site, case, proxy, rows[case.name], number)
    peers = [proxy for proxy in options.proxies if proxy != "lb"]
    return [report.summarise(case, rows[case.name], peers) for case in options.cases]


def one_round(options, site, case, proxy, rows, number):
    if not isinstance(rows[proxy], list):
        return
    requests = options.requests or int(case.requests * options.scale)
    process = programs.start_proxy(proxy, case, site, options.lb)
    try:
        row = generators.measure(case, process, site, options.load, requests)
    except generators.Wrong as reason:
        rows[proxy] = f"round {number + 1}: {reason}".replace("\n", " ")
        tell(number, case, proxy, rows[proxy])
        print(process.log.read_text(errors="replace")[-2000:], file=sys.stderr)
        return
    finally:
        process.stop()
    rows[proxy].append(row)
    headline = report.IDLE_METRICS[0] if case.idle else report.METRICS[0]
    tell(number, case, proxy, f"{headline} {row[headline]:.3f}")


def tell(number, case, proxy, text):
    print(f"round {number + 1}  {case.name:<10} {proxy:<8} {text}", file=sys.stderr, flush=True)


def publish(options, summaries):
    settings = {
        "rounds": options.rounds,
        "scale": options.requests or options.scale,
        "congestion control": machine.read_sysctl("net/ipv4/tcp_congestion_control"),
    }
    lb = options.lb if "lb" in options.proxies else None
    environment = report.environment(programs.versions(lb), settings)
    table = report.markdown(environment, summaries)
    print(table)
    if options.markdown:
        options.markdown.write_text(table)
    if options.json:
        options.json.write_text(report.as_json(environment, summaries))
