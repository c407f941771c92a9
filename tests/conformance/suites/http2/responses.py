"""What an HTTP/1.1 origin answers, as an HTTP/2 client sees it."""

import time

from ..http1.message import read_request
from ..report import MUST, SHOULD
from . import wire
from .expect import Table, answered, require, stream_error
from .wire import END_HEADERS


def ok(lines, body=b"", status=b"200 OK"):
    return b"HTTP/1.1 " + status + b"\r\n" + lines + b"Connection: close\r\n\r\n" + body


def cases():
    return good() + bad()


def good():
    table = Table("9113 8.1 responses")

    def arrives(name, answer, status=200, body=b"hello", level=MUST, section=None, interim=()):
        def run(connection, _origin):
            connection.request(1)
            answered(connection, status=status, body=body)
            found = [code for code in connection.statuses[1] if code < 200]
            require(found == list(interim), f"interim responses {found}")

        table.add(level, name, run, answer=answer, section=section)

    arrives("sized", ok(b"Content-Length: 5\r\n", b"hello"))
    arrives("chunked", ok(b"Transfer-Encoding: chunked\r\n", b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"))
    arrives("ended by the close", ok(b"", b"hello"))
    arrives("empty", ok(b"Content-Length: 0\r\n"), body=b"")
    arrives("204", ok(b"", b"", b"204 No Content"), status=204, body=b"")
    arrives("304", ok(b"", b"", b"304 Not Modified"), status=304, body=b"")
    arrives("404", ok(b"Content-Length: 5\r\n", b"hello", b"404 Not Found"), status=404)
    arrives(
        "connection-specific fields do no harm",
        ok(b"Keep-Alive: timeout=5\r\nProxy-Connection: x\r\nUpgrade: h2c\r\nContent-Length: 5\r\n", b"hello"),
        section="9113 8.2.2 connection-specific",
    )
    arrives("a name in capitals is made lower-case", ok(b"X-UPPER: a\r\nContent-Length: 5\r\n", b"hello"))
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    arrives(
        "103 comes first", hints + ok(b"Content-Length: 5\r\n", b"hello"), interim=(103,), section="9110 15.2 interim"
    )

    @table.case(
        MUST,
        "trailers",
        answer=ok(b"Transfer-Encoding: chunked\r\nTrailer: X-T\r\n", b"5\r\nhello\r\n0\r\nX-T: v\r\n\r\n"),
    )
    def with_trailers(connection, _origin):
        connection.request(1)
        answered(connection, body=b"hello")
        require(len(connection.blocks[1]) == 2, f"{len(connection.blocks[1])} header blocks")

    @table.case(
        MUST,
        "no connection-specific field is passed on",
        answer=ok(b"Keep-Alive: timeout=5\r\nContent-Length: 5\r\n", b"hello"),
        section="9113 8.2.2 connection-specific",
    )
    def none_left(connection, _origin):
        connection.request(1)
        answered(connection)
        text = b"".join(connection.blocks[1])
        require(b"keep-alive" not in text and b"connection" not in text, "a connection-specific field was passed on")

    @table.case(SHOULD, "an answer before the body is through", answer=early)
    def before_the_end(connection, _origin):
        connection.send(wire.headers(1, wire.request(method=b"POST"), END_HEADERS) + wire.data(1, b"x", 0))
        connection.wait(lambda: connection.over(1))
        require(connection.status(1) == 413, f"got {connection.story()}")

    return table.cases


def early(connection, _reader, _request, _number):
    connection.sendall(ok(b"Content-Length: 2\r\n", b"no", b"413 Content Too Large"))
    time.sleep(0.3)
    return False


def bad():
    table = Table("9110 15.6.3 502 over HTTP/2")
    answers = {
        "no HTTP": b"SSH-2.0-x\r\n\r\n",
        "no answer": b"",
        "an invalid status": ok(b"Content-Length: 2\r\n", b"ok", b"abc"),
        "an invalid length": ok(b"Content-Length: x\r\n", b"ok"),
        "two lengths": ok(b"Content-Length: 2\r\nContent-Length: 3\r\n", b"ok"),
        "101 that nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "an invalid field name": ok(b"X(A): b\r\nContent-Length: 2\r\n", b"ok"),
    }
    for name, answer in answers.items():
        table.add(MUST, name, bad_gateway, answer=answer)
    section = "9113 8.1 incomplete responses"
    cut = {
        "a sized body cut short": ok(b"Content-Length: 10\r\n", b"hello"),
        "a chunked body cut short": ok(b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n"),
        "an invalid chunk": ok(b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\nx\r\n"),
    }
    for name, answer in cut.items():
        table.add(MUST, f"{name} ends in RST_STREAM", incomplete, answer=answer, section=section)
    table.add(MUST, "the connection outlives a broken response", outlives, answer=first_breaks, section=section)
    return table.cases


def bad_gateway(connection, _origin):
    connection.request(1)
    answered(connection, status=502)


def incomplete(connection, _origin):
    connection.request(1)
    connection.wait(lambda: connection.over(1))
    if connection.status(1) == 502:
        return
    require(1 not in connection.ended, f"the response looks whole: {connection.story()}")
    codes = (wire.INTERNAL_ERROR, wire.PROTOCOL_ERROR, wire.CANCEL, wire.STREAM_CLOSED, wire.NO_ERROR)
    stream_error(connection, 1, *codes)


def first_breaks(connection, reader, request, number):
    read_request(reader, request)
    connection.sendall(ok(b"Content-Length: 10\r\n", b"hello") if number == 1 else ok(b"Content-Length: 2\r\n", b"ok"))
    return False


def outlives(connection, _origin):
    connection.request(1)
    connection.wait(lambda: connection.over(1))
    connection.request(3)
    answered(connection, 3, body=b"ok")
