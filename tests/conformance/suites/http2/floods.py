"""Abuse: RFC 9113 section 10.5, CVE-2019-9511 to 9518, CVE-2023-44487, CVE-2024-27316. The server may close, or go on
serving; what it must not do is grow, hang, or let other connections suffer."""

import select

from ..report import MUST, POLICY
from . import wire
from .connection import Connection
from .expect import Table, answered, require
from .streams import slow
from .wire import END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM

GET = wire.request()
OPEN = wire.headers(1, wire.request(method=b"POST"), END_HEADERS)


def cases():
    table = Table("9113 10.5 floods")
    resets = b"".join(wire.headers(n, GET) + wire.rst_stream(n) for n in range(1, 20_000, 2))
    table.add(
        POLICY, "rapid reset ends with GOAWAY", lambda c, o: ends(c, resets), answer=slow, section="CVE-2023-44487"
    )
    own = b"".join(
        wire.headers(n, wire.request(method=b"POST"), END_HEADERS) + wire.window_update(n, 0)
        for n in range(1, 20_000, 2)
    )
    table.add(
        POLICY,
        "resets that the server is made to send end with GOAWAY",
        lambda c, o: ends(c, own),
        answer=slow,
        section="CVE-2025-8671",
    )
    endless = wire.headers(1, GET, END_STREAM) + wire.continuation(1, wire.literal(b"x-a", b"b" * 50), 0) * 50_000
    table.add(POLICY, "endless CONTINUATION ends with GOAWAY", lambda c, o: ends(c, endless), section="CVE-2024-27316")
    empty = wire.headers(1, GET, END_STREAM) + wire.continuation(1, b"", 0) * 50_000
    table.add(
        POLICY, "endless empty CONTINUATION ends with GOAWAY", lambda c, o: ends(c, empty), section="CVE-2024-27316"
    )
    survivable = {
        "SETTINGS": wire.settings((wire.MAX_CONCURRENT_STREAMS, 100)) * 50_000,
        "empty SETTINGS": wire.settings() * 50_000,
        "PING": wire.ping() * 50_000,
        "PRIORITY": b"".join(wire.priority(n) for n in range(1, 100_000, 2)),
        "WINDOW_UPDATE": wire.window_update(0, 1) * 50_000,
        "unknown frames": wire.frame(0xBE, 0, 0, b"x" * 16) * 50_000,
        "RST_STREAM of one stream": OPEN + wire.rst_stream(1) * 20_000,
        "empty DATA": OPEN + wire.data(1, b"", 0) * 50_000,
        "DATA of padding alone": OPEN + wire.frame(wire.DATA, wire.PADDED, 1, b"\0") * 50_000,
        "empty HEADERS on closed streams": b"".join(wire.headers(n, b"") for n in range(1, 20_000, 2)),
    }
    for name, sent in survivable.items():
        table.add(MUST, f"{name}: closed or served", lambda c, o, s=sent: ends_or_serves(c, s))
    for name, sent in {"PING": wire.ping() * 2000, "SETTINGS": wire.settings((wire.ENABLE_PUSH, 0)) * 2000}.items():
        table.add(POLICY, f"{name} without reading: the server stops", lambda c, o, s=sent: stops(c, s))
    table.add(MUST, "other connections are served meanwhile", lambda c, o: others(c, resets))
    return table.cases


def ends(connection, flood):
    send_until_closed(connection, flood)
    connection.wait(lambda: connection.closed)
    require(connection.closed or connection.goaway, f"the flood was swallowed: {connection.story()[:300]}")
    require(
        connection.goaway in (None, ENHANCE_YOUR_CALM, wire.PROTOCOL_ERROR, wire.COMPRESSION_ERROR),
        f"GOAWAY with {connection.goaway}",
    )


def ends_or_serves(connection, flood):
    send_until_closed(connection, flood)
    if not connection.closed:
        connection.request(200_001)
        connection.wait(lambda: connection.over(200_001) or connection.closed)
    served = connection.status(200_001) == 200
    require(
        served or connection.closed or connection.goaway is not None,
        f"neither closed nor served: {connection.story()[:300]}",
    )


def send_until_closed(connection, flood):
    """Reads what comes meanwhile, so that it is not the client's full buffers that end it."""
    connection.socket.setblocking(False)
    sent, size = 0, 64 << 10
    while sent < len(flood) and not connection.closed:
        readable, writable, _ = select.select([connection.socket], [connection.socket], [], 5)
        if readable:
            connection.wait(lambda: False, 0.001)
            connection.socket.setblocking(False)
        elif writable:
            try:
                sent += connection.socket.send(flood[sent : sent + size])
            except OSError:
                connection.wait(lambda: connection.closed, 1)
                return
        else:
            return


def stops(connection, batch):
    """Nobody reads the answers: sooner or later the server must close, or take no more."""
    connection.socket.settimeout(1)
    for _ in range(2000):
        try:
            connection.socket.sendall(batch)
        except OSError:
            return  # it closed, or takes no more
    require(False, "4,000,000 frames were taken from a client that reads nothing")


def others(connection, flood):
    """A second connection's requests between the pieces of the flood."""
    port = connection.socket.getpeername()[1]
    pieces = [flood[n : n + (len(flood) // 10)] for n in range(0, len(flood), len(flood) // 10)]
    for piece in pieces:
        send_until_closed(connection, piece)
        other = Connection(port).start()
        other.request(1)
        answered(other)
        other.close()
