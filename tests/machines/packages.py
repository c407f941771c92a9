"""The Debian package of this tree, and one that apt takes for newer."""

import os
import pathlib
import re
import subprocess
import tempfile

from guests import kernels

REPOSITORY = pathlib.Path(__file__).parents[2]


def build() -> pathlib.Path:
    """What `make deb` makes of the tree as it is."""
    subprocess.run(["make", "--silent", "deb"], cwd=REPOSITORY, check=True, stdin=subprocess.DEVNULL)
    made = (kernels.target() / "debian").glob("lb_*.deb")
    return max(made, key=lambda path: path.stat().st_mtime)


def build_of(lb: pathlib.Path) -> pathlib.Path:
    """The package with this program in it, whatever cargo has built it for."""
    goal = kernels.directory() / "debian"
    with tempfile.TemporaryDirectory() as target:
        pathlib.Path(target, "release").mkdir()
        pathlib.Path(target, "release/lb").symlink_to(lb.resolve())
        done = subprocess.run(
            ["deploy/debian/build", goal], cwd=REPOSITORY, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            text=True, env={**os.environ, "CARGO_TARGET_DIR": target, "DPKG_DEB_COMPRESSOR_TYPE": "gzip"},
        )
    return pathlib.Path(done.stdout.strip())


def newer(deb: pathlib.Path, directory: pathlib.Path) -> pathlib.Path:
    """The same package with a higher version."""
    tree = directory / "newer"
    if not tree.exists():
        subprocess.run(["dpkg-deb", "-R", deb, tree], check=True)
        control = tree / "DEBIAN/control"
        control.write_text(re.sub(r"^(Version: .*)$", r"\1+newer", control.read_text(), flags=re.MULTILINE))
    goal = directory / "newer.deb"
    subprocess.run(["dpkg-deb", "-Zgzip", "-z1", "-b", tree, goal], check=True, stdout=subprocess.DEVNULL)
    return goal
