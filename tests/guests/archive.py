"""The format of an initramfs: cpio, `newc` (Documentation/driver-api/early-userspace/buffer-format.rst)."""

import stat


class Archive:
    """Entries by path, without a leading slash. It is written as it is: unpacking would take an emulated CPU longer
    than reading more."""

    def __init__(self):
        self.entries = {}

    def folder(self, path):
        self.add(path, stat.S_IFDIR | 0o755, b"")

    def link(self, path, to):
        self.add(path, stat.S_IFLNK | 0o777, to.encode())

    def device(self, path, major, minor):
        self.add(path, stat.S_IFCHR | 0o600, b"", (major, minor))

    def file(self, path, data, mode=0o644):
        self.add(path, stat.S_IFREG | mode, data)

    def add(self, path, mode, data, device=(0, 0)):
        """`data`: bytes, or a file that holds them."""
        parent = path.rpartition("/")[0]
        if parent and parent not in self.entries:
            self.folder(parent)
        self.entries[path] = (mode, data, device)

    def write(self, out):
        for number, (path, (mode, data, device)) in enumerate(self.entries.items(), 1):
            entry(out, number, path, mode, data if isinstance(data, bytes) else data.read_bytes(), device)
        entry(out, 0, "TRAILER!!!", 0, b"", (0, 0))


def entry(out, number, path, mode, data, device):
    name = path.encode() + b"\0"
    numbers = [number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name), 0]
    header = b"070701" + b"".join(b"%08X" % value for value in numbers)
    out.write(header + name + padding(len(header) + len(name)) + data + padding(len(data)))


def padding(length):
    return b"\0" * (-length % 4)
