"""The command line of `benches/l4/ipvs`: boots the guest, and prints what was measured in it."""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

from common import arguments, machine
from common.report import publish
from guests import initramfs, kernels, qemu

from . import contenders, guest, report

QUICK = {"rounds": 1, "packets": 10_000}
TOOL = "lb-bench-packets"
BENCHES = machine.REPOSITORY / "benches"
PYTHON = "/usr/bin/python3"
# What of Python's library the guest has no use for, by the name of a folder in it.
LEFT_OUT = {"test", "lib2to3", "ensurepip", "idlelib", "tkinter", "pydoc_data", "distutils", "turtledemo"}
PROGRAMS = [PYTHON, "ip", "ipvsadm", "ethtool", "sysctl", "nsenter"]
MODULES = ["veth", "ip_vs", "ip_vs_rr"]
ICOUNT = "shift=0,sleep=off"
"""An instruction takes a nanosecond of the guest's time, and waiting none of the host's."""
# What the kernel does against faults of processors depends on the processor, and the emulated one is none.
PARAMETERS = "mitigations=off"
MINUTES = 60
"""Nothing takes as long, but on a machine that does other things too."""


def main():
    options = parse()
    machine.install("build", "kernels", "bench-l4-ipvs")
    built = machine.build(TOOL) if options.lb else machine.build(TOOL, "lb")
    kernel = kernels.get(options.kernel)
    lb = options.lb or built / "lb"
    with tempfile.TemporaryDirectory(prefix="lb-bench-") as folder:
        root = prepare(kernel, lb, built / TOOL, options).write(pathlib.Path(folder, "root.cpio"))
        measurements = run(kernel, root)
    settings = {"rounds": options.rounds, "packets": f"{options.packets:,}", "flows": f"{options.flows:,}"}
    environment = {**machine.environment(settings), "kernel": f"{kernel.release} (guest)", "lb": version(lb)}
    table = report.instructions_table(measurements)
    publish(options, environment, {"measurements": measurements}, [table], environment["lb"])


def parse():
    parser = argparse.ArgumentParser(prog="benches/l4/ipvs", description="instructions per packet, beside IPVS")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each contender (default 3)")
    parser.add_argument("--packets", type=int, default=50_000, help="of each measurement (default 50000)")
    parser.add_argument("--flows", type=int, default=1024, help="that are established; a power of two (default 1024)")
    parser.add_argument("--quick", action="store_true", help="1 round of fewer packets")
    parser.add_argument("--contenders", default="", help=f"comma-separated, of: {','.join(contenders.BY_NAME)}")
    parser.add_argument("--kernel", default="sid", help=f"one of {', '.join(kernels.SUITES)} (default sid)")
    parser.add_argument("--lb", type=pathlib.Path, help="this binary of lb, instead of a build")
    arguments.add_files(parser, "table")
    options = arguments.parse(parser, QUICK)
    chosen = arguments.chosen(parser, contenders.BY_NAME, options.contenders)
    # What is in every figure is always measured.
    options.contenders = list(dict.fromkeys([name for one in chosen for name in (one.inside, one.name)]))
    return options


def version(lb):
    return subprocess.run([lb, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def prepare(kernel, lb, tool, options):
    """The guest's root: this harness, with what it runs, and Python to run it."""
    root = initramfs.Initramfs(kernel)
    root.program(*PROGRAMS)
    python_library(root)
    root.modules(*MODULES)
    root.executable(lb, contenders.LB)
    root.executable(tool, guest.TOOL)
    for part in ("common", "l4/harness"):
        root.tree(BENCHES / part, pathlib.Path(guest.HOME) / part)
    request = {name: getattr(options, name) for name in ("contenders", "rounds", "flows", "packets")}
    root.text(guest.REQUEST, json.dumps(request))
    root.script(f"#!/bin/sh\ncd {guest.HOME}/l4 && PYTHONPATH={guest.HOME} exec {PYTHON} -B -m {guest.__name__}\n")
    return root


def python_library(root):
    asked = [PYTHON, "-c", "import sysconfig; print(sysconfig.get_path('stdlib'))"]
    library = pathlib.Path(subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True).stdout.strip())
    for part in sorted(library.iterdir()):
        if part.is_dir() and part.name not in LEFT_OUT and not part.name.startswith("config-"):
            root.tree(part)
        elif part.is_file():
            root.file(part)


def run(kernel, root):
    measurements = []

    def say(line):
        found = re.match(f"{re.escape(guest.MARK)}(.*)", line)
        if not found:
            print(line, file=sys.stderr)
            return
        measurements.append(json.loads(found.group(1)))
        progress(measurements[-1])

    result = qemu.boot(kernel, root, seconds=MINUTES * 60, parameters=PARAMETERS, memory=2048, icount=ICOUNT, say=say)
    if not result.good:
        sys.exit(result.explanation())
    return measurements


def progress(one):
    name, kind, instructions = one["contender"], one["kind"], one["instructions"] / one["sent"]
    print(f"{name:<12} {kind:<12} {instructions:>10,.1f} with generator and sink", file=sys.stderr)
