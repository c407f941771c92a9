"""Responses that are broken: 502, or a client that can tell (RFC 9112 sections 5 to 8, RFC 9110 section 15.6.3)."""

from ..report import MUST, POLICY, SHOULD
from .connection import BadGateway, get
from .expect import Accept, Either, Incomplete, Table
from .responses import lacks, length_of, ok


def cases():
    return malformed() + truncated()


def malformed():
    table = Table("9110 15.6.3 502")
    bad = BadGateway()
    answers = {
        "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "binary garbage": b"\0\x01\x02\xff\xfe\r\n\r\n",
        "no answer": b"",
        "a status line alone": b"HTTP/1.1 200 OK\r\n",
        "a head cut short": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n",
        "two digits of status": ok(b"Content-Length: 2\r\n", b"ok", b"20 OK"),
        "four digits of status": ok(b"Content-Length: 2\r\n", b"ok", b"2000 OK"),
        "letters for a status": ok(b"Content-Length: 2\r\n", b"ok", b"abc OK"),
        "status 000": ok(b"Content-Length: 2\r\n", b"ok", b"000 OK"),
        "lower-case http": ok(b"Content-Length: 2\r\n", b"ok", version=b"http/1.1"),
        "HTTP/2.0": ok(b"Content-Length: 2\r\n", b"ok", version=b"HTTP/2.0"),
        "HTTP/0.9": b"<html>hello</html>",
        "no colon in a field": ok(b"X-A\r\nContent-Length: 2\r\n", b"ok"),
        "an empty field name": ok(b": x\r\nContent-Length: 2\r\n", b"ok"),
        "an invalid field name": ok(b"X(A): b\r\nContent-Length: 2\r\n", b"ok"),
        "space before the first field": ok(b" X-A: b\r\nContent-Length: 2\r\n", b"ok"),
        "1 MiB of fields": ok(b"X-A: " + b"b" * (1 << 20) + b"\r\nContent-Length: 2\r\n", b"ok"),
    }
    for name, answer in answers.items():
        table.add(MUST, name, get(), bad, answer=answer)
    lengths(table)
    tolerated(table)
    return table.cases


def lengths(table):
    bad = BadGateway()
    values = {
        "letters": b"abc",
        "minus sign": b"-1",
        "plus sign": b"+2",
        "nothing": b"",
        "2^64 + 2": b"18446744073709551618",
        "a list that differs": b"2, 3",
        "hexadecimal": b"0x2",
        "fraction": b"2.0",
    }
    for name, value in values.items():
        table.add(
            MUST,
            f"invalid Content-Length: {name}",
            get(),
            bad,
            answer=ok(b"Content-Length: " + value + b"\r\n", b"ok"),
            section="9112 6.3 (5) invalid length",
        )
    table.add(
        MUST,
        "two Content-Length that differ",
        get(),
        bad,
        answer=ok(b"Content-Length: 2\r\nContent-Length: 3\r\n", b"ok"),
        section="9112 6.3 (5) invalid length",
    )
    same = Either(Accept(received=length_of(b"2")), bad)
    table.add(
        MUST,
        "two Content-Length, equal",
        get(),
        same,
        answer=ok(b"Content-Length: 2\r\nContent-Length: 2\r\n", b"ok"),
        section="9112 6.3 (5) invalid length",
    )
    table.add(
        MUST,
        "a list of equal Content-Length",
        get(),
        same,
        answer=ok(b"Content-Length: 2, 2\r\n", b"ok"),
        section="9112 6.3 (5) invalid length",
    )
    both = Either(Accept(received=lacks(b"content-length")), bad)
    table.add(
        MUST,
        "Content-Length and Transfer-Encoding",
        get(),
        both,
        answer=ok(b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", b"2\r\nok\r\n0\r\n\r\n"),
        section="9112 6.3 (3) both lengths",
    )
    old = b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    table.add(
        SHOULD,
        "Transfer-Encoding in HTTP/1.0",
        get(),
        Either(Accept(), bad),
        answer=old,
        section="9112 6.1 Transfer-Encoding",
    )
    for name, value in {
        "a response of an unknown coding": b"cow",
        "a response with chunked not last": b"chunked, gzip",
        "a response chunked twice": b"chunked, chunked",
    }.items():
        answer = ok(b"Transfer-Encoding: " + value + b"\r\n", b"2\r\nok\r\n0\r\n\r\n")
        table.add(POLICY, name, get(), bad, answer=answer, section="9112 6.1 Transfer-Encoding")


def tolerated(table):
    bad = BadGateway()
    clean = Either(
        bad, Accept(received=lambda result: [] if result.finals[-1].one(b"x-a") is not None else ["X-A is gone"])
    )
    folded = ok(b"X-A: b\r\n c\r\nContent-Length: 2\r\n", b"ok")
    table.add(
        MUST,
        "space before a colon is removed or refused",
        get(),
        clean,
        answer=ok(b"X-A : b\r\nContent-Length: 2\r\n", b"ok"),
        section="9112 5.1 field names",
    )
    table.add(MUST, "a folded line is unfolded or refused", get(), clean, answer=folded, section="9112 5.2 obs-fold")
    for name, byte in {"NUL": b"\0", "bare CR": b"\r"}.items():
        table.add(
            MUST,
            f"{name} in a value is replaced or refused",
            get(),
            clean,
            answer=ok(b"X-A: b" + byte + b"c\r\nContent-Length: 2\r\n", b"ok"),
            section="9110 5.5 field values",
        )
    table.add(
        POLICY,
        "a status line without the space",
        get(),
        Either(Accept(), bad),
        answer=ok(b"Content-Length: 2\r\n", b"ok", b"200"),
    )
    table.add(
        POLICY,
        "bare LF throughout",
        get(),
        Either(Accept(), bad),
        answer=b"HTTP/1.1 200 OK\nContent-Length: 2\nConnection: close\n\nok",
    )
    table.add(
        POLICY,
        "a status over 599",
        get(),
        Either(Accept(status=999), bad),
        answer=ok(b"Content-Length: 2\r\n", b"ok", b"999 Odd"),
    )


def truncated():
    table = Table("9112 8 incomplete")
    table.add(MUST, "a sized body cut short", get(), Incomplete(), answer=ok(b"Content-Length: 10\r\n", b"hello"))
    table.add(
        MUST, "a chunk cut short", get(), Incomplete(), answer=ok(b"Transfer-Encoding: chunked\r\n", b"a\r\nhello")
    )
    table.add(
        MUST, "no last chunk", get(), Incomplete(), answer=ok(b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n")
    )
    table.add(
        MUST,
        "no end of the trailers",
        get(),
        Incomplete(),
        answer=ok(b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n"),
    )
    invalid = {
        "an invalid chunk size": b"5\r\nhello\r\nx\r\n",
        "a chunk without its CRLF": b"5\r\nhello0\r\n\r\n",
        "a chunk size over 64 bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
        "a negative chunk size": b"-5\r\nhello\r\n0\r\n\r\n",
    }
    for name, body in invalid.items():
        table.add(
            MUST,
            name,
            get(),
            Incomplete(),
            answer=ok(b"Transfer-Encoding: chunked\r\n", body),
            section="9112 7.1 response chunks",
        )
    return table.cases
