"""Frames and settings: RFC 9113 sections 3.4, 4 and 6."""

import struct

from ..report import MUST, POLICY
from . import wire
from .expect import Table, answered, connection_error, require
from .wire import (
    ACK,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    PADDED,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
    WITH_PRIORITY,
    frame,
)

GET = wire.headers(1, wire.request())
OPEN = wire.headers(1, wire.request(method=b"POST"), END_HEADERS)


def cases():
    return preface() + format_and_size() + data() + headers() + small_frames() + settings() + others() + continuation()


def preface():
    table = Table("9113 3.4 preface")

    @table.case(MUST, "the server's preface is a SETTINGS frame")
    def first_frame(connection, _origin):
        connection.wait(lambda: connection.frames)
        require(connection.frames[0][0] == wire.SETTINGS, f"the first frame is {connection.frames[0]}")
        require(not connection.frames[0][1] & ACK, "the first frame is an acknowledgement")

    @table.case(MUST, "an invalid preface", preface=False)
    def invalid(connection, _origin):
        connection.send(b"INVALID CONNECTION PREFACE\r\n\r\n")
        connection.wait(lambda: connection.closed)
        require(connection.closed, "the connection stays open")

    @table.case(MUST, "no SETTINGS behind the preface", preface=False)
    def no_settings(connection, _origin):
        connection.send(wire.PREFACE + wire.ping())
        connection_error(connection, PROTOCOL_ERROR)

    @table.case(MUST, "an acknowledgement behind the preface", preface=False)
    def acknowledgement(connection, _origin):
        connection.send(wire.PREFACE + wire.settings(flags=ACK))
        connection_error(connection, PROTOCOL_ERROR)

    @table.case(MUST, "the preface in single bytes", preface=False)
    def byte_by_byte(connection, _origin):
        for byte in wire.PREFACE + wire.settings((wire.HEADER_TABLE_SIZE, 0)) + GET:
            connection.send(bytes([byte]))
        answered(connection)

    @table.case(MUST, "frames right behind the preface", preface=False)
    def at_once(connection, _origin):
        connection.start()
        connection.send(GET)
        answered(connection)

    return table.cases


def format_and_size():
    table = Table("9113 4.1 frame format")
    table.harmless(MUST, "an unknown type is ignored", frame(0xBE, 0xFF, 0, b"12345678"))
    table.harmless(MUST, "an unknown type on a stream is ignored", OPEN + frame(0xBE, 0, 1, b"1") + wire.data(1))
    table.harmless(MUST, "an unknown type on an idle stream is ignored", frame(0xBE, 0, 7, b"1"))
    table.harmless(MUST, "undefined flags are ignored", wire.ping(flags=0xFE))
    table.harmless(MUST, "the reserved bit is ignored", frame(wire.PING, 0, 1 << 31, b"12345678"))
    table.harmless(
        MUST,
        "undefined flags of HEADERS are ignored",
        wire.headers(1, wire.request(), 0xD2 & ~PADDED | END_STREAM | END_HEADERS),
    )
    sizes = "9113 4.2 frame size"
    table.harmless(MUST, "DATA of 16,384 bytes", OPEN + wire.data(1, b"x" * 16_384), section=sizes)
    table.breaks_stream(
        MUST, "DATA of 16,385 bytes", OPEN + wire.data(1, b"x" * 16_385), FRAME_SIZE_ERROR, section=sizes
    )
    big = wire.request((b"x-a", b"b" * 20_000))
    table.breaks_connection(MUST, "HEADERS of 20,000 bytes", wire.headers(1, big), FRAME_SIZE_ERROR, section=sizes)
    table.breaks_connection(
        MUST,
        "SETTINGS of 16,386 bytes",
        frame(wire.SETTINGS, 0, 0, b"\0\x63\0\0\0\0" * 2731),
        FRAME_SIZE_ERROR,
        section=sizes,
    )
    table.breaks_connection(
        MUST, "an unknown type of 1 MiB", frame(0xBE, 0, 0, b"x" * (1 << 20)), FRAME_SIZE_ERROR, section=sizes
    )
    blocks = "9113 4.3 field blocks"
    half = wire.headers(1, wire.request(), END_STREAM)
    table.breaks_connection(
        MUST, "PRIORITY within a field block", half + wire.priority(3), PROTOCOL_ERROR, section=blocks
    )
    table.breaks_connection(
        MUST,
        "another stream's HEADERS within a field block",
        half + wire.headers(3, wire.request()),
        PROTOCOL_ERROR,
        section=blocks,
    )
    table.breaks_connection(
        MUST,
        "an unknown type within a field block",
        half + frame(0xBE, 0, 0),
        PROTOCOL_ERROR,
        section="9113 5.5 extensions",
    )
    table.breaks_connection(
        MUST, "SETTINGS within a field block", half + wire.settings(), PROTOCOL_ERROR, section=blocks
    )
    table.breaks_connection(
        MUST, "WINDOW_UPDATE within a field block", half + wire.window_update(0, 1), PROTOCOL_ERROR, section=blocks
    )
    return table.cases


def data():
    table = Table("9113 6.1 DATA")
    table.breaks_connection(MUST, "on stream 0", wire.data(0, b"x"), PROTOCOL_ERROR)
    table.breaks_connection(MUST, "on an idle stream", wire.data(1, b"x"), PROTOCOL_ERROR, STREAM_CLOSED)
    table.breaks_connection(
        MUST,
        "padding as long as the payload",
        OPEN + frame(wire.DATA, PADDED | END_STREAM, 1, b"\x05hell"),
        PROTOCOL_ERROR,
    )
    table.breaks_connection(
        MUST,
        "padding longer than the payload",
        OPEN + frame(wire.DATA, PADDED | END_STREAM, 1, b"\xffhello"),
        PROTOCOL_ERROR,
    )
    table.breaks_connection(
        MUST,
        "no room for the padding's length",
        OPEN + frame(wire.DATA, PADDED | END_STREAM, 1),
        PROTOCOL_ERROR,
        FRAME_SIZE_ERROR,
    )

    @table.case(MUST, "a body with padding")
    def padded(connection, origin):
        connection.send(
            OPEN + frame(wire.DATA, PADDED, 1, b"\x03hel\0\0\0") + frame(wire.DATA, PADDED | END_STREAM, 1, b"\0lo")
        )
        answered(connection)
        require(origin.complete()[0].body == b"hello", f"the origin got {origin.complete()[0].body!r}")

    @table.case(MUST, "a body of several frames")
    def several(connection, origin):
        connection.send(OPEN + wire.data(1, b"hel", 0) + wire.data(1, b"", 0) + wire.data(1, b"lo"))
        answered(connection)
        require(origin.complete()[0].body == b"hello", f"the origin got {origin.complete()[0].body!r}")

    return table.cases


def headers():
    table = Table("9113 6.2 HEADERS")
    good = wire.request()
    table.breaks_connection(MUST, "on stream 0", wire.headers(0, good), PROTOCOL_ERROR)
    table.breaks_connection(
        MUST,
        "padding longer than the payload",
        frame(wire.HEADERS, PADDED | END_STREAM | END_HEADERS, 1, b"\xff" + good),
        PROTOCOL_ERROR,
    )
    table.breaks_connection(
        MUST,
        "no room for the priority",
        frame(wire.HEADERS, WITH_PRIORITY | END_STREAM | END_HEADERS, 1, b"\0"),
        PROTOCOL_ERROR,
        FRAME_SIZE_ERROR,
    )
    weight = struct.pack(">IB", 0, 9)
    variants = {
        "with padding": (PADDED, b"\x03" + good + b"\0\0\0"),
        "with a priority": (WITH_PRIORITY, weight + good),
        "with padding and a priority": (PADDED | WITH_PRIORITY, b"\x02" + weight + good + b"\0\0"),
    }
    for name, (flags, payload) in variants.items():
        table.add(MUST, name, lambda connection, _origin, f=flags, p=payload: get_with(connection, f, p))
    return table.cases


def get_with(connection, flags, payload):
    connection.send(frame(wire.HEADERS, flags | END_STREAM | END_HEADERS, 1, payload))
    answered(connection)


def small_frames():
    table = Table("9113 6.3 PRIORITY")
    table.harmless(MUST, "on an idle stream", wire.priority(3))
    table.breaks_connection(MUST, "on stream 0", wire.priority(0), PROTOCOL_ERROR)
    table.breaks_stream(MUST, "of four bytes", OPEN + frame(wire.PRIORITY, 0, 1, b"\0\0\0\0"), FRAME_SIZE_ERROR)
    resets = "9113 6.4 RST_STREAM"
    table.harmless(MUST, "of an open stream", OPEN + wire.rst_stream(1), section=resets)
    table.harmless(MUST, "of an open stream, unknown code", OPEN + wire.rst_stream(1, 0xFF), section=resets)
    table.breaks_connection(MUST, "on stream 0", wire.rst_stream(0), PROTOCOL_ERROR, section=resets)
    table.breaks_connection(MUST, "on an idle stream", wire.rst_stream(1), PROTOCOL_ERROR, section=resets)
    table.breaks_connection(
        MUST, "of three bytes", OPEN + frame(wire.RST_STREAM, 0, 1, b"\0\0\0"), FRAME_SIZE_ERROR, section=resets
    )
    return table.cases


def settings():
    table = Table("9113 6.5 SETTINGS")

    @table.case(MUST, "are acknowledged")
    def acknowledged(connection, _origin):
        before = connection.acks
        connection.send(wire.settings((wire.MAX_CONCURRENT_STREAMS, 10)))
        connection.wait(lambda: connection.acks > before + 1)
        connection.wait(lambda: connection.acks > before, 0.1)
        require(connection.acks > before, "no acknowledgement")

    table.breaks_connection(
        MUST, "acknowledgement with a payload", frame(wire.SETTINGS, ACK, 0, b"\0" * 6), FRAME_SIZE_ERROR
    )
    table.breaks_connection(MUST, "on a stream", wire.settings(stream=1), PROTOCOL_ERROR)
    table.breaks_connection(
        MUST, "length that is no multiple of six", frame(wire.SETTINGS, 0, 0, b"\0" * 5), FRAME_SIZE_ERROR
    )
    table.harmless(MUST, "empty", wire.settings())
    table.harmless(MUST, "an unknown one is ignored", wire.settings((0xFFFF, 1)))
    table.harmless(MUST, "greased ones are ignored", wire.settings((0x0A0A, 7), (0x1A1A, 0)))
    values = "9113 6.5.2 values"
    table.breaks_connection(
        MUST, "ENABLE_PUSH of 2", wire.settings((wire.ENABLE_PUSH, 2)), PROTOCOL_ERROR, section=values
    )
    table.breaks_connection(
        MUST,
        "INITIAL_WINDOW_SIZE over 2^31 - 1",
        wire.settings((wire.INITIAL_WINDOW_SIZE, 1 << 31)),
        FLOW_CONTROL_ERROR,
        section=values,
    )
    table.breaks_connection(
        MUST,
        "MAX_FRAME_SIZE under 16,384",
        wire.settings((wire.MAX_FRAME_SIZE, 16_383)),
        PROTOCOL_ERROR,
        section=values,
    )
    table.breaks_connection(
        MUST,
        "MAX_FRAME_SIZE over 2^24 - 1",
        wire.settings((wire.MAX_FRAME_SIZE, 1 << 24)),
        PROTOCOL_ERROR,
        section=values,
    )
    table.harmless(
        MUST,
        "the largest values",
        wire.settings((wire.MAX_FRAME_SIZE, (1 << 24) - 1), (wire.INITIAL_WINDOW_SIZE, wire.LARGEST_WINDOW)),
        section=values,
    )
    table.harmless(MUST, "MAX_CONCURRENT_STREAMS of 0", wire.settings((wire.MAX_CONCURRENT_STREAMS, 0)), section=values)
    table.harmless(
        MUST,
        "the last of several values counts",
        wire.settings((wire.INITIAL_WINDOW_SIZE, 0), (wire.INITIAL_WINDOW_SIZE, 65_535)),
        section="9113 6.5.3 order",
    )
    return table.cases


def others():
    table = Table("9113 6.7 PING")

    @table.case(MUST, "is answered with the same bytes")
    def same_bytes(connection, _origin):
        connection.send(wire.ping(b"\0\xffecho\r\n"))
        connection.wait(lambda: connection.pongs)
        require(connection.pongs == [b"\0\xffecho\r\n"], f"got {connection.pongs}")

    @table.case(MUST, "an acknowledgement is not answered")
    def no_echo(connection, _origin):
        connection.send(wire.ping(b"unasked!", ACK) + wire.ping(b"asked!!!"))
        connection.wait(lambda: b"asked!!!" in connection.pongs)
        require(connection.pongs == [b"asked!!!"], f"got {connection.pongs}")

    table.breaks_connection(MUST, "on a stream", wire.ping(stream=1), PROTOCOL_ERROR)
    table.breaks_connection(MUST, "of six bytes", wire.ping(b"123456"), FRAME_SIZE_ERROR)
    table.breaks_connection(
        MUST,
        "PUSH_PROMISE from a client",
        OPEN + frame(wire.PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + wire.request()),
        PROTOCOL_ERROR,
        section="9113 6.6 PUSH_PROMISE",
    )
    goaways = "9113 6.8 GOAWAY"
    table.breaks_connection(MUST, "on a stream", wire.goaway(stream=1), PROTOCOL_ERROR, section=goaways)
    table.breaks_connection(
        MUST, "of four bytes", frame(wire.GOAWAY, 0, 0, b"\0\0\0\0"), FRAME_SIZE_ERROR, section=goaways
    )

    @table.case(MUST, "streams in flight are served", section=goaways)
    def in_flight(connection, _origin):
        connection.send(OPEN + wire.goaway(debug=b"bye") + wire.data(1, b"x"))
        answered(connection)

    return table.cases


def continuation():
    table = Table("9113 6.10 CONTINUATION")
    good = wire.request()
    first = wire.headers(1, good[:10], END_STREAM)

    @table.case(MUST, "a block in two frames")
    def two(connection, _origin):
        connection.send(first + wire.continuation(1, good[10:]))
        answered(connection)

    @table.case(MUST, "a block in many frames, one byte each")
    def many(connection, _origin):
        connection.send(
            wire.headers(1, b"", END_STREAM), *(wire.continuation(1, good[n : n + 1], 0) for n in range(len(good)))
        )
        connection.send(wire.continuation(1, b""))
        connection.wait(lambda: connection.over(1))
        fine = connection.status(1) == 200 or connection.goaway in (wire.ENHANCE_YOUR_CALM, PROTOCOL_ERROR)
        require(fine, f"got {connection.story()}")

    table.breaks_connection(MUST, "without HEADERS before", wire.continuation(1, good), PROTOCOL_ERROR)
    table.breaks_connection(MUST, "on stream 0", first + wire.continuation(0, good[10:]), PROTOCOL_ERROR)
    table.breaks_connection(MUST, "on another stream", first + wire.continuation(3, good[10:]), PROTOCOL_ERROR)
    table.breaks_connection(
        MUST, "behind END_HEADERS", OPEN + wire.continuation(1, good), PROTOCOL_ERROR, STREAM_CLOSED
    )
    table.breaks_connection(
        MUST, "behind DATA", OPEN + wire.data(1, b"x", 0) + wire.continuation(1, good), PROTOCOL_ERROR
    )
    table.add(POLICY, "the connection lives on behind a refused stream", refused_but_alive)
    return table.cases


def refused_but_alive(connection, _origin):
    connection.send(wire.headers(1, wire.request((b"connection", b"close"))))
    stream_gone = connection.wait(lambda: connection.over(1))
    require(stream_gone and connection.goaway is None, f"got {connection.story()}")
    connection.request(3)
    answered(connection, 3)
