"""Boots machines that this one is not: Debian's kernels under QEMU.

| module | what it does |
|---|---|
| `kernels` | fetches a kernel of Debian by name |
| `initramfs` | makes a root of programs, files and modules of the host |
| `archive` | writes the format of it |
| `qemu` | boots the two, and says how it ended |
| `root` | makes disks with Debian 12 and 13 on them |
| `machine` | runs a guest from such a disk for as long as a test wants: commands, cables, power |
| `agent` | what answers in that guest |
| `network` | Ethernet segments, and hosts without a kernel of their own |
"""
