"""What clients do and see. `probe` asks once a millisecond; `hold` keeps connections and makes web requests.

Both work until their standard input ends, then write what they saw as JSON.
"""

import json
import os
import resource
import selectors
import socket
import struct
import sys
import threading
import time

PERIOD = 0.001
WORD = b"still there?"
PATIENCE = 5
"""Seconds in which a connection must answer."""


def stopped():
    event = threading.Event()

    def wait():
        os.read(0, 1)
        event.set()

    threading.Thread(target=wait, daemon=True).start()
    return event


def probe(address, port):
    """The longest silence, in ms, beyond the one between two answers."""
    stop = stopped()
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.setblocking(False)
    sent, answered, longest, last, next_one = 0, 0, 0.0, time.monotonic(), time.monotonic()
    while not stop.is_set():
        next_one = max(next_one + PERIOD, time.monotonic())
        time.sleep(max(next_one - time.monotonic(), 0))
        try:
            client.sendto(struct.pack("=Q", sent), (address, port))
        except OSError:
            pass
        sent += 1
        came = receive(client)
        if came:
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
            answered += came
    time.sleep(0.2)
    answered += receive(client)
    longest = max(longest, time.monotonic() - 0.2 - last)
    print(json.dumps({"gap": max(longest - PERIOD, 0) * 1000, "sent": sent, "lost": sent - answered}))


def receive(client):
    came = 0
    while True:
        try:
            client.recv(64)
        except OSError:
            return came
        came += 1


def hold(address, count):
    """Each of the connections says a word, over and over; new web requests are made beside them."""
    stop = stopped()
    half = count // 2
    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 100, count + 100))
    held = [socket.create_connection((address, port)) for port in [7000] * half + [7001] * half]
    web = {"answered": 0, "failed": 0}
    requests = threading.Thread(target=request, args=(address, web, stop))
    requests.start()
    print("ready", flush=True)
    broken = set()
    while not stop.is_set():
        broken |= speak(held, broken)
    broken |= speak(held, broken)
    requests.join()
    print(json.dumps({"kept": len(held) - len(broken), "broken": len(broken), "web": web}))


def speak(held, broken):
    """Those that did not say the word again."""
    failed = set()
    with selectors.DefaultSelector() as selector:
        for number, connection in enumerate(held):
            if number not in broken:
                selector.register(connection, selectors.EVENT_READ, number)
                failed |= try_io(number, lambda: connection.sendall(WORD))
        until = time.monotonic() + PATIENCE
        while selector.get_map() and time.monotonic() < until:
            for key, _ in selector.select(timeout=0.1):
                selector.unregister(key.fileobj)
                failed |= try_io(key.data, lambda: hear(key.fileobj))
        return failed | {key.data for key in selector.get_map().values()}


def try_io(number, action):
    try:
        action()
    except OSError:
        return {number}
    return set()


def hear(connection):
    if connection.recv(64) != WORD:
        raise ConnectionError


def request(address, web, stop):
    """One new connection after the other, as a browser that comes for the first time."""
    while not stop.is_set():
        try:
            with socket.create_connection((address, 80), timeout=0.2) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n")
                answer = connection.recv(4096)
            web["answered" if answer.startswith(b"HTTP/1.1 200") else "failed"] += 1
        except OSError:
            web["failed"] += 1
        time.sleep(0.005)


if __name__ == "__main__":
    verb, vip, number = sys.argv[1:]
    {"probe": probe, "hold": hold}[verb](vip, int(number))
