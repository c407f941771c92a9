"""The command line of `benches/l7/profile`: perf or strace on a proxy while a case runs."""

import argparse
import json
import pathlib
import re
import signal
import subprocess
import time

from common.machine import family

from . import generators, programs
from .bench import stage
from .cases import BY_NAME


def main():
    options = parse()
    with stage(options, "profile") as site:
        for proxy in options.proxies:
            for case in options.cases:
                MODES[options.mode](options, site, BY_NAME[case], proxy)


def parse():
    parser = argparse.ArgumentParser(prog="benches/l7/profile", description="where a proxy spends its time")
    parser.add_argument("mode", choices=list(MODES), help="perf record, perf stat, or system calls per request")
    parser.add_argument("--proxies", default="lb", type=lambda text: text.split(","))
    parser.add_argument("--cases", default="keepalive", type=lambda text: text.split(","))
    parser.add_argument("--requests", type=int, help="instead of the case's own number")
    parser.add_argument("--lb", type=pathlib.Path, help="this binary, instead of a release build of the tree")
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("perf.data"), help="of perf record")
    parser.add_argument("--json", action="store_true", help="system calls as JSON")
    return parser.parse_args()


def record(options, site, case, proxy):
    """Samples by the CPU clock, which needs no hardware counters."""
    output = options.output.resolve()
    command = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "4999", "-g", "-o", output]
    with_tool(options, site, case, proxy, command)
    for sort in ("dso", "symbol"):
        report = ["perf", "report", "-i", output, "--stdio", "--no-children", "-g", "none"]
        report += ["--percent-limit", "0.5", "--sort", sort]
        text = subprocess.run(list(map(str, report)), capture_output=True, text=True, check=True).stdout
        print("\n".join(line for line in text.splitlines() if line and not line.startswith("#")), "\n")
    print(f"call graphs: perf report -i {output}")


def stat(options, site, case, proxy):
    command = ["perf", "stat", "-e", "task-clock,context-switches,page-faults,instructions,cycles,branch-misses"]
    print(with_tool(options, site, case, proxy, command))


def syscalls(options, site, case, proxy):
    """Counts of strace, per request. Tracing slows the proxy down, so that fewer events come per wake-up."""
    requests = options.requests or min(case.requests, 20_000)
    options.requests = requests
    text = with_tool(options, site, case, proxy, ["strace", "-f", "-c", "-U", "calls,errors,name"])
    calls = {
        name: int(count) / requests for count, name in re.findall(r"^\s*(\d+)\s+(?:\d+\s+)?([a-z_0-9]+)$", text, re.M)
    }
    calls.pop("total", None)
    if not calls:
        raise SystemExit(f"strace attached too late: {text}")
    frequent = {name: round(count, 3) for name, count in sorted(calls.items(), key=lambda c: -c[1]) if count > 0.005}
    total = round(sum(calls.values()), 2)
    if options.json:
        print(json.dumps({"proxy": proxy, "case": case.name, "total": total, "per_request": frequent}))
        return
    print(f"{case.name} {proxy}: {total} per request: " + ", ".join(f"{name} {n}" for name, n in frequent.items()))


def with_tool(options, site, case, proxy, command):
    """Runs the case; `command` is attached to the proxy once connections are warm, and ends with the last response."""
    process = programs.start_proxy(proxy, case, site, options.lb)
    try:
        watched = Watched(process, command, site.directory / "tool.out")
        generators.measure(case, watched, site, options.load, options.requests or case.requests)
        return watched.report()
    finally:
        process.stop()


class Watched:
    """A proxy that a tool is attached to from the first measured request to the last."""

    def __init__(self, process, command, output):
        self.process, self.command, self.output = process, command, output
        self.memory = process.memory

    def begin(self):
        pids = [str(pid) for pid in family(self.process.pid)]
        attach = ["-p", ",".join(pids)]
        with self.output.open("wb") as output:
            self.tool = subprocess.Popen(list(map(str, self.command + attach)), stdout=output, stderr=output)
        time.sleep(1.0)  # Neither tool says reliably when it has attached.
        self.process.begin()

    def end(self):
        cpu = self.process.end()
        self.tool.send_signal(signal.SIGINT)
        self.tool.wait(60)
        return cpu

    def report(self):
        return self.output.read_text()


MODES = {"record": record, "stat": stat, "syscalls": syscalls}
