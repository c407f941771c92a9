"""Requests: RFC 9113 section 8, and what a gateway to HTTP/1.1 must not let through (section 10.3)."""

from ..http1.message import read_request
from ..report import MUST, POLICY, SHOULD
from . import wire
from .expect import Table, answered, malformed, require, untouched
from .wire import END_HEADERS

POST = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"a.test"), (b":path", b"/")]


def fields(*pairs):
    return wire.headers(1, wire.block(pairs))


def get(*more, **pseudo):
    return wire.headers(1, wire.request(*more, **pseudo))


def opened(*more):
    return wire.headers(1, wire.request(*more, method=b"POST"), END_HEADERS)


def cases():
    return (
        good()
        + pseudo()
        + names_and_values()
        + connection_specific()
        + authority()
        + lengths()
        + trailers()
        + connect()
        + injection()
    )


def good():
    table = Table("9113 8.1 requests")

    def forwarded(name, sent, level=MUST, section=None, **expected):
        def run(connection, origin):
            connection.send(sent)
            answered(connection)
            seen = origin.complete()
            require(len(seen) == 1, f"the origin got {[r.start for r in seen]!r}")
            for key, value in expected.items():
                found = (
                    seen[0].one(key.replace("_", "-").encode())
                    if key not in ("method", "target", "body")
                    else getattr(seen[0], key)
                )
                require(found == value, f"the origin's {key} is {found!r}")

        table.add(level, name, run, section=section)

    forwarded("GET", get(path=b"/x?y=1"), method=b"GET", target=b"/x?y=1", host=b"a.test")
    forwarded("POST with a body", opened() + wire.data(1, b"hello"), method=b"POST", body=b"hello")
    forwarded("POST with a length", opened((b"content-length", b"5")) + wire.data(1, b"hello"), body=b"hello")
    forwarded("POST with an empty body", opened() + wire.data(1), body=b"")
    forwarded("a field", get((b"x-a", b"b")), x_a=b"b")
    forwarded("an empty value", get((b"x-a", b"")), x_a=b"")
    forwarded("te: trailers", get((b"te", b"trailers")), section="9113 8.2.2 te")
    forwarded(
        "cookie crumbs become one line",
        get((b"cookie", b"a=b"), (b"cookie", b"c=d"), (b"cookie", b"e=f")),
        cookie=b"a=b; c=d; e=f",
        section="9113 8.2.3 cookie",
    )
    forwarded(
        "host without :authority", get((b"host", b"b.test"), authority=None), host=b"b.test", section="9113 8.3.1 host"
    )
    forwarded("host equal to :authority", get((b"host", b"a.test")), host=b"a.test", section="9113 8.3.1 host")
    forwarded("obs-text in a value", get((b"x-a", b"\xe9")), level=SHOULD, x_a=b"\xe9")
    forwarded("OPTIONS *", get(method=b"OPTIONS", path=b"*"), target=b"*", section="9113 8.3.1 :path")
    forwarded("an unknown method", get(method=b"PURGEALL"), level=SHOULD, method=b"PURGEALL")

    @table.case(MUST, "HEAD", answer=b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n")
    def head(connection, _origin):
        connection.request(1, method=b"HEAD")
        answered(connection, body=b"")

    @table.case(MUST, "trailers of a request", section="9113 8.1 trailers")
    def with_trailers(connection, origin):
        connection.send(opened(), wire.data(1, b"hello", 0), wire.headers(1, wire.block([(b"x-t", b"v")])))
        answered(connection)
        require(origin.complete()[0].body == b"hello", "the body is gone")

    @table.case(MUST, "100-continue", section="9110 10.1.1 Expect")
    def expects(connection, _origin):
        connection.send(opened((b"expect", b"100-continue"), (b"content-length", b"5")))
        connection.wait(lambda: 100 in connection.statuses.get(1, []))
        require(100 in connection.statuses.get(1, []), f"no 100: {connection.story()}")
        connection.send(wire.data(1, b"hello"))
        answered(connection)

    return table.cases


def pseudo():
    table = Table("9113 8.3.1 pseudo-header fields")
    requests = {
        "no :method": get(method=None),
        "no :scheme": get(scheme=None),
        "no :path": get(path=None),
        "none at all": fields((b"x-a", b"b")),
        "an empty :path": get(path=b""),
        "an empty :method": get(method=b""),
        "an empty :scheme": get(scheme=b""),
        ":path without a slash": get(path=b"x"),
        "* with GET": get(path=b"*"),
        ":method twice": fields((b":method", b"GET"), *POST),
        ":scheme twice": fields((b":scheme", b"http"), *POST),
        ":path twice": fields((b":path", b"/"), *POST),
        ":authority twice": fields((b":authority", b"a.test"), *POST),
    }
    for name, sent in requests.items():
        table.malformed(MUST, name, sent)
    section = "9113 8.3 pseudo-header fields"
    table.malformed(MUST, "an unknown one", fields(*POST, (b":x", b"y")), section=section)
    table.malformed(MUST, "a response's", fields(*POST, (b":status", b"200")), section=section)
    table.malformed(MUST, "behind a regular field", fields(*POST[:3], (b"x-a", b"b"), POST[3]), section=section)
    table.malformed(MUST, "in capitals", fields((b":METHOD", b"GET"), *POST[1:]), section=section)
    table.malformed(
        MUST, ":protocol that was not allowed", fields(*POST, (b":protocol", b"websocket")), section="8441 4 :protocol"
    )
    return table.cases


def names_and_values():
    table = Table("9113 8.2.1 names")
    names = {
        "a capital letter": b"X-a", "an empty name": b"", "a space": b"x a", "a colon": b"x:a", "NUL": b"x\0a", "CR": b"x\ra", "LF": b"x\na",
        "DEL": b"x\x7fa", "non-ASCII": "x-\u00e9".encode(), "a tab": b"x\ta",
    }  # fmt: skip
    for name, field in names.items():
        table.malformed(MUST, f"{name} in a name", get((field, b"b")))
    for name, field in {"a parenthesis": b"x(a)", "a quote": b'x"a', "a slash": b"x/a"}.items():
        table.malformed(POLICY, f"{name} in a name", get((field, b"b")))
    section = "9113 8.2.1 values"
    values = {
        "NUL": b"a\0b", "CR": b"a\rb", "LF": b"a\nb", "CR LF": b"a\r\nx-evil: b", "a leading space": b" a", "a trailing space": b"a ",
        "a leading tab": b"\ta", "a trailing tab": b"a\t",
    }  # fmt: skip
    for name, value in values.items():
        table.malformed(MUST, f"{name} in a value", get((b"x-a", value)), section=section)
    table.malformed(POLICY, "a control character in a value", get((b"x-a", b"a\x01b")), section=section)
    return table.cases


def connection_specific():
    table = Table("9113 8.2.2 connection-specific fields")
    for name, value in {
        b"connection": b"keep-alive", b"keep-alive": b"timeout=5", b"proxy-connection": b"keep-alive", b"transfer-encoding": b"chunked",
        b"upgrade": b"websocket", b"te": b"gzip",
    }.items():  # fmt: skip
        table.malformed(MUST, f"{name.decode()}: {value.decode()}", get((name, value)))
    table.malformed(MUST, "te: trailers, gzip", get((b"te", b"trailers, gzip")))
    table.malformed(
        MUST,
        "transfer-encoding with a body",
        opened((b"transfer-encoding", b"chunked"))
        + wire.data(1, b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"),
    )
    return table.cases


def authority():
    table = Table("9113 8.3.1 :authority")
    values = {
        "userinfo": b"user@a.test", "a space": b"a b", "a path": b"a.test/x", "CR LF": b"a.test\r\nx-evil: b", "NUL": b"a\0b",
        "a bad port": b"a.test:x", "an unclosed IPv6 literal": b"[::1", "a list": b"a.test, b.test", "a backslash": b"a\\b", "non-ASCII": b"\xe9",
    }  # fmt: skip
    for name, value in values.items():
        table.malformed(MUST, name, get(authority=value))
    table.malformed(SHOULD, "host that differs", get((b"host", b"other.test")))
    table.malformed(
        MUST,
        "two host fields",
        get((b"host", b"a.test"), (b"host", b"b.test"), authority=None),
        section="9112 3.2 Host",
    )
    table.malformed(POLICY, "neither :authority nor host", get(authority=None))
    table.malformed(POLICY, "an empty :authority", get(authority=b""))
    return table.cases


def lengths():
    table = Table("9113 8.1.1 content-length")
    five = (b"content-length", b"5")
    refused = {
        "less data": opened(five) + wire.data(1, b"hell"),
        "more data": opened(five) + wire.data(1, b"hello!"),
        "more data in a second frame": opened(five) + wire.data(1, b"hello", 0) + wire.data(1, b"!"),
        "no data": get(five, method=b"POST"),
        "less data, then trailers": opened(five)
        + wire.data(1, b"hell", 0)
        + wire.headers(1, wire.block([(b"x-t", b"v")])),
        "two that differ": opened(five, (b"content-length", b"6")) + wire.data(1, b"hello"),
        "no number": opened((b"content-length", b"x")) + wire.data(1, b"hello"),
        "a plus sign": opened((b"content-length", b"+5")) + wire.data(1, b"hello"),
        "a list that differs": opened((b"content-length", b"5, 6")) + wire.data(1, b"hello"),
        "a minus sign": opened((b"content-length", b"-1")) + wire.data(1, b""),
        "over 64 bits": opened((b"content-length", b"18446744073709551621")) + wire.data(1, b"hello"),
    }
    for name, sent in refused.items():
        table.malformed(MUST, name, sent)
    return table.cases


def trailers():
    table = Table("9113 8.1 trailers")
    body = opened() + wire.data(1, b"hello", 0)
    table.malformed(
        MUST,
        "a second HEADERS without END_STREAM",
        body + wire.headers(1, wire.block([(b"x-t", b"v")]), END_HEADERS) + wire.data(1, b"x"),
    )
    table.malformed(MUST, "a pseudo-header field", body + wire.headers(1, wire.block([(b":path", b"/x")])))
    table.malformed(MUST, "a whole request", body + wire.headers(1, wire.request()))
    table.malformed(MUST, "a capital letter", body + wire.headers(1, wire.block([(b"X-t", b"v")])))
    table.malformed(MUST, "CR LF in a value", body + wire.headers(1, wire.block([(b"x-t", b"a\r\nx-evil: b")])))
    table.malformed(
        MUST, "connection-specific", body + wire.headers(1, wire.block([(b"transfer-encoding", b"chunked")]))
    )

    def no_effect(connection, origin):
        connection.send(body, wire.headers(1, wire.block([(b"content-length", b"99"), (b"host", b"evil.test")])))
        connection.wait(lambda: connection.over(1))
        seen = origin.complete()
        if connection.status(1) == 200:
            framing = [key for key, _ in seen[0].trailers if key.lower() in (b"content-length", b"host")]
            require(not framing, f"passed on as trailers: {framing}")
        else:
            malformed(connection)

    table.add(MUST, "framing fields have no effect", no_effect, section="9110 6.5.1 trailers")
    return table.cases


def connect():
    table = Table("9113 8.5 CONNECT")
    table.malformed(MUST, "with :path and :scheme", get(method=b"CONNECT"))
    table.malformed(MUST, "without :authority", fields((b":method", b"CONNECT")))
    table.malformed(SHOULD, "is no gateway's business", fields((b":method", b"CONNECT"), (b":authority", b"a.test:80")))
    return table.cases


def injection():
    """What would be another request, or another field, once written as HTTP/1.1."""
    table = Table("9113 10.3 intermediaries")
    requests = {
        "a space in :path": get(path=b"/ HTTP/1.1"),
        "CR LF in :path": get(path=b"/ HTTP/1.1\r\nHost: evil\r\n\r\nGET /smuggled"),
        "LF in :path": get(path=b"/\nx"),
        "NUL in :path": get(path=b"/\0"),
        "a tab in :path": get(path=b"/\tx"),
        "DEL in :path": get(path=b"/\x7f"),
        "a space in :method": get(method=b"GET / HTTP/1.1"),
        "CR LF in :method": get(method=b"GET /smuggled HTTP/1.1\r\nX: y\r\n\r\nGET"),
        "CR LF in :scheme": get(scheme=b"http\r\nx: y"),
        "a colon in a name": get((b"transfer-encoding: chunked\r\nx", b"y")),
        "CR LF in cookie": get((b"cookie", b"a=b\r\nx-evil: c")),
        "CR LF in host": get((b"host", b"a.test\r\nx-evil: b"), authority=None),
    }
    for name, sent in requests.items():
        table.malformed(MUST, name, sent)
    for name, path in {"a fragment": b"/a#b", "non-ASCII": b"/\xe9"}.items():
        table.malformed(POLICY, f"{name} in :path", get(path=path))

    @table.case(MUST, "a body that looks like a request stays a body")
    def stays(connection, origin):
        smuggled = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"
        connection.send(opened() + wire.data(1, smuggled))
        answered(connection)
        seen = origin.complete()
        require(len(seen) == 1 and seen[0].body == smuggled, f"the origin got {[r.start for r in seen]!r}")

    @table.case(MUST, "the request is whole before the origin may see its end", answer=None)
    def not_before(connection, origin):
        origin.reset(lambda c, reader, request, _n: read_request(reader, request))
        connection.send(opened((b"content-length", b"5")) + wire.data(1, b"hel", 0) + wire.rst_stream(1))
        connection.wait(lambda: connection.closed, 0.2)
        untouched(origin)

    return table.cases
