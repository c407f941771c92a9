"""The request line and what may stand before it: RFC 9112 sections 2 and 3."""

from ..report import MUST, POLICY, SHOULD
from .client import HalfClose
from .expect import Accept, Either, Reject, Table

HOST = b"\r\nHost: a.test\r\n\r\n"


def line(text):
    return text + HOST


def cases():
    return syntax() + versions() + methods() + limits()


def syntax():
    table = Table("9112 3 request line")
    table.add(
        MUST, "plain GET", line(b"GET /x?y=1 HTTP/1.1"), Accept(method=b"GET", target=b"/x?y=1", version=b"HTTP/1.1")
    )
    table.each(
        POLICY,
        Reject(400),
        {
            "two spaces after the method": line(b"GET  / HTTP/1.1"),
            "two spaces before the version": line(b"GET /  HTTP/1.1"),
            "tab instead of a space": line(b"GET\t/ HTTP/1.1"),
            "space after the version": line(b"GET / HTTP/1.1 "),
            "tab after the version": line(b"GET / HTTP/1.1\t"),
            "space before the method": line(b" GET / HTTP/1.1"),
            "vertical tab as a separator": line(b"GET\x0b/ HTTP/1.1"),
            "line that ends with a bare LF": b"GET / HTTP/1.1\nHost: a.test\r\n\r\n",
            "non-ASCII bytes in the target": line("GET /\u00e9 HTTP/1.1".encode()),
            "invalid UTF-8 in the target": line(b"GET /\xff HTTP/1.1"),
            "fragment in the target": line(b"GET /a#b HTTP/1.1"),
        },
    )
    table.each(
        SHOULD,
        Reject(400),
        {
            "space within the target": line(b"GET /a b HTTP/1.1"),
            "NUL in the target": line(b"GET /\0 HTTP/1.1"),
            "control character in the target": line(b"GET /\x01 HTTP/1.1"),
            "DEL in the target": line(b"GET /\x7f HTTP/1.1"),
            "invalid character in the method": line(b"GE(T / HTTP/1.1"),
            "NUL in the method": line(b"GE\0T / HTTP/1.1"),
            "colon in the method": line(b"GET: / HTTP/1.1"),
            "no target": line(b"GET HTTP/1.1"),
            "only a method": line(b"GET"),
        },
    )
    table.each(
        MUST,
        Reject(400),
        {
            "bare CR within the target": line(b"GET /\rx HTTP/1.1"),
            "bare CR after the version": line(b"GET / HTTP/1.1\rX: y"),
            "two CR before the LF": b"GET / HTTP/1.1\r\r\nHost: a.test\r\n\r\n",
        },
        section="9112 2.2 parsing",
    )
    before_the_line(table)
    return table.cases


def before_the_line(table):
    table.add(
        SHOULD,
        "an empty line before the request",
        b"\r\n" + line(b"GET / HTTP/1.1"),
        Accept(),
        section="9112 2.2 parsing",
    )
    table.add(
        POLICY,
        "two empty lines before the request",
        b"\r\n\r\n" + line(b"GET / HTTP/1.1"),
        Either(Accept(), Reject(400)),
        section="9112 2.2 parsing",
    )
    table.add(
        POLICY,
        "a bare LF before the request",
        b"\n" + line(b"GET / HTTP/1.1"),
        Either(Accept(), Reject(400)),
        section="9112 2.2 parsing",
    )
    table.each(
        MUST,
        Reject(400, silent=True),
        {
            "a line of blanks before the request": b"  \r\n" + line(b"GET / HTTP/1.1"),
            "binary garbage": b"\0\x01\x02\xfe\xff\r\n\r\n",
            "a TLS ClientHello": b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03" + b"\x11" * 40 + b"\r\n\r\n",
            "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        },
        section="9112 2.2 parsing",
    )


def versions():
    table = Table("9112 2.3 version")
    table.add(
        SHOULD,
        "HTTP/1.2 is taken as 1.1",
        line(b"GET / HTTP/1.2"),
        Either(Accept(version=b"HTTP/1.1"), Reject(400, 505)),
    )
    table.add(MUST, "the proxy sends its own version", line(b"GET / HTTP/1.0"), Accept(looks=sends_own_version))
    table.each(
        SHOULD,
        Reject(505, 400, 426),
        {
            "HTTP/2.0 in a request line": line(b"GET / HTTP/2.0"),
            "HTTP/3.0 in a request line": line(b"GET / HTTP/3.0"),
            "HTTP/0.9 written out": line(b"GET / HTTP/0.9"),
        },
        section="9110 15.6.6 505",
    )
    table.each(
        MUST,
        Reject(400, 505),
        {
            "lower-case name": line(b"GET / http/1.1"),
            "mixed-case name": line(b"GET / Http/1.1"),
            "two digits of minor version": line(b"GET / HTTP/1.10"),
            "two digits of major version": line(b"GET / HTTP/01.1"),
            "letters after the version": line(b"GET / HTTP/1.1x"),
            "no version number": line(b"GET / HTTP/"),
            "no minor version": line(b"GET / HTTP/1"),
            "comma for the dot": line(b"GET / HTTP/1,1"),
            "signs in the version": line(b"GET / HTTP/+1.1"),
            "another protocol's name": line(b"GET / ICAP/1.1"),
        },
    )
    table.add(POLICY, "HTTP/0.9 request", [b"GET /\r\n", HalfClose], Reject(400, 505, silent=True))
    table.add(POLICY, "HTTP/0.9 request with fields", b"GET /\r\nHost: a.test\r\n\r\n", Reject(400, 505, silent=True))
    return table.cases


def sends_own_version(request):
    return [] if request.version in (b"HTTP/1.1", b"HTTP/1.0") else [f"version {request.version!r}"]


def methods():
    table = Table("9110 9 methods")
    table.add(
        MUST,
        "methods are case-sensitive",
        line(b"get / HTTP/1.1"),
        Either(Accept(method=b"get"), Reject(400, 405, 501)),
    )
    table.add(
        SHOULD,
        "an unknown method is passed on",
        line(b"PURGEALL / HTTP/1.1"),
        Either(Accept(method=b"PURGEALL"), Reject(405, 501)),
    )
    table.add(
        SHOULD,
        "a method of every token character",
        line(b"!#$%&'*+-.^_`|~09AZaz / HTTP/1.1"),
        Either(Accept(), Reject(400, 405, 501)),
    )
    for method in (b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"PROPFIND"):
        request = method + b" /m HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi"
        table.add(SHOULD, f"{method.decode()} with a body", request, Accept(method=method, body=b"hi"))
    return table.cases


def limits():
    table = Table("9112 3 limits")
    table.add(
        SHOULD, "a request line of 8,000 bytes", line(b"GET /" + b"a" * 7980 + b" HTTP/1.1"), Accept(method=b"GET")
    )
    table.add(MUST, "a target of 100 KiB", line(b"GET /" + b"a" * 102_400 + b" HTTP/1.1"), Reject(414))
    table.add(SHOULD, "a method of 20 KiB", line(b"A" * 20_480 + b" / HTTP/1.1"), Reject(400, 414, 431, 501))
    table.add(SHOULD, "an endless first line", b"A" * 300_000, Reject(400, 414, 431, 501, silent=True))
    return table.cases
