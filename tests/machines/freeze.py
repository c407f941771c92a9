#!/usr/bin/env python3
"""Stops one thread of a process for a while, as a bug would that lets it spin or wait for ever: `freeze.py TID SECONDS`.

ptrace(2) stops a single thread; a signal would stop all of them.
"""

import ctypes
import os
import sys
import time

PTRACE_ATTACH, WALL = 16, 0x40000000

thread, seconds = int(sys.argv[1]), float(sys.argv[2])
libc = ctypes.CDLL(None, use_errno=True)
if libc.ptrace(PTRACE_ATTACH, thread, None, None):
    sys.exit(os.strerror(ctypes.get_errno()))
os.waitpid(thread, WALL)
print("frozen", flush=True)
end = time.monotonic() + seconds
# One that is killed is there until its tracer has waited for it.
while time.monotonic() < end and os.waitpid(thread, WALL | os.WNOHANG) == (0, 0):
    time.sleep(0.1)
