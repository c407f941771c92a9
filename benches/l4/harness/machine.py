"""What the benchmark needs of the machine."""

import datetime
import os
import pathlib
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]


def require_root():
    if os.geteuid() != 0:
        sys.exit("benches/l4 makes network namespaces and loads programs into the kernel: it must run as root")


def install(*parts):
    """Installs the Debian packages that the `parts` of `.ci/setup` need and that are not there."""
    os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"
    subprocess.run([REPOSITORY / ".ci" / "setup", *parts], check=True)


def build():
    subprocess.run(
        ["cargo", "build", "--release", "--quiet", "-p", "lb-bench-packets"], check=True, cwd=REPOSITORY
    )
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    return target / "release" / "lb-bench-packets"


def prioritise(nice):
    """Niceness counts only within a session where the kernel groups by session, so the group gets it as well."""
    if nice:
        os.nice(nice)
        try:
            pathlib.Path("/proc/self/autogroup").write_text(str(nice))
        except OSError:
            pass


def environment(settings):
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "kernel": os.uname().release,
        "cpu": cpu_model(),
        "settings": settings,
    }


def cpu_model():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as info:
        return next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), "unknown")
