"""What the origin answers: RFC 9112 sections 4 to 8, RFC 9110 section 15."""

import time

from ..report import MUST, POLICY, SHOULD
from .client import Client, Pause
from .connection import BadGateway, get
from .expect import Accept, Either, Table, require
from .message import read_request

HEAD = b"HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n"


def ok(lines, body=b"", status=b"200 OK", version=b"HTTP/1.1"):
    return version + b" " + status + b"\r\n" + lines + b"Connection: close\r\n\r\n" + body


def cases():
    return framing() + bodiless() + interim() + fields() + desync()


def body_is(body):
    def received(result):
        found = result.finals[-1].body
        return [] if found == body else [f"the body is {found[:100]!r}"]

    return received


def lacks(*names):
    def received(result):
        found = [name for name in names if result.finals[-1].all(name)]
        return [f"the response has {found}"] if found else []

    return received


def framing():
    table = Table("9112 6.3 response bodies")
    chunked = ok(b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n")
    table.add(MUST, "sized", get(), Accept(received=body_is(b"hello")), answer=ok(b"Content-Length: 5\r\n", b"hello"))
    table.add(MUST, "chunked", get(), Accept(received=body_is(b"hello")), answer=chunked)
    table.add(
        MUST,
        "chunked with extensions and trailers",
        get(),
        Accept(received=body_is(b"hello")),
        answer=ok(b"Transfer-Encoding: chunked\r\n", b"5;a=b\r\nhello\r\n0;c\r\nX-T: v\r\n\r\n"),
    )
    table.add(MUST, "ended by the close", get(), Accept(received=body_is(b"hello")), answer=ok(b"", b"hello"))
    table.add(
        MUST,
        "HTTP/1.0 ended by the close",
        get(),
        Accept(received=body_is(b"hello")),
        answer=b"HTTP/1.0 200 OK\r\n\r\nhello",
    )
    table.add(MUST, "empty, ended by the close", get(), Accept(received=body_is(b"")), answer=ok(b""))
    table.add(
        MUST,
        "no chunks for an HTTP/1.0 client",
        get(version=b"HTTP/1.0"),
        Accept(received=plain_hello, closes=True),
        answer=chunked,
        section="9112 6.1 Transfer-Encoding",
    )
    table.add(
        MUST,
        "the proxy's version, not the origin's",
        get(),
        Accept(received=own_version),
        answer=b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        section="9112 2.3 version",
    )
    table.add(
        MUST,
        "status and reason",
        get(),
        Accept(status=418),
        answer=ok(b"Content-Length: 2\r\n", b"ok", b"418 I'm a teapot"),
    )
    table.add(MUST, "no reason phrase", get(), Accept(), answer=ok(b"Content-Length: 2\r\n", b"ok", b"200 "))
    table.add(
        MUST,
        "1 MiB",
        get(),
        Accept(received=body_is(b"x" * (1 << 20))),
        answer=ok(b"Content-Length: 1048576\r\n", b"x" * (1 << 20)),
    )
    table.custom(MUST, "a response in pieces", lambda subject: in_pieces(subject, chunked))
    early = Accept(status=413, forwarded=0)
    table.add(
        SHOULD,
        "an answer before the body is through",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000,
        early,
        answer=too_large,
        section="9112 9.5 early answer",
    )
    return table.cases


def plain_hello(result):
    return body_is(b"hello")(result) + lacks(b"transfer-encoding")(result)


def own_version(result):
    return [] if result.finals[-1].start.startswith(b"HTTP/1.1 ") else [f"status line {result.finals[-1].start!r}"]


def in_pieces(subject, response):
    def answer(connection, reader, request, _number):
        read_request(reader, request)
        for byte in response:
            connection.sendall(bytes([byte]))
            time.sleep(0.0005)
        return False

    subject.origin.reset(answer)
    result = Client(subject.port).exchange([get()], [b"GET"], None)
    require(result.statuses == [200] and result.finals[0].body == b"hello", f"got {result}")


def too_large(connection, _reader, request, _number):
    request.complete = False
    connection.sendall(ok(b"Content-Length: 2\r\n", b"no", b"413 Content Too Large"))
    time.sleep(0.2)
    return False


def bodiless():
    table = Table("9112 6.3 (1) no body")
    after = HEAD + get(target=b"/next")
    methods = [b"HEAD", b"GET"]

    table.add(
        MUST,
        "HEAD keeps Content-Length",
        HEAD,
        Accept(received=length_of(b"1000")),
        answer=ok(b"Content-Length: 1000\r\n"),
        methods=[b"HEAD"],
    )
    table.add(
        MUST,
        "HEAD with Transfer-Encoding",
        HEAD,
        Accept(),
        answer=ok(b"Transfer-Encoding: chunked\r\n"),
        methods=[b"HEAD"],
    )
    table.add(
        MUST,
        "a body after HEAD goes no further",
        after,
        Accept(answers=2, received=body_is(b"ok")),
        answer=ok(b"Content-Length: 2\r\n", b"ok"),
        methods=methods,
    )
    for status in (b"204 No Content", b"304 Not Modified"):
        code = int(status[:3])
        after_get = get() + get(target=b"/next")
        table.add(MUST, f"{code} without a body", get(), Accept(status=code), answer=ok(b"", b"", status))
        table.add(
            MUST,
            f"a body after {code} goes no further",
            after_get,
            Either(Accept(status=code, answers=2), Accept(status=502, answers=2)),
            answer=ok(b"Content-Length: 5\r\n", b"hello", status),
        )
        table.add(
            MUST,
            f"chunks after {code} go no further",
            after_get,
            Either(Accept(status=code, answers=2), Accept(status=502, answers=2)),
            answer=ok(b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\n", status),
        )
    table.add(
        MUST,
        "204 carries no Content-Length",
        get(),
        Either(Accept(status=204, received=lacks(b"content-length")), BadGateway()),
        answer=ok(b"Content-Length: 0\r\n", b"", b"204 No Content"),
        section="9110 8.6 Content-Length",
    )
    table.add(
        MUST,
        "204 carries no Transfer-Encoding",
        get(),
        Either(Accept(status=204, received=lacks(b"transfer-encoding")), BadGateway()),
        answer=ok(b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"204 No Content"),
        section="9112 6.1 Transfer-Encoding",
    )
    table.add(
        SHOULD,
        "304 keeps its fields",
        get(),
        Accept(status=304, received=has_etag),
        answer=ok(b'ETag: "x"\r\n', b"", b"304 Not Modified"),
    )
    return table.cases


def length_of(value):
    def received(result):
        found = result.finals[-1].all(b"content-length")
        return [] if found == [value] else [f"Content-Length is {found}"]

    return received


def has_etag(result):
    return [] if result.finals[-1].one(b"etag") == b'"x"' else ["ETag is gone"]


def interim():
    table = Table("9110 15.2 interim")
    final = ok(b"Content-Length: 2\r\n", b"ok")
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"
    table.add(MUST, "103 is passed on", get(), Accept(received=interims(103)), answer=hints + final)
    table.add(MUST, "two of them", get(), Accept(received=interims(103, 103)), answer=hints + hints + final)
    table.add(
        MUST,
        "102, which no longer means anything",
        get(),
        Accept(received=interims(102)),
        answer=b"HTTP/1.1 102 Processing\r\n\r\n" + final,
    )
    table.add(
        SHOULD,
        "100 that nobody asked for",
        get(),
        Either(Accept(received=interims(100)), Accept(received=interims())),
        answer=b"HTTP/1.1 100 Continue\r\n\r\n" + final,
    )
    table.add(
        MUST, "not to an HTTP/1.0 client", get(version=b"HTTP/1.0"), Accept(received=interims()), answer=hints + final
    )
    table.add(POLICY, "a thousand of them", get(), Either(Accept(), BadGateway()), answer=hints * 1000 + final)
    table.add(MUST, "only an interim response", get(), BadGateway(), answer=hints)
    return table.cases


def interims(*statuses):
    def received(result):
        found = [message.status for message in result.interim]
        return [] if found == list(statuses) else [f"interim responses {found}"]

    return received


def fields():
    table = Table("9110 5.3 response fields")
    cookies = ok(b"Set-Cookie: a=b\r\nSet-Cookie: c=d\r\nContent-Length: 2\r\n", b"ok")
    table.add(MUST, "Set-Cookie lines stay apart", get(), Accept(received=two_cookies), answer=cookies)
    table.add(
        MUST,
        "obs-text is passed on",
        get(),
        Accept(received=lambda r: [] if r.finals[-1].one(b"x-a") == b"\xe9" else ["X-A changed"]),
        answer=ok(b"X-A: \xe9\r\nContent-Length: 2\r\n", b"ok"),
    )
    table.add(
        MUST,
        "unknown fields are passed on",
        get(),
        Accept(received=lambda r: [] if r.finals[-1].one(b"x-a") == b"b" else ["X-A is gone"]),
        answer=ok(b"X-A: b\r\nContent-Length: 2\r\n", b"ok"),
    )
    return table.cases


def two_cookies(result):
    found = result.finals[-1].all(b"set-cookie")
    return [] if found == [b"a=b", b"c=d"] else [f"Set-Cookie is {found}"]


def desync():
    """Responses must not slip: what an origin sends too much belongs to nobody."""
    table = Table("9112 9.2 unsolicited data")
    ok_again = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    for name, pause in {"right behind a response": 0, "while the connection is idle": 0.05}.items():
        table.custom(
            MUST, f"a second response {name} is nobody's", lambda subject, p=pause: surplus(subject, ok_again, p)
        )
    table.custom(MUST, "surplus bytes behind a sized body", lambda subject: surplus(subject, b"surplus", 0))
    table.custom(
        MUST, "surplus bytes behind a chunked body", lambda subject: surplus(subject, b"surplus", 0, chunked=True)
    )
    table.custom(
        MUST,
        "a body behind 304 is not the next response",
        lambda subject: surplus(subject, ok_again, 0, status=b"304 Not Modified"),
    )
    table.custom(
        MUST,
        "a body behind the answer to HEAD is not the next response",
        lambda subject: surplus(subject, ok_again, 0, method=b"HEAD"),
    )
    return table.cases


def surplus(subject, more, pause, chunked=False, status=b"200 OK", method=b"GET"):
    """The first request's connection stays open and gives `more`; the second request must get its own answer."""

    def answer(connection, reader, request, number):
        read_request(reader, request)
        if number > 1:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
            return True
        no_body = method == b"HEAD" or status.startswith(b"304")
        sized = b"Content-Length: 2\r\n\r\n" + (b"" if no_body else b"ok")
        framed = b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" if chunked else sized
        first = b"HTTP/1.1 " + status + b"\r\n" + framed
        connection.sendall(first if pause else first + more)
        if pause:
            time.sleep(pause)
            connection.sendall(more)
        return True

    subject.origin.reset(answer)
    steps = [method + b" /1 HTTP/1.1\r\nHost: a.test\r\n\r\n", Pause(0.15), get(target=b"/2")]
    result = Client(subject.port).exchange(steps, [method, b"GET"], None)
    require(len(result.finals) == 2, f"got {result}")
    require(result.finals[1].body == b"good", f"the second response is {result.finals[1].body!r}")
