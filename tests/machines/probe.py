#!/usr/bin/env python3
"""A client that asks all the time, and says what it missed: `probe.py new|kept ADDRESS PORT [CONNECTIONS]`.

new: a new connection for each request, 50 a second. kept: that many connections, which all ask ten times a second.
It asks until standard input ends, then prints one line of JSON.
"""

import json
import socket
import sys
import threading
import time

REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n%s\r\n"
# A time without an answer that is worth a report.
GAP = 0.2
# A failover takes less; a SYN that got lost is sent again by the kernel after a second only.
PATIENCE = 0.25


class Tally:
    """When answers came, and what went wrong between them."""

    def __init__(self):
        self.answers = self.failures = 0
        self.gaps = []
        self.last = time.monotonic()
        self.errors = {}
        self.servers = {}

    def answered(self, server: str) -> None:
        self.answers += 1
        self.look()
        self.servers[server] = self.servers.get(server, 0) + 1

    def look(self) -> None:
        now = time.monotonic()
        if now - self.last >= GAP:
            self.gaps.append([self.last, now])
        self.last = now

    def failed(self, error: Exception) -> None:
        self.failures += 1
        name = f"{type(error).__name__} {error}"[:60]
        self.errors[name] = self.errors.get(name, 0) + 1

    def report(self) -> dict:
        self.look()
        return {"answers": self.answers, "failures": self.failures, "gaps": self.gaps, "errors": self.errors,
                "servers": self.servers}


def ask(connection: socket.socket, close: bool) -> str:
    connection.sendall(REQUEST % (b"Connection: close\r\n" if close else b""))
    answer = b""
    while b"\r\n\r\n" not in answer or not answer.endswith(b"\n"):
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError("closed")
        answer += piece
    if not answer.startswith(b"HTTP/1.1 200"):
        raise ConnectionError(answer[:20].decode(errors="replace"))
    return answer.split(b"\r\n\r\n", 1)[1].split()[0].decode(errors="replace")


def new_connections(to: tuple[str, int], tally: Tally, over: threading.Event) -> None:
    while not over.is_set():
        began = time.monotonic()
        try:
            with socket.create_connection(to, PATIENCE) as connection:
                connection.settimeout(2 * PATIENCE)
                tally.answered(ask(connection, close=True))
        except OSError as error:
            tally.failed(error)
        over.wait(max(0.0, began + 0.02 - time.monotonic()))


def kept_connection(to: tuple[str, int], tally: Tally, over: threading.Event) -> None:
    try:
        with socket.create_connection(to, 10) as connection:
            while not over.is_set():
                tally.answered(ask(connection, close=False))
                over.wait(0.1)
    except OSError as error:
        tally.failed(error)


def main(kind: str, address: str, port: str, connections: str = "1") -> None:
    over = threading.Event()
    work = {"new": new_connections, "kept": kept_connection}[kind]
    tallies = [Tally() for _ in range(int(connections))]
    threads = [threading.Thread(target=work, args=((address, int(port)), tally, over)) for tally in tallies]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    over.set()
    for thread in threads:
        thread.join()
    print(json.dumps([tally.report() for tally in tallies]))


main(*sys.argv[1:])
