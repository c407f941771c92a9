"""The test binaries and lb, as cargo builds them for `cargo test`."""

import json
import pathlib
import subprocess

from guests.kernels import REPOSITORY, directory


def build(targets):
    """By package and target, where each stands; and lb, by the name `lb`."""
    tests = [word for target in sorted({target for _, target in targets}) for word in ("--test", target)]
    # Of the whole workspace, as `.ci/test` builds them: part of it would have other features, and be built once more.
    command = ["cargo", "test", "--workspace", "--no-run", "--quiet", "--message-format=json", *tests]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    if done.returncode != 0:
        raise SystemExit("the tests do not build")
    found = {}
    for message in map(json.loads, done.stdout.splitlines()):
        if message.get("executable"):
            package = "lb-l4" if "/lb-l4" in message["package_id"] else "lb"
            kind = message["target"]["kind"]
            found["lb" if kind == ["bin"] else (package, message["target"]["name"])] = message["executable"]
    return {name: pathlib.Path(path) for name, path in found.items()}


def names(binary):
    """Of the tests in it."""
    listed = subprocess.run([binary, "--list", "--format", "terse"], stdout=subprocess.PIPE, text=True, check=True)
    return [line.removesuffix(": test") for line in listed.stdout.splitlines() if line.endswith(": test")]


def stripped(binary):
    """Without what only a debugger reads: a guest holds its programs in memory."""
    small = directory() / "stripped" / binary.name
    if not small.exists() or small.stat().st_mtime < binary.stat().st_mtime:
        small.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["strip", "--strip-debug", "-o", small, binary], check=True)
    return small
