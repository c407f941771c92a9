"""Streams: identifiers, states, concurrency (RFC 9113 section 5)."""

import time

from ..http1.message import read_request
from ..report import MUST, POLICY, SHOULD
from . import wire
from .expect import Table, alive, answered, connection_error, require, stream_error
from .wire import END_HEADERS, PROTOCOL_ERROR, REFUSED_STREAM, STREAM_CLOSED

GET = wire.headers(1, wire.request())
OPEN = wire.headers(1, wire.request(method=b"POST"), END_HEADERS)


def cases():
    return identifiers() + states() + concurrency() + errors()


def identifiers():
    table = Table("9113 5.1.1 identifiers")
    table.breaks_connection(MUST, "an even one", wire.headers(2, wire.request()), PROTOCOL_ERROR)

    @table.case(MUST, "one lower than before")
    def lower(connection, _origin):
        connection.request(5)
        answered(connection, 5)
        connection.request(3)
        connection_error(connection, PROTOCOL_ERROR, STREAM_CLOSED)

    @table.case(MUST, "gaps are allowed")
    def gaps(connection, _origin):
        for stream in (1, 99, 1001):
            connection.request(stream)
            answered(connection, stream)

    @table.case(MUST, "the largest one")
    def largest(connection, _origin):
        connection.request(wire.LARGEST_WINDOW)
        answered(connection, wire.LARGEST_WINDOW)

    return table.cases


def slow(connection, reader, request, _number):
    """Time for frames to arrive on a stream that is half closed."""
    read_request(reader, request)
    time.sleep(0.5)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    return False


def states():
    table = Table("9113 5.1 half-closed (remote)")
    half_closed = {
        "DATA": (wire.data(1, b"x"), (STREAM_CLOSED,)),
        "HEADERS": (wire.headers(1, wire.request()), (STREAM_CLOSED,)),
        "CONTINUATION": (wire.continuation(1, wire.request()), (STREAM_CLOSED, PROTOCOL_ERROR)),
    }
    for name, (sent, codes) in half_closed.items():
        run = lambda connection, _origin, s=sent, c=codes: (connection.send(GET, s), stream_error(connection, 1, *c))  # noqa: E731
        table.add(MUST, f"{name} is an error", run, answer=slow)
    for name, sent in {
        "WINDOW_UPDATE": wire.window_update(1, 5),
        "PRIORITY": wire.priority(1),
        "an unknown frame": wire.frame(0xBE, 0, 1),
    }.items():
        run = lambda connection, _origin, s=sent: (connection.send(GET, s), answered(connection))  # noqa: E731
        table.add(MUST, f"{name} is allowed", run, answer=slow)

    @table.case(MUST, "RST_STREAM cancels", answer=slow)
    def cancelled(connection, _origin):
        connection.send(GET, wire.rst_stream(1))
        connection.request(3)
        answered(connection, 3)
        require(1 not in connection.ended, "a cancelled stream was answered")

    closed(table)
    return table.cases


def closed(table):
    section = "9113 5.1 closed"
    after_reset = {"DATA": wire.data(1, b"x"), "HEADERS": wire.headers(1, wire.request())}
    for name, sent in after_reset.items():
        run = lambda connection, _origin, s=sent: harmless_or_closed(connection, OPEN + wire.rst_stream(1) + s)  # noqa: E731
        table.add(MUST, f"{name} behind RST_STREAM", run, section=section)
    after_end = {
        "DATA": (wire.data(1, b"x"), (STREAM_CLOSED, PROTOCOL_ERROR)),
        "HEADERS": (wire.headers(1, wire.request()), (STREAM_CLOSED, PROTOCOL_ERROR)),
        "CONTINUATION": (wire.continuation(1, wire.request()), (STREAM_CLOSED, PROTOCOL_ERROR)),
    }
    for name, (sent, codes) in after_end.items():
        run = lambda connection, _origin, s=sent, c=codes: behind_the_end(connection, s, c)  # noqa: E731
        table.add(MUST, f"{name} behind both ends", run, section=section)
    for name, sent in {
        "WINDOW_UPDATE": wire.window_update(1, 5),
        "PRIORITY": wire.priority(1),
        "RST_STREAM": wire.rst_stream(1),
    }.items():
        run = lambda connection, _origin, s=sent: tolerated_behind_the_end(connection, s)  # noqa: E731
        table.add(MUST, f"{name} behind both ends is tolerated", run, section=section)


def harmless_or_closed(connection, sent):
    """STREAM_CLOSED, as a stream's or the connection's error; a server may also drop what it had no time to expect."""
    connection.send(sent, wire.ping(b"checking"))
    connection.wait(lambda: b"checking" in connection.pongs or connection.closed)
    codes = {connection.goaway, connection.resets.get(1)} - {None}
    require(codes <= {STREAM_CLOSED, PROTOCOL_ERROR, wire.CANCEL}, f"got {connection.story()}")
    require(connection.status(1) is None, f"a cancelled stream was answered: {connection.story()}")


def behind_the_end(connection, sent, codes):
    connection.send(GET)
    answered(connection)
    connection.send(sent)
    stream_error(connection, 1, *codes)


def tolerated_behind_the_end(connection, sent):
    connection.send(GET)
    answered(connection)
    connection.send(sent)
    alive(connection)


def concurrency():
    table = Table("9113 5.1.2 concurrency")

    @table.case(MUST, "a hundred streams at once", answer=slow)
    def hundred(connection, _origin):
        connection.send(*(wire.headers(stream, wire.request()) for stream in range(1, 200, 2)))
        connection.wait(lambda: len(connection.ended) == 100, 10)
        good = [stream for stream in connection.ended if connection.status(stream) == 200]
        limit = connection.settings.get(wire.MAX_CONCURRENT_STREAMS, 100)
        require(len(good) >= min(limit, 100), f"{len(good)} of 100 answered: {connection.story()[:300]}")

    @table.case(SHOULD, "a limit is announced, and at least 100", section="9113 6.5.2 values")
    def announced(connection, _origin):
        limit = connection.settings.get(wire.MAX_CONCURRENT_STREAMS)
        require(limit is not None and limit >= 100, f"MAX_CONCURRENT_STREAMS is {limit}")

    @table.case(MUST, "more streams than the limit", answer=slow)
    def beyond(connection, _origin):
        limit = connection.settings.get(wire.MAX_CONCURRENT_STREAMS, 1000)
        streams = range(1, 2 * (min(limit, 5000) + 20), 2)
        connection.send(*(wire.headers(stream, wire.request(method=b"POST"), END_HEADERS) for stream in streams))
        connection.wait(lambda: connection.resets or connection.closed)
        codes = set(connection.resets.values()) | {connection.goaway} - {None}
        right = codes and codes <= {REFUSED_STREAM, PROTOCOL_ERROR, wire.ENHANCE_YOUR_CALM}
        require(right or limit > 5000, f"got {connection.story()[:300]}")

    @table.case(POLICY, "answers come as they are ready, not in order")
    def interleaved(connection, origin):
        origin.answer = by_path
        connection.request(1, path=b"/slow")
        connection.request(3, path=b"/fast")
        answered(connection, 3)
        require(1 not in connection.ended, "the slow one came first")
        answered(connection, 1)

    return table.cases


def by_path(connection, reader, request, number):
    if request.target == b"/slow":
        return slow(connection, reader, request, number)
    read_request(reader, request)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    return False


def errors():
    table = Table("9113 5.4 errors")

    @table.case(SHOULD, "GOAWAY comes before the close")
    def goaway_first(connection, _origin):
        connection.send(wire.data(0, b"x"))
        connection_error(connection, PROTOCOL_ERROR)
        require(connection.goaway == PROTOCOL_ERROR, f"got {connection.story()}")

    @table.case(MUST, "a stream's error leaves the others alone", answer=slow)
    def others_live(connection, _origin):
        connection.request(1)
        connection.send(wire.headers(3, wire.request(method=b"POST"), END_HEADERS) + wire.window_update(3, 0))
        connection.wait(lambda: connection.over(3))
        if connection.goaway is None:
            answered(connection, 1)

    return table.cases
