"""The root of a guest: programs of the host with their libraries, files, modules of the guest's kernel, and a script.

Everything stands where the host has it; what busybox can do and no other program was added for, it does.
"""

import pathlib
import re
import shutil
import subprocess

from .archive import Archive

BUSYBOX = "/bin/busybox"
# Not that of busybox, which prefers its own programs to those that stand beside it.
SHELL = "/bin/dash"
# What the script leaves behind it, on a line of its own.
ENDED = "guest: the script ended with "
# The program's output has a line of its own: what the kernel says does not cut it.
OUTPUT = "/dev/ttyS1"

INIT = f"""#!{SHELL}
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin HOME=/root TERM=dumb
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/pts
mount -t devpts pts /dev/pts
for place in /dev/shm /tmp /run; do mount -t tmpfs tmpfs $place; done
mkdir -p /run/netns /run/lock
for kind in bpf:/sys/fs/bpf tracefs:/sys/kernel/tracing cgroup2:/sys/fs/cgroup; do
  mount -t ${{kind%%:*}} none ${{kind#*:}} 2>/dev/null
done
ip link set lo up
exec <{OUTPUT} >{OUTPUT} 2>&1
stty -opost -echo
/script
echo "{ENDED}$?"
sync
poweroff -f
"""


class Initramfs:
    def __init__(self, kernel):
        self.kernel = kernel
        self.archive = Archive()
        for path in ("proc", "sys", "dev", "tmp", "run", "root", "mnt", "var/log", "var/lib", "usr/sbin", "usr/bin"):
            self.archive.folder(path)
        for name in ("bin", "sbin", "lib", "lib64"):
            self.archive.folder(f"usr/{name}")
            self.archive.link(name, f"usr/{name}")
        self.archive.link("var/run", "/run")
        self.archive.device("dev/console", 5, 1)
        self.archive.file("etc/passwd", b"root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
        self.archive.file("etc/group", b"root:x:0:\nnogroup:x:65534:\n")
        self.archive.file("etc/hosts", b"127.0.0.1 localhost\n::1 localhost\n")
        self.archive.file("init", INIT.encode(), 0o755)
        self.program(BUSYBOX, SHELL)
        self.archive.link("usr/bin/sh", SHELL)
        self.program("modprobe", "depmod")

    def program(self, *names):
        """Programs of the host, by name or path, and the libraries that they are linked with."""
        for name in names:
            found = shutil.which(name, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            if found is None:
                raise FileNotFoundError(f"the host has no `{name}`, which the guest needs (.ci/setup kernels)")
            self.file(found)
            self.libraries(found)

    def executable(self, source, to):
        """A program of ours, which stands elsewhere in the guest."""
        self.file(source, to)
        self.libraries(source)

    def libraries(self, program):
        # Of a script or a static program ldd says that there are none, and fails.
        listed = subprocess.run(["ldd", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for path in re.findall(r"(/\S+) \(0x", listed.stdout):
            self.file(path)

    def file(self, source, to=None):
        """A file of the host; where it is a link, what it leads to."""
        source = pathlib.Path(source)
        self.archive.add(inside(to or source), source.stat().st_mode, source.resolve(strict=True))

    def tree(self, source, to=None):
        """A folder of the host with all that is in it."""
        source = pathlib.Path(source)
        for path in sorted(source.rglob("*")):
            if path.is_file():
                self.file(path, pathlib.Path(to or source) / path.relative_to(source))

    def text(self, path, text, mode=0o644):
        self.archive.file(inside(path), text.encode(), mode)

    def modules(self, *names):
        """Modules and those that they need. The kernel and `modprobe` load them when they are asked for."""
        for name in names:
            for path in self.needed(name):
                self.file(path, path.relative_to(self.kernel.root))
        for path in self.kernel.modules.glob("modules.*"):
            self.file(path, path.relative_to(self.kernel.root))

    def needed(self, name):
        command = ["modprobe", "-d", self.kernel.root, "-S", self.kernel.release, "--show-depends", name]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise FileNotFoundError(f"kernel {self.kernel.release} has no module `{name}`: {done.stderr.strip()}")
        # Else: `builtin NAME`
        return [pathlib.Path(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("insmod ")]

    def has(self, name):
        try:
            self.needed(name)
        except FileNotFoundError:
            return False
        return True

    def script(self, text):
        """What the guest runs; its status is the guest's."""
        self.text("/script", text, 0o755)

    def write(self, path):
        self.applets()
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as out:
            self.archive.write(out)
        return path

    def applets(self):
        """What busybox is called by, where nothing else has the name."""
        listed = subprocess.run([BUSYBOX, "--list"], stdout=subprocess.PIPE, text=True, check=True)
        for name in listed.stdout.split():
            if not any(f"usr/{folder}/{name}" in self.archive.entries for folder in ("bin", "sbin")):
                self.archive.link(f"usr/bin/{name}", BUSYBOX)


def inside(path):
    """Its name in the archive, where /bin and the like are links to /usr."""
    path = str(path).lstrip("/")
    return f"usr/{path}" if path.split("/")[0] in ("bin", "sbin", "lib", "lib64") else path
