"""Debian's own kernels, by name: `get("6.1")`. Each is fetched once and kept below the target directory.

The package lists are this module's own, so that those of the host stay as they are; the mirror is the host's.
"""

import dataclasses
import fcntl
import os
import pathlib
import re
import shutil
import subprocess

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
KEYRING = pathlib.Path("/usr/share/keyrings/debian-archive-keyring.gpg")

# The suites in which a version is looked for; the newest that any of them has is taken.
SUITES = {
    "6.1": ["bookworm"],
    "6.12": ["bookworm-backports", "trixie"],
    "6.18": ["trixie-backports"],
    "sid": ["sid"],
}
# `cloud` has what virtual machines need; `plain` has the drivers of real network cards as well.
FLAVOURS = {"cloud": "cloud-amd64", "plain": "amd64"}


class Unavailable(Exception):
    """There is no such kernel to be had, and why."""


@dataclasses.dataclass(frozen=True)
class Kernel:
    name: str
    release: str  # as `uname -r` says it
    root: pathlib.Path  # holds boot/ and lib/modules/

    @property
    def image(self):
        return self.root / "boot" / f"vmlinuz-{self.release}"

    @property
    def modules(self):
        return self.root / "lib" / "modules" / self.release


def target():
    """Where cargo puts what it builds."""
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or REPOSITORY / "target").resolve()


def directory():
    return target() / "guests"


def get(name, flavour="cloud"):
    """The kernel of that name, fetched if it is not there yet."""
    if name not in SUITES:
        raise Unavailable(f"no kernel `{name}`; there are: {', '.join(SUITES)}")
    root = directory() / "kernels" / (name if flavour == "cloud" else f"{name}-{flavour}")
    with locked(root.with_name(f"{root.name}.lock")):
        if not root.exists():
            fetch(name, FLAVOURS[flavour], root)
    release = next((root / "lib" / "modules").iterdir()).name
    return Kernel(name, release, root)


class locked:
    """Two runs at once do the work once."""

    def __init__(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = open(path, "w", encoding="ascii")

    def __enter__(self):
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *_):
        self.file.close()


def fetch(name, suffix, root):
    apt = Apt(directory() / "apt" / name, SUITES[name])
    release = newest(apt.names("linux-image-"), "" if name == "sid" else f"{name}.", suffix)
    if release is None:
        raise Unavailable(f"no kernel `{name}` ({suffix}) in {', '.join(SUITES[name])} of {apt.mirror}")
    # Newer kernels are divided into several packages, older ones come as one.
    packages = [part + release for part in ("linux-image-", "linux-base-", "linux-binary-", "linux-modules-")]
    partial = root.with_name(f"{root.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    for file in apt.download(package for package in packages if package in apt.names(package)):
        call("dpkg-deb", "-x", file, partial)
    arrange(partial, release)
    partial.rename(root)


def newest(packages, version, suffix):
    """The release of the newest `linux-image-RELEASE` that begins with `version` and is of that flavour."""
    shape = re.compile(rf"linux-image-({re.escape(version)}[\d.]*(?:-\d+|\+deb[\d.]+)-{suffix})")
    releases = [match.group(1) for match in map(shape.fullmatch, packages) if match]
    return max(releases, key=lambda release: [int(part) for part in re.findall(r"\d+", release)], default=None)


def arrange(root, release):
    """The image and the modules where older packages have them, and the modules as `insmod` takes them."""
    modules = root / "lib" / "modules" / release
    if not modules.exists():
        modules.parent.mkdir(parents=True, exist_ok=True)
        (root / "usr" / "lib" / "modules" / release).rename(modules)
    image = root / "boot" / f"vmlinuz-{release}"
    if not image.exists():
        image.parent.mkdir(exist_ok=True)
        shutil.copy(next(root.rglob("vmlinuz*")), image)
    for suffix, command in ((".xz", ["unxz"]), (".zst", ["unzstd", "-q", "--rm"])):
        packed = sorted(modules.rglob(f"*.ko{suffix}"))
        if packed:
            call("xargs", "-0", "-P", str(os.cpu_count()), "-n", "64", *command, stdin="\0".join(map(str, packed)))
    call("depmod", "-b", root, release)


class Apt:
    """apt with sources, lists and a cache of its own."""

    def __init__(self, state, suites):
        self.mirror = host_mirror()
        self.cache = state / "cache"
        (state / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        (self.cache / "archives" / "partial").mkdir(parents=True, exist_ok=True)
        sources = state / "sources.list"
        lines = [f"deb [arch=amd64 signed-by={KEYRING}] {self.mirror} {suite} main\n" for suite in suites]
        sources.write_text("".join(lines), encoding="ascii")
        settings = {
            "Dir::Etc::SourceList": sources,
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State::Lists": state / "lists",
            "Dir::Cache": self.cache,
            "APT::Architecture": "amd64",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Acquire::Retries": 3,
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
        }
        self.options = [f"-o{key}={value}" for key, value in settings.items()]
        # --error-on=any: without it, a list that cannot be fetched is a warning.
        self.run("apt-get", "update", "--error-on=any")

    def names(self, prefix):
        return self.run("apt-cache", "pkgnames", prefix).split()

    def download(self, packages):
        """Their files, whose signatures apt has checked."""
        archives = self.cache / "downloaded"
        shutil.rmtree(archives, ignore_errors=True)
        archives.mkdir()
        self.run("apt-get", "download", *packages, cwd=archives)
        return sorted(archives.glob("*.deb"))

    def run(self, tool, *arguments, cwd=None):
        command = [tool, "-qq", *self.options, *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd)
        if done.returncode != 0:
            raise Unavailable(f"`{tool} {arguments[0]}` from {self.mirror} failed:\n{done.stderr.strip()}")
        return done.stdout


def host_mirror():
    """Where the host's apt has Debian from."""
    for file in sorted([pathlib.Path("/etc/apt/sources.list"), *pathlib.Path("/etc/apt/sources.list.d").glob("*")]):
        text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
        for line in text.splitlines():
            found = re.match(r"(?:URIs:|deb\s).*?([a-z+]+:/+\S+/debian)/?(?:\s|$)", line)
            if found:
                return found.group(1)
    raise Unavailable("the host's apt sources name no mirror of Debian (…/debian), from which kernels could come")


def call(*command, stdin=None):
    subprocess.run([str(word) for word in command], input=stdin, text=True, check=True)
