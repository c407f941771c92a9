"""What the benchmark needs of the machine."""

import datetime
import os
import pathlib
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]


def require_root():
    if os.geteuid() != 0:
        sys.exit("benches/failover makes network namespaces and stops processes in them: it must run as root")


def install(*parts):
    """Installs the Debian packages that the `parts` of `.ci/setup` need and that are not there."""
    os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"
    subprocess.run([REPOSITORY / ".ci" / "setup", *parts], check=True)


def build(package, binary):
    command = ["nice", "cargo", "build", "--release", "--quiet", "-p", package, "--bin", binary]
    subprocess.run(command, check=True, cwd=REPOSITORY)
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")) / "release" / binary


def environment(settings):
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "kernel": os.uname().release,
        "cpu": f"{cpu_model()}, {os.cpu_count()} cores",
        "settings": settings,
    }


def cpu_model():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as info:
        return next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), "unknown")
