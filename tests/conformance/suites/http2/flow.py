"""Flow control: RFC 9113 section 6.9."""

import time

from ..report import MUST, SHOULD
from . import wire
from .expect import Table, alive, answered, connection_error, require, stream_error
from .frames import GET, OPEN
from .wire import FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, PROTOCOL_ERROR, frame


def cases():
    return window_update()


def window_update():
    table = Table("9113 6.9 WINDOW_UPDATE")
    table.breaks_connection(MUST, "of 0 for the connection", wire.window_update(0, 0), PROTOCOL_ERROR)
    table.breaks_stream(MUST, "of 0 for a stream", OPEN + wire.window_update(1, 0), PROTOCOL_ERROR)
    table.breaks_connection(MUST, "of three bytes", frame(wire.WINDOW_UPDATE, 0, 0, b"\0\0\1"), FRAME_SIZE_ERROR)
    table.breaks_connection(MUST, "on an idle stream", wire.window_update(1, 1), PROTOCOL_ERROR)
    over = "9113 6.9.1 overflow"
    table.breaks_connection(
        MUST,
        "over 2^31 - 1 for the connection",
        wire.window_update(0, wire.LARGEST_WINDOW) * 2,
        FLOW_CONTROL_ERROR,
        section=over,
    )
    table.breaks_stream(
        MUST,
        "over 2^31 - 1 for a stream",
        OPEN + wire.window_update(1, wire.LARGEST_WINDOW) * 2,
        FLOW_CONTROL_ERROR,
        section=over,
    )
    table.harmless(MUST, "the reserved bit is ignored", wire.window_update(0, 1 | 1 << 31))
    flow_control(table)
    return table.cases


def flow_control(table):
    hundred = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\n" + b"x" * 100
    section = "9113 6.9 flow control"

    @table.case(MUST, "a window of one byte gets one byte", answer=hundred, section=section)
    def one_byte(connection, _origin):
        connection.auto_window = False
        connection.send(wire.settings((wire.INITIAL_WINDOW_SIZE, 1)) + GET)
        connection.wait(lambda: connection.bodies.get(1))
        require(
            connection.bodies.get(1) == b"x", f"got {len(connection.bodies.get(1, b''))} bytes: {connection.story()}"
        )
        connection.send(wire.window_update(1, 99))
        answered(connection, body=b"x" * 100)

    @table.case(MUST, "a window made smaller counts for open streams", answer=hundred, section="9113 6.9.2 changes")
    def negative(connection, _origin):
        connection.auto_window = False
        connection.send(wire.settings((wire.INITIAL_WINDOW_SIZE, 10)) + GET)
        connection.wait(lambda: len(connection.bodies.get(1, b"")) == 10)
        connection.send(wire.settings((wire.INITIAL_WINDOW_SIZE, 0)) + wire.window_update(1, 10))
        alive(connection)
        require(len(connection.bodies.get(1, b"")) == 10, f"got {len(connection.bodies[1])} bytes of 10")
        connection.send(wire.settings((wire.INITIAL_WINDOW_SIZE, 100)))
        answered(connection, body=b"x" * 100)

    @table.case(MUST, "a change that overflows a stream's window", answer=hundred, section="9113 6.9.2 changes")
    def overflow_by_settings(connection, _origin):
        connection.send(OPEN + wire.window_update(1, wire.LARGEST_WINDOW - 65_535))
        connection.send(wire.settings((wire.INITIAL_WINDOW_SIZE, 65_536)))
        connection_error(connection, FLOW_CONTROL_ERROR)

    mebibyte = b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\nConnection: close\r\n\r\n" + b"x" * (1 << 20)

    @table.case(MUST, "the connection's window is kept", answer=mebibyte, section=section)
    def connection_window(connection, _origin):
        connection.auto_window = False
        connection.send(wire.settings((wire.INITIAL_WINDOW_SIZE, 1 << 20)) + GET)
        connection.wait(lambda: len(connection.bodies.get(1, b"")) >= 65_535)
        alive(connection)
        require(len(connection.bodies[1]) == 65_535, f"got {len(connection.bodies[1])} bytes of 65,535")
        connection.send(wire.window_update(0, 1 << 20))
        answered(connection, body=b"x" * (1 << 20))

    @table.case(MUST, "1 MiB arrives whole", answer=mebibyte, section=section)
    def whole(connection, _origin):
        connection.send(GET)
        answered(connection, body=b"x" * (1 << 20))

    table.add(MUST, "a client that sends more than it may", overrun, answer=never_reads, section=section)
    table.add(
        SHOULD, "an upload stops where the origin does not read", backpressure, answer=never_reads, section=section
    )


def never_reads(connection, _reader, _request, _number):
    """Holds the request until the client is gone."""

    time.sleep(3)
    return False


def overrun(connection, _origin):
    """Counts what the server grants, and sends one frame more."""
    connection.send(OPEN)
    granted = send_all_granted(connection)
    connection.send(wire.data(1, b"x" * 16_384, 0) * 2)
    stream_error(connection, 1, FLOW_CONTROL_ERROR)
    require(granted > 0, "nothing was granted")


def backpressure(connection, _origin):
    connection.send(OPEN)
    granted = send_all_granted(connection)
    require(granted < 64 << 20, f"{granted} bytes were taken for an origin that reads nothing")


def send_all_granted(connection):
    """Sends until neither window has room for a while; returns the bytes sent."""
    sent, stream_window = 0, connection.settings.get(wire.INITIAL_WINDOW_SIZE, 65_535)
    while sent < 64 << 20:
        grants = [f for f in connection.frames if f[0] == wire.WINDOW_UPDATE and f[2] == 1]
        allowed = min(connection.window, stream_window + sum(int.from_bytes(f[3], "big") for f in grants)) - sent
        if allowed > 0:
            size = min(allowed, 16_384)
            connection.send(wire.data(1, b"x" * size, 0))
            sent += size
            continue
        seen = len(connection.frames)
        if not connection.wait(lambda before=seen: len(connection.frames) > before, 0.3):
            return sent
    return sent
