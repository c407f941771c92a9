"""What a benchmark needs of the machine."""

import datetime
import os
import pathlib
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def require_root(why):
    if os.geteuid() != 0:
        sys.exit(f"{why}: it must run as root")


def install(*parts):
    """Installs the Debian packages that the `parts` of `.ci/setup` need and that are not there."""
    os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"
    subprocess.run([REPOSITORY / ".ci" / "setup", *parts], check=True)


def build(*packages):
    """Release builds; returns the directory of the binaries."""
    names = [argument for package in packages for argument in ("-p", package)]
    subprocess.run(["cargo", "build", "--release", "--quiet", *names], check=True, cwd=REPOSITORY)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    return target / "release"


def prioritise(nice):
    """Niceness counts only within a session where the kernel groups by session, so the group gets it as well."""
    if nice:
        os.nice(nice)
        try:
            pathlib.Path("/proc/self/autogroup").write_text(str(nice))
        except OSError:
            pass


def environment(settings, **more):
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "kernel": os.uname().release,
        "cpu": cpu_model(),
        **more,
        "settings": settings,
    }


def cpu_model():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as info:
        return next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), "unknown")


def family(pid):
    """The process and its descendants."""
    found = [pid]
    for parent in found:
        for children in pathlib.Path(f"/proc/{parent}/task").glob("*/children"):
            found += children_in(children)
    return found


def children_in(file):
    try:
        return [int(child) for child in file.read_text(encoding="ascii").split()]
    except (FileNotFoundError, ProcessLookupError):
        # The thread has ended.
        return []
