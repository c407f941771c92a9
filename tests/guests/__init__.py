"""Boots machines that this one is not: Debian's kernels under QEMU.

| module | what it does |
|---|---|
| `kernels` | fetches a kernel of Debian by name |
| `initramfs` | makes a root of programs, files and modules of the host |
| `archive` | writes the format of it |
| `qemu` | boots the two, and says how it ended |
"""
