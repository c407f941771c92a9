"""Disks with Debian on them, made by debootstrap: once for each release, kept below target/guests/roots.

A disk is made without mounting anything (mke2fs -d). Its kernel is the release's own, its initramfs ours: it loads what
the disk needs, lays down the files of one machine at the first boot, and hands over to systemd.
"""

import hashlib
import io
import pathlib
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from . import kernels
from .archive import Archive
from .initramfs import BUSYBOX, Initramfs

HERE = pathlib.Path(__file__).parent
DISK_SIZE = "3G"

# What a machine of the tests has installed, beside what Debian calls required.
PACKAGES = """
    systemd systemd-sysv dbus udev kmod libpam-systemd procps sudo less bash-completion logrotate ca-certificates
    nftables iproute2 ethtool iputils-ping network-manager ifupdown openssh-server rsync openssl
    curl iperf3 netcat-openbsd libcap2-bin python3
""".split()

# What of a kernel's modules goes onto a disk; the rest is of hardware that no guest has, or is a quicker form of what
# is there (arch/x86/crypto), which costs an emulated CPU a quarter of a boot to load and test.
MODULES = """
    kernel/net kernel/fs/autofs kernel/lib kernel/crypto kernel/drivers/virtio kernel/drivers/char/hw_random
    kernel/drivers/char/virtio_console.ko* kernel/drivers/block/virtio_blk.ko* kernel/drivers/ptp kernel/drivers/pps
    kernel/drivers/net/*.ko* kernel/drivers/net/bonding kernel/drivers/net/vmxnet3 kernel/drivers/net/team
    kernel/drivers/net/ethernet/intel kernel/drivers/net/phy
""".split()

# Part of every boot, and nothing to anybody here.
MASKED = """
    serial-getty@ttyS0.service getty@tty1.service systemd-binfmt.service proc-sys-fs-binfmt_misc.automount
    dev-hugepages.mount dev-mqueue.mount modprobe@dm_mod.service modprobe@drm.service modprobe@efi_pstore.service
    modprobe@fuse.service modprobe@loop.service systemd-pstore.service systemd-network-generator.service
""".split()

# What the initramfs loads to find the disk.
BOOT_MODULES = ["virtio_pci", "virtio_blk", "ext4", "virtio_console"]

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in $(cat /modules/order); do insmod "/modules/$module"; done
until [ -b /dev/vda ]; do usleep 20000; done
mount -t ext4 /dev/vda /root || exec sh
if [ -d /seed ] && [ ! -e /root/etc/seeded ]; then
  cp -a /seed/. /root/
  touch /root/etc/seeded
fi
mount --move /dev /root/dev
umount /sys /proc
exec switch_root /root /sbin/init
"""

AGENT_UNIT = """[Unit]
Description=The test's hands in this guest
DefaultDependencies=no
After=local-fs.target

[Service]
Environment=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/root
ExecStartPre=/bin/sh -c 'until [ -e /dev/virtio-ports/agent ]; do sleep 0.1; done'
ExecStart=/usr/bin/python3 /usr/local/sbin/guest-agent /dev/virtio-ports/agent
Restart=always
TimeoutStartSec=infinity
OOMScoreAdjust=-1000

[Install]
WantedBy=sysinit.target
"""


@dataclass(frozen=True)
class Release:
    suite: str
    kernel: str
    packages: tuple[str, ...] = ()


BOOKWORM = Release("bookworm", "6.1", ("isc-dhcp-client",))
TRIXIE = Release("trixie", "6.12", ("dhcpcd-base",))


@dataclass(frozen=True)
class Image:
    disk: pathlib.Path
    kernel: pathlib.Path
    initramfs: pathlib.Path


def images(*releases: Release) -> list[Image]:
    """Several at once: debootstrap waits for its mirror more than it works."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(image, releases))


def image(release: Release) -> Image:
    """The disk of a release, with its kernel; made where it is missing, or no longer what this file says."""
    kernel = kernels.get(release.kernel, "plain")
    place = kernels.directory() / "roots"
    place.mkdir(parents=True, exist_ok=True)
    tree = debootstrap(release, place)
    made = Image(place / f"{release.suite}.img", kernel.image, place / f"{release.suite}.initramfs")
    recipe = f"{kernel.release} {digest(HERE / 'root.py')} {digest(HERE / 'agent.py')}"
    stamp = place / f"{release.suite}.stamp"
    if not (stamp.exists() and stamp.read_text() == recipe):
        furnish(tree, kernel)
        build_disk(tree, made.disk)
        made.initramfs.write_bytes(build_initramfs(kernel))
        stamp.write_text(recipe)
    return made


def debootstrap(release: Release, place: pathlib.Path) -> pathlib.Path:
    """The installed tree. It is named after what is installed, so that another list makes another tree."""
    packages = ",".join([*PACKAGES, *release.packages])
    tree = place / f"{release.suite}-{hashlib.sha256(packages.encode()).hexdigest()[:8]}"
    if tree.exists():
        return tree
    unfinished = tree.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    with open(place / f"{release.suite}.log", "w") as log:
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={packages}", release.suite, unfinished, kernels.host_mirror()],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True,
        )
    shutil.rmtree(unfinished / "var/cache/apt/archives", ignore_errors=True)
    return unfinished.rename(tree)


def furnish(tree: pathlib.Path, kernel) -> None:
    """What a machine of the tests has that no package brings: modules, the agent, a key that opens the others."""
    install_modules(tree, kernel)
    write(tree, "usr/local/sbin/guest-agent", (HERE / "agent.py").read_text())
    write(tree, "etc/systemd/system/guest-agent.service", AGENT_UNIT)
    write(tree, "etc/fstab", "/dev/vda / ext4 rw,noatime 0 1\n")
    write(tree, "etc/machine-id", "")
    write(tree, "etc/systemd/journald.conf.d/kept.conf", "[Journal]\nStorage=persistent\nRateLimitBurst=0\n")
    # An emulated CPU that others share may be slow; how slow is no fault of what is tested.
    write(tree, "etc/systemd/system.conf.d/patient.conf",
          "[Manager]\nDefaultTimeoutStartSec=600\nDefaultDeviceTimeoutSec=600\n")
    # No network of their own: which program runs it is the machine's business.
    chroot(tree, "systemctl -q enable guest-agent systemd-networkd nftables")
    chroot(tree, "systemctl -q disable NetworkManager NetworkManager-wait-online networking apt-daily.timer "
                 "apt-daily-upgrade.timer dpkg-db-backup.timer logrotate.timer fstrim.timer e2scrub_all.timer "
                 "e2scrub_reap 2>/dev/null || true")
    chroot(tree, f"systemctl -q mask {' '.join(MASKED)}")
    (tree / "etc/resolv.conf").unlink(missing_ok=True)
    trust_one_key(tree)


def install_modules(tree: pathlib.Path, kernel) -> None:
    modules = tree / "lib/modules"
    shutil.rmtree(modules, ignore_errors=True)
    for pattern in [*MODULES, "modules.builtin*", "modules.order"]:
        for source in kernel.modules.glob(pattern):
            goal = modules / kernel.release / source.relative_to(kernel.modules)
            goal.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, goal)
    for wireless in ("net/wireless", "net/mac80211", "net/bluetooth"):
        shutil.rmtree(modules / kernel.release / "kernel" / wireless, ignore_errors=True)
    subprocess.run(["depmod", "-b", tree, kernel.release], check=True)


def trust_one_key(tree: pathlib.Path) -> None:
    """Root of any machine may reach root of the others, as the administrator of a pair may."""
    key = tree.parent / "key"
    if not key.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key], check=True)
    home = tree / "root/.ssh"
    home.mkdir(mode=0o700, exist_ok=True)
    shutil.copy(key, home / "id_ed25519")
    shutil.copy(f"{key}.pub", home / "authorized_keys")
    (home / "config").write_text("StrictHostKeyChecking no\nLogLevel ERROR\n")


def build_disk(tree: pathlib.Path, disk: pathlib.Path) -> None:
    disk.unlink(missing_ok=True)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, disk, DISK_SIZE], check=True)


def build_initramfs(kernel) -> bytes:
    """Busybox, and the modules in the order in which they load."""
    archive = Archive()
    for folder in ("proc", "sys", "dev", "root"):
        archive.folder(folder)
    archive.file("bin/busybox", pathlib.Path(BUSYBOX), 0o755)
    order = dict.fromkeys(path for name in BOOT_MODULES for path in Initramfs(kernel).needed(name))
    for module in order:
        archive.file(f"modules/{module.name}", module)
    archive.file("modules/order", "\n".join(module.name for module in order).encode())
    archive.file("init", INIT.encode(), 0o755)
    return packed(archive)


def seed(files: dict[str, str | bytes]) -> bytes:
    """Files of one machine, to stand behind the initramfs."""
    archive = Archive()
    for path, content in files.items():
        archive.file(f"seed{path}", content.encode() if isinstance(content, str) else content)
    return packed(archive)


def packed(archive: Archive) -> bytes:
    out = io.BytesIO()
    archive.write(out)
    return out.getvalue()


def write(tree: pathlib.Path, path: str, content: str) -> None:
    (tree / path).parent.mkdir(parents=True, exist_ok=True)
    (tree / path).write_text(content)


def chroot(tree: pathlib.Path, command: str) -> None:
    subprocess.run(["chroot", tree, "sh", "-c", command], check=True, capture_output=True)


def digest(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
