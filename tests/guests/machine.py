"""A guest that lives for as long as a test wants: started, commanded through agent.py, its cables pulled, its power cut.

Disks, kernels and roots come from root.py, networks from network.py.
"""

import base64
import json
import pathlib
import shlex
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field

from . import network, qemu, root

BOOT_SECONDS = 600


class GuestFailed(Exception):
    """A command failed in a guest, or the guest did not answer."""


# A virtio-net card whose host sends it each segment by itself.
SEGMENTS = "guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off"


@dataclass
class Nic:
    """A network card; the order of a machine's cards is that of eth0, eth1, ..."""

    bridge: str
    mac: str
    model: str = "virtio-net-pci"
    queues: int = 1
    # Of the device, as QEMU has them.
    options: str = ""

    def arguments(self, tap: str, name: str) -> list[str]:
        netdev = f"tap,id={name},ifname={tap},script=no,downscript=no"
        device = f"{self.model},netdev={name},id={name},mac={self.mac},romfile="
        if self.queues > 1:
            netdev += f",queues={self.queues}"
            device += f",mq=on,vectors={2 * self.queues + 2}"
        if self.options:
            device += f",{self.options}"
        return ["-netdev", netdev, "-device", device]


@dataclass
class Answer:
    code: int
    output: str


@dataclass
class Machine:
    name: str
    image: root.Image
    nics: list[Nic]
    directory: pathlib.Path
    files: dict[str, str | bytes] = field(default_factory=dict)
    memory: int = 768
    cpus: int = 1

    def __post_init__(self):
        self.home = self.directory / self.name
        self.home.mkdir(parents=True, exist_ok=True)
        self.process = None
        self.agent = None

    # -- power and cables

    def install(self) -> None:
        """A disk as it comes from the image, and an initramfs that puts `files` there at the first boot."""
        subprocess.run(["cp", "--sparse=always", "--reflink=auto", self.image.disk, self.disk], check=True)
        seed = root.seed({"/etc/hostname": f"{self.name}\n", **self.files})
        self.initramfs.write_bytes(self.image.initramfs.read_bytes() + seed)

    def start(self) -> None:
        self.started = time.monotonic()
        with open(self.home / "qemu.log", "ab") as log:
            # A session of its own: the kernel shares its time out by session (sched_autogroup), as by machine here.
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.agent = Agent(self.name, self.home / "agent")

    def wait(self, seconds: float = BOOT_SECONDS) -> float:
        """The seconds until the agent answered and systemd had nothing left to start."""
        if not self.agent.up.wait(seconds):
            raise GuestFailed(f"{self.name} did not boot in {seconds} s:\n{self.console()[-2000:]}")
        self.run("systemctl is-system-running --wait", seconds)
        return time.monotonic() - self.started

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def reboot(self) -> None:
        """Asks for it, and returns when the agent of the next boot has answered."""
        self.agent.up.clear()
        self.started = time.monotonic()
        self.run("systemctl reboot --no-block")
        self.wait()

    def power_off(self) -> None:
        """At once, as by the switch: nothing in the guest hears of it."""
        self.process.kill()
        self.process.wait()
        self.agent.close()

    def cable(self, card: int, plugged: bool) -> None:
        self.monitor("set_link", name=f"nic{card}", up=plugged)

    def monitor(self, command: str, **arguments):
        """One command to QEMU's monitor (QMP)."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.home / "monitor"))
            lines = connection.makefile("rw")
            lines.readline()
            for request in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                lines.write(json.dumps(request) + "\n")
                lines.flush()
                answer = next(answer for answer in map(json.loads, lines) if "event" not in answer)
        if "error" in answer:
            raise GuestFailed(f"{self.name}: {command}: {answer['error']['desc']}")
        return answer["return"]

    # -- commands and files

    def run(self, command: str, seconds: float = 180) -> Answer:
        return self.agent.ask(command, seconds)

    def check(self, command: str, seconds: float = 180) -> str:
        """The output of a command that must not fail."""
        answer = self.run(command, seconds)
        if answer.code:
            raise GuestFailed(f"{self.name}: {command}: exit code {answer.code}\n{answer.output.strip()}")
        return answer.output.strip()

    def put(self, path: str, content: str | bytes, mode: str = "644") -> None:
        data = content.encode() if isinstance(content, str) else content
        name = shlex.quote(path)
        self.check(f'mkdir -p "$(dirname {name})" && : > {name} && chmod {mode} {name}')
        for start in range(0, len(data), 1 << 16):
            piece = base64.b64encode(data[start : start + (1 << 16)]).decode()
            self.check(f"base64 -d >> {name} <<< {piece}")

    def console(self) -> str:
        return (self.home / "console.log").read_text(errors="replace")

    # -- how QEMU is called

    @property
    def disk(self) -> pathlib.Path:
        return self.home / "disk"

    @property
    def initramfs(self) -> pathlib.Path:
        return self.home / "initramfs"

    def command(self) -> list[str]:
        for name in ("agent", "monitor"):
            (self.home / name).unlink(missing_ok=True)
        cards = []
        for index, nic in enumerate(self.nics):
            tap = network.tap(f"{self.name}-{index}", nic.bridge, nic.queues)
            cards += nic.arguments(tap, f"nic{index}")
        return [
            *qemu.machine(memory=self.memory, cpus=self.cpus),
            "-action", "reboot=reset",
            "-kernel", str(self.image.kernel), "-initrd", str(self.initramfs),
            "-append", f"{qemu.PARAMETERS} net.ifnames=0 mitigations=off rw",
            "-serial", f"file:{self.home}/console.log",
            "-drive", f"file={self.disk},if=none,id=disk,format=raw,cache=unsafe",
            "-device", "virtio-blk-pci,drive=disk",
            "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=agent,path={self.home}/agent,server=on,wait=off",
            "-device", "virtserialport,chardev=agent,name=agent",
            "-device", "virtio-rng-pci",
            "-qmp", f"unix:{self.home}/monitor,server=on,wait=off",
            *cards,
        ]


class Agent:
    """The host's end of the serial port; it takes one client at a time, so there is one of these for each guest."""

    def __init__(self, name: str, path: pathlib.Path):
        self.name = name
        self.up = threading.Event()
        self.waiting = {}
        self.lock = threading.Lock()
        self.connection = connect(path)
        threading.Thread(target=self.receive, daemon=True).start()

    def ask(self, command: str, seconds: float) -> Answer:
        mailbox = Mailbox()
        with self.lock:
            number = len(self.waiting) + 1
            self.waiting[number] = mailbox
            request = {"id": number, "command": command, "seconds": seconds}
            self.connection.sendall(json.dumps(request).encode() + b"\n")
        # A guest's clock may be slower than ours.
        if not mailbox.filled.wait(2 * seconds + 30):
            raise GuestFailed(f"{self.name} does not answer: {command}")
        return Answer(mailbox.answer["code"], mailbox.answer["output"])

    def receive(self) -> None:
        try:
            for line in self.connection.makefile("rb"):
                self.take(line)
        except (OSError, ValueError):
            pass  # the guest was switched off

    def take(self, line: bytes) -> None:
        try:
            answer = json.loads(line)
        except ValueError:
            return  # what a reboot has cut in half
        if answer["id"] == 0:
            self.up.set()
        elif mailbox := self.waiting.get(answer["id"]):
            mailbox.answer = answer
            mailbox.filled.set()

    def close(self) -> None:
        self.connection.close()


class Mailbox:
    def __init__(self):
        self.filled = threading.Event()
        self.answer = None


def connect(path: pathlib.Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    deadline = time.monotonic() + 20
    while True:
        try:
            connection.connect(str(path))
            return connection
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
