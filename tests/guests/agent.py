#!/usr/bin/env python3
"""Runs commands in a guest, for machine.py on the host: `agent.py PORT`.

PORT is a virtio-serial port. Each request and each answer is one line of JSON. Requests run at the same time, and are
answered as they end: {"id", "command", "seconds"} by {"id", "code", "output"}. The first line says that the guest is
up: {"id": 0}.
"""

import json
import os
import subprocess
import sys
import threading
import time


def main(path: str) -> None:
    port = Port(path)
    port.answer({"id": 0, "code": 0, "output": os.uname().release})
    for request in port.requests():
        threading.Thread(target=serve, args=(port, request), daemon=True).start()


class Port:
    def __init__(self, path: str):
        self.descriptor = os.open(path, os.O_RDWR)
        self.lock = threading.Lock()

    def answer(self, answer: dict) -> None:
        line = json.dumps(answer).encode() + b"\n"
        with self.lock:
            while line:
                line = line[os.write(self.descriptor, line):]

    def requests(self):
        received = b""
        while True:
            piece = os.read(self.descriptor, 1 << 16)
            if not piece:  # nobody has the other end open
                time.sleep(0.1)
            *lines, received = (received + piece).split(b"\n")
            yield from (json.loads(line) for line in lines if line.strip())


def serve(port: Port, request: dict) -> None:
    process = subprocess.Popen(
        ["/bin/bash", "-c", request["command"]],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=request["seconds"])
        code = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        output, code = what_came(process), 124
    port.answer({"id": request["id"], "code": code, "output": output.decode(errors="replace")})


def what_came(process: subprocess.Popen) -> bytes:
    try:
        return process.communicate(timeout=1)[0]
    except subprocess.TimeoutExpired as late:  # something that has a session of its own holds the pipe
        return late.output or b""


main(sys.argv[1])
