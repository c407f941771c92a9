"""From the command line to the totals."""

import argparse
import os
import re
import subprocess
import time

from guests import kernels, qemu

from . import binaries
from .guest import Guest
from .report import Report
from .steps import STEPS, Job

# A guest is taken for hung after so long, however well its tests do.
SECONDS = 3600


def main():
    options = parse()
    os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"
    subprocess.run([kernels.REPOSITORY / ".ci" / "setup", "build", "kernels"], check=True)
    began = time.monotonic()
    built = binaries.build({step.binary for step in STEPS})
    # Before the first kernel boots: a step that means no test is an error.
    jobs = [chosen(built, options, name == options.kernels[-1]) for name in options.kernels]
    reports = [on_kernel(name, built, its, options.verbose) for name, its in zip(options.kernels, jobs)]
    return Report.total(reports, time.monotonic() - began)


def parse():
    parser = argparse.ArgumentParser(description="Runs the tests of layer 4 on Debian's kernels, under QEMU.")
    parser.add_argument("kernels", nargs="*", metavar="KERNEL", help=f"{', '.join(kernels.SUITES)}; all without")
    parser.add_argument("--short", action="store_true", help="the packets, a connection of each mode, and on the last kernel what no host may run")
    parser.add_argument("--only", default="", metavar="REGEX", help="what this expression is found in: `STEP: TEST`")
    parser.add_argument("--verbose", action="store_true", help="a line for each test")
    options = parser.parse_args()
    options.kernels = options.kernels or list(kernels.SUITES)
    for name in options.kernels:
        if name not in kernels.SUITES:
            parser.error(f"no kernel `{name}`; there are: {', '.join(kernels.SUITES)}")
    return options


def chosen(built, options, last):
    jobs = []
    for step in STEPS:
        names = step.chosen(binaries.names(built[step.binary]), options.short, last)
        tests = [name for name in names if re.search(options.only, f"{step.name}: {name}")]
        if not tests and step.pattern(options.short, last) and not options.only:
            raise SystemExit(f"no test of {'/'.join(step.binary)} is meant by `{step.name}`")
        jobs += [Job(len(jobs) + nth, step, test) for nth, test in enumerate(tests)]
    return jobs


def on_kernel(name, built, jobs, verbose):
    report = Report(name, jobs, verbose)
    try:
        kernel = kernels.get(name)
    except kernels.Unavailable as why:
        return report.all_fail(str(why))
    report.head(kernel.release, qemu.accelerator())
    left = jobs
    while left:
        # What was under way when a guest ended has failed; the rest goes on in another.
        result, running, waiting = Guest(kernel, built).run(left, SECONDS, report.ended)
        report.cpu += result.cpu
        for job in running.values():
            report.lost(job, result.explanation())
        if len(waiting) == len(left):
            return report.all_fail(result.explanation())
        left = list(waiting.values())
    return report.done()
