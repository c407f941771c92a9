"""The chunked coding of requests: RFC 9112 section 7.1."""

from ..report import MUST, POLICY, SHOULD
from .client import HalfClose, Pause
from .expect import Accept, Either, Reject, Table

HEAD = b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
HELLO = Accept(body=b"hello")
LENIENT = Either(Accept(body=b"hello"), Reject(400))
END = b"\r\nhello\r\n0\r\n\r\n"


def sized(size):
    return HEAD + size + END


def cases():
    return sizes() + extensions() + data() + trailers()


def sizes():
    table = Table("9112 7.1 chunk sizes")
    table.add(MUST, "lower-case digit", HEAD + b"a\r\n0123456789\r\n0\r\n\r\n", Accept(body=b"0123456789"))
    table.add(MUST, "upper-case digit", HEAD + b"A\r\n0123456789\r\n0\r\n\r\n", Accept(body=b"0123456789"))
    table.add(MUST, "two digits", HEAD + b"10\r\n" + b"x" * 16 + b"\r\n0\r\n\r\n", Accept(body=b"x" * 16))
    table.add(MUST, "leading zeros", sized(b"0005"), HELLO)
    table.add(MUST, "several zeros as the last chunk", HEAD + b"5\r\nhello\r\n000\r\n\r\n", HELLO)
    table.add(MUST, "an empty body", HEAD + b"0\r\n\r\n", Accept(body=b""))
    table.add(POLICY, "a hundred leading zeros", sized(b"0" * 100 + b"5"), LENIENT)
    invalid = {
        "0x": b"0x5",
        "plus sign": b"+5",
        "minus sign": b"-5",
        "nothing": b"",
        "no digit": b"g",
        "letters after": b"5h",
        "space before": b" 5",
        "tab before": b"\t5",
        "two numbers": b"5 5",
        "comma": b"5,",
        "quotes": b'"5"',
        "underscore": b"0_5",
        "NUL after": b"5\0",
        "vertical tab after": b"5\x0b",
        "non-ASCII digit": "\u0665".encode(),
        "fraction": b"5.0",
    }
    for name, size in invalid.items():
        table.add(MUST, f"invalid: {name}", sized(size), Reject(400))
    for name, size in {
        "2^64 + 5": b"10000000000000005",
        "2^68 + 5": b"100000000000000005",
        "forty digits": b"f" * 40,
    }.items():
        table.add(MUST, f"overflow: {name}", sized(size), Reject(400, 413))
    return table.cases


def extensions():
    table = Table("9112 7.1.1 chunk extensions")
    for name, text in {
        "name and value": b";a=b",
        "name alone": b";a",
        "quoted value": b';a="b;c"',
        "two": b";a=b;c=d",
        "escaped quote": b';a="b\\"c"',
    }.items():
        table.add(MUST, f"{name} is ignored", sized(b"5" + text), HELLO)
    table.add(MUST, "on the last chunk", HEAD + b"5\r\nhello\r\n0;a=b\r\n\r\n", HELLO)
    table.add(POLICY, "blanks around the semicolon", sized(b"5 ; a = b"), LENIENT)
    table.add(POLICY, "blank after the size", sized(b"5 "), Reject(400))
    invalid = {
        "empty": b"5;",
        "empty name": b"5;=b",
        "empty second": b"5;a=b;",
        "doubled semicolon": b"5;;a=b",
        "empty value": b"5;a=",
        "unclosed quote": b'5;a="b',
        "text after a quote": b'5;a="b"c',
        "blank within a name": b"5;a b=c",
        "no semicolon": b"5 a=b",
        "control character": b"5;a=\x01",
        "NUL": b"5;a=\0",
        "non-ASCII name": "5;\u00e9=b".encode(),
    }
    table.each(POLICY, Reject(400), {f"malformed: {name}": sized(text) for name, text in invalid.items()})
    table.each(
        MUST,
        Reject(400),
        {
            "bare LF within": HEAD + b"5;a\nb" + END,
            "bare CR within": HEAD + b"5;a\rb" + END,
            "bare LF ends the line": HEAD + b"5;a=b\nhello\r\n0\r\n\r\n",
        },
    )
    table.add(SHOULD, "100 KiB of them", sized(b"5;a=" + b"b" * 102_400), Reject(400, 413, 431))
    table.add(
        SHOULD,
        "a flood of them over many chunks",
        HEAD + b"1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\nx\r\n" * 20_000 + b"0\r\n\r\n",
        Either(Accept(body=b"x" * 20_000), Reject(400, 413, 431)),
    )
    return table.cases


def data():
    table = Table("9112 7.1 chunk data")
    table.each(
        MUST,
        Reject(400),
        {
            "bare LF after the size": HEAD + b"5\nhello\r\n0\r\n\r\n",
            "bare CR after the size": HEAD + b"5\rhello\r\n0\r\n\r\n",
            "bare LF after the data": HEAD + b"5\r\nhello\n0\r\n\r\n",
            "bare CR after the data": HEAD + b"5\r\nhello\r0\r\n\r\n",
            "nothing after the data": HEAD + b"5\r\nhello0\r\n\r\n",
            "more data than the size": HEAD + b"5\r\nhello!\r\n0\r\n\r\n",
            "less data than the size": HEAD + b"6\r\nhello\r\n0\r\n\r\n\r\n\r\n",
            "LF after the last chunk's size": HEAD + b"5\r\nhello\r\n0\n\r\n",
            "LF LF at the end": HEAD + b"5\r\nhello\r\n0\n\n",
            "bare LF as the last line": HEAD + b"5\r\nhello\r\n0\r\n\n",
            "two CR at the end": HEAD + b"5\r\nhello\r\n0\r\n\r\r\n\r\n\r\n",
        },
    )
    table.add(MUST, "byte by byte", [part for byte in sized(b"5;a=b") for part in (bytes([byte]), Pause(0.001))], HELLO)
    table.add(MUST, "many small chunks", HEAD + b"1\r\nx\r\n" * 5000 + b"0\r\n\r\n", Accept(body=b"x" * 5000))
    table.add(
        MUST,
        "one chunk of 1 MiB",
        HEAD + b"100000\r\n" + b"x" * (1 << 20) + b"\r\n0\r\n\r\n",
        Accept(body=b"x" * (1 << 20)),
    )
    table.add(
        MUST, "data that looks like the end", HEAD + b"7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n", Accept(body=b"0\r\n\r\n\r\n")
    )
    table.add(
        MUST,
        "cut short is no whole request",
        [HEAD + b"5\r\nhel", HalfClose],
        Reject(400, 408, 499, 502, silent=True),
        section="9112 8 incomplete",
    )
    table.add(
        MUST,
        "no last chunk is no whole request",
        [HEAD + b"5\r\nhello\r\n", HalfClose],
        Reject(400, 408, 499, 502, silent=True),
        section="9112 8 incomplete",
    )
    table.add(
        MUST,
        "a request in place of the last line",
        HEAD + b"5\r\nhello\r\n0\r\nGET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Reject(400),
    )
    return table.cases


def trailers():
    table = Table("9112 7.1.2 trailers")

    def ending(lines):
        return HEAD + b"5\r\nhello\r\n0\r\n" + lines + b"\r\n"

    table.add(
        MUST, "a trailer is dropped or passed on", ending(b"X-T: v\r\n"), Accept(body=b"hello", fields={b"X-T": None})
    )
    table.add(MUST, "several trailers", ending(b"X-T: v\r\nX-U: w\r\n"), HELLO)
    for name, lines in {
        "Content-Length": b"Content-Length: 99\r\n",
        "Transfer-Encoding": b"Transfer-Encoding: gzip\r\n",
        "Host": b"Host: evil.test\r\n",
        "Connection": b"Connection: close\r\n",
        "Authorization": b"Authorization: Basic eDp5\r\n",
        "X-Forwarded-For": b"X-Forwarded-For: 9.9.9.9\r\n",
    }.items():
        outcome = Either(Reject(400), Accept(body=b"hello", looks=not_merged(name.encode())))
        table.add(MUST, f"{name} as a trailer has no effect", ending(lines), outcome, section="9110 6.5.1 trailers")
    table.each(
        POLICY,
        Reject(400),
        {
            "no colon": ending(b"X-T\r\n"),
            "empty name": ending(b": v\r\n"),
            "space before the colon": ending(b"X-T : v\r\n"),
            "folded": ending(b"X-T: v\r\n w\r\n"),
            "bare LF": ending(b"X-T: v\nX-U: w\r\n"),
            "NUL": ending(b"X-T: \0\r\n"),
            "bare CR": ending(b"X-T: v\rX-U: w\r\n"),
            "invalid name": ending(b"X(T): v\r\n"),
        },
    )
    table.add(SHOULD, "300 KiB of them", ending(b"X-T: " + b"v" * 307_200 + b"\r\n"), Reject(400, 413, 431))
    table.add(
        SHOULD,
        "5,000 of them",
        ending(b"".join(b"X-%d: v\r\n" % n for n in range(5000))),
        Either(Reject(400, 413, 431), Accept(body=b"hello", trailers=[])),
    )
    return table.cases


def not_merged(name):
    """Neither among the fields (except as the proxy's own), nor passed on as a trailer where it would have a meaning."""

    def looks(request):
        values = {
            b"Content-Length": [b"99"],
            b"Transfer-Encoding": [b"gzip"],
            b"Host": [b"evil.test"],
            b"Connection": [b"never"],
        }
        evil = values.get(name, [b"Basic eDp5", b"9.9.9.9"])
        problems = [f"{name.decode()} was merged"] if any(value in evil for value in request.all(name)) else []
        framing = name in (b"Content-Length", b"Transfer-Encoding", b"Host")
        if framing and any(key.lower() == name.lower() for key, _ in request.trailers):
            problems.append(f"{name.decode()} was passed on as a trailer")
        return problems

    return looks
