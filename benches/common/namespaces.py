"""Network namespaces that a benchmark makes for itself, and removes at the end."""

import pathlib
import subprocess


class Namespaces:
    """One for each of the `parts`; who builds on this connects them in `build`."""

    def __init__(self, name, parts):
        self.namespaces = {part: f"{name}-{part}" for part in parts}

    def __enter__(self):
        self.leave()
        try:
            for namespace in self.namespaces.values():
                call("ip", "netns", "add", namespace)
            self.build()
        except BaseException:
            self.leave()
            raise
        return self

    def __exit__(self, *_):
        self.leave()

    def leave(self):
        for part, namespace in self.namespaces.items():
            if self.path(part).exists():
                subprocess.run(["ip", "netns", "delete", namespace], check=False)

    def path(self, part):
        return pathlib.Path("/run/netns", self.namespaces[part])

    def ip(self, part, *lines):
        if lines:
            call("ip", "-n", self.namespaces[part], "-batch", "-", stdin="\n".join(lines) + "\n")

    def sysctls(self, part, values):
        for name, value in values.items():
            self.call(part, "sysctl", "-qw", f"{name}={value}")

    def inside(self, part, *command):
        return ["ip", "netns", "exec", self.namespaces[part], *map(str, command)]

    def call(self, part, *command, stdin=None):
        call(*self.inside(part, *command), stdin=stdin)

    def output(self, part, *command):
        done = subprocess.run(self.inside(part, *command), stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout


def call(*command, stdin=None):
    subprocess.run(command, input=stdin, text=True, check=True)
