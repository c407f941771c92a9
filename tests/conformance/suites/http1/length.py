"""The length of a request's body: RFC 9112 sections 6.1 to 6.3, RFC 9110 section 8.6."""

from ..report import MUST, POLICY, SHOULD
from .client import HalfClose, Pause
from .expect import Accept, Either, Reject, Table

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n"
CHUNKED = b"5\r\nhello\r\n0\r\n\r\n"


def post(lines, body=b"", version=b"HTTP/1.1"):
    return b"POST / " + version + b"\r\nHost: a.test\r\n" + lines + b"\r\n" + body


def cases():
    return content_length() + transfer_encoding() + both()


def content_length():
    table = Table("9112 6.3 Content-Length")
    table.add(MUST, "a body of five bytes", post(b"Content-Length: 5\r\n", b"hello"), Accept(body=b"hello"))
    table.add(
        MUST,
        "a body with GET",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
        Accept(body=b"hello"),
    )
    table.add(MUST, "zero", post(b"Content-Length: 0\r\n"), Accept(body=b""))
    table.add(MUST, "no length is no body", post(b""), Accept(body=b""))
    table.add(MUST, "the name in any letters", post(b"cOnTeNt-LeNgTh: 5\r\n", b"hello"), Accept(body=b"hello"))
    table.add(
        MUST,
        "a body in pieces",
        [post(b"Content-Length: 5\r\n"), Pause(0.05), b"he", Pause(0.05), b"llo"],
        Accept(body=b"hello"),
    )
    table.add(MUST, "1 MiB", post(b"Content-Length: 1048576\r\n", b"x" * (1 << 20)), Accept(body=b"x" * (1 << 20)))
    table.add(
        POLICY, "leading zeros", post(b"Content-Length: 005\r\n", b"hello"), Either(Accept(body=b"hello"), Reject(400))
    )
    table.add(
        MUST,
        "a body cut short is no whole request",
        [post(b"Content-Length: 10\r\n", b"hello"), HalfClose],
        Reject(400, 408, 499, 502, silent=True),
    )
    same = Either(Reject(400), Accept(body=b"hello", lists={b"content-length": [b"5"]}))
    table.add(MUST, "twice the same", post(b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello"), same)
    table.add(MUST, "a list of the same", post(b"Content-Length: 5, 5\r\n", b"hello"), same)
    table.each(
        POLICY,
        Reject(400),
        {
            "twice the same is refused": post(b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello"),
            "a list of the same is refused": post(b"Content-Length: 5, 5\r\n", b"hello"),
        },
    )
    different(table)
    return table.cases


def different(table):
    table.each(
        MUST,
        Reject(400),
        {
            "two that differ": post(b"Content-Length: 5\r\nContent-Length: 6\r\n", b"hello!"),
            "two that differ, the first zero": post(
                b"Content-Length: 0\r\nContent-Length: %d\r\n" % len(SMUGGLED), SMUGGLED
            ),
            "two that differ, the second zero": post(
                b"Content-Length: %d\r\nContent-Length: 0\r\n" % len(SMUGGLED), SMUGGLED
            ),
            "a list that differs": post(b"Content-Length: 5, 6\r\n", b"hello!"),
        },
    )
    values = {
        "plus sign": b"+5",
        "minus sign": b"-5",
        "minus zero": b"-0",
        "hexadecimal": b"0x5",
        "hexadecimal digit": b"a",
        "two numbers": b"5 5",
        "fraction": b"5.0",
        "exponent": b"5e0",
        "nothing": b"",
        "letters after": b"5abc",
        "trailing comma": b"5,",
        "leading comma": b",5",
        "semicolon": b"5;",
        "quotes": b'"5"',
        "other digits": "\u0665".encode(),
        "underscore": b"5_0",
        "vertical tab": b"\x0b5",
        "NUL": b"5\0",
        "form feed after": b"5\x0c",
        "2^64": b"18446744073709551616",
        "2^64 + 5": b"18446744073709551621",
        "2^63 + 2^64 + 5": b"27670116110564327429",
        "forty digits": b"9" * 40,
    }
    for name, value in values.items():
        outcome = Reject(400, 413) if value.isdigit() and len(value) > 3 else Reject(400)
        table.add(MUST, f"invalid value: {name}", post(b"Content-Length: " + value + b"\r\n", b"hello"), outcome)


def transfer_encoding():
    table = Table("9112 6.1 Transfer-Encoding")
    accepted = {
        "chunked": b"Transfer-Encoding: chunked\r\n",
        "in capitals": b"TRANSFER-ENCODING: CHUNKED\r\n",
        "after a tab": b"Transfer-Encoding:\tchunked\r\n",
        "with blanks after": b"Transfer-Encoding: chunked \t\r\n",
    }
    for name, lines in accepted.items():
        table.add(MUST, name, post(lines, CHUNKED), Accept(body=b"hello"))
    last = {
        "chunked not last": b"Transfer-Encoding: chunked, gzip\r\n",
        "chunked not last, in two lines": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "gzip alone": b"Transfer-Encoding: gzip\r\n",
    }
    table.each(
        MUST,
        Reject(400, 501),
        {name: post(lines, CHUNKED) for name, lines in last.items()},
        section="9112 6.3 (4) final coding",
    )
    unknown = {
        "gzip and chunked": b"gzip, chunked",
        "identity": b"identity",
        "identity and chunked": b"identity, chunked",
        "an unknown coding": b"xchunked",
        "an unknown coding and chunked": b"cow, chunked",
        "a prefix of chunked": b"chunke",
        "more than chunked": b"chunkedx",
        "chunked with a parameter": b"chunked;q=1",
        "chunked in quotes": b'"chunked"',
        "chunked in two words": b"chun ked",
        "words without a comma": b"x chunked",
    }
    for name, value in unknown.items():
        table.add(MUST, name, post(b"Transfer-Encoding: " + value + b"\r\n", CHUNKED), Reject(400, 422, 501))
    table.each(
        MUST,
        Reject(400, 422, 501),
        {
            "chunked twice": post(b"Transfer-Encoding: chunked, chunked\r\n", CHUNKED),
            "chunked twice, in two lines": post(
                b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", CHUNKED
            ),
            "an unknown coding in a second line": post(
                b"Transfer-Encoding: chunked\r\nTransfer-encoding: cow\r\n", CHUNKED
            ),
            "an unknown coding in a first line": post(
                b"Transfer-Encoding: cow\r\nTransfer-Encoding: chunked\r\n", CHUNKED
            ),
        },
    )
    odd(table)
    return table.cases


def odd(table):
    table.each(
        POLICY,
        Reject(400, 501),
        {
            "empty": post(b"Transfer-Encoding:\r\n", CHUNKED),
            "vertical tab before chunked": post(b"Transfer-Encoding: \x0bchunked\r\n", CHUNKED),
            "NUL after chunked": post(b"Transfer-Encoding: chunked\0\r\n", CHUNKED),
            "non-breaking space": post(b"Transfer-Encoding: \xa0chunked\r\n", CHUNKED),
        },
    )
    lenient = Either(Reject(400, 501), Accept(body=b"hello"))
    table.add(MUST, "empty list element before", post(b"Transfer-Encoding: , chunked\r\n", CHUNKED), lenient)
    table.add(MUST, "empty list element after", post(b"Transfer-Encoding: chunked,\r\n", CHUNKED), lenient)
    for name, lines in {"": b"", " with Content-Length": b"Content-Length: 5\r\n"}.items():
        table.add(
            MUST,
            f"in HTTP/1.0{name}",
            post(b"Transfer-Encoding: chunked\r\n" + lines, CHUNKED, b"HTTP/1.0"),
            Either(Reject(400), Accept(body=b"hello", closes=True)),
        )
        table.add(
            POLICY,
            f"in HTTP/1.0{name} is refused",
            post(b"Transfer-Encoding: chunked\r\n" + lines, CHUNKED, b"HTTP/1.0"),
            Reject(400),
        )
    table.add(
        MUST,
        "named in Connection",
        post(b"Transfer-Encoding: chunked\r\nConnection: transfer-encoding\r\n", CHUNKED),
        Either(Accept(body=b"hello"), Reject(400)),
        section="9110 7.6.1 Connection",
    )
    table.add(
        MUST,
        "Content-Length named in Connection",
        post(b"Content-Length: 5\r\nConnection: content-length\r\n", b"hello"),
        Either(Accept(body=b"hello"), Reject(400)),
        section="9110 7.6.1 Connection",
    )
    table.add(
        POLICY,
        "an underscore makes another field",
        post(b"Transfer_Encoding: chunked\r\nContent-Length: 5\r\n", b"hello"),
        Either(Accept(body=b"hello"), Reject(400)),
    )


def both():
    table = Table("9112 6.3 (3) both lengths")
    smuggling = b"0\r\n\r\n" + SMUGGLED
    requests = {
        "Content-Length, then Transfer-Encoding": post(
            b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n" % len(smuggling), smuggling
        ),
        "Transfer-Encoding, then Content-Length": post(
            b"Transfer-Encoding: chunked\r\nContent-Length: %d\r\n" % len(smuggling), smuggling
        ),
        "Content-Length shorter": post(
            b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", b"%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
        ),
        "Content-Length zero": post(b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", CHUNKED),
        "Content-Length invalid": post(b"Content-Length: x\r\nTransfer-Encoding: chunked\r\n", CHUNKED),
    }
    for name, request in requests.items():
        table.add(MUST, name, request, Either(Reject(400), Accept(closes=True, lists={b"content-length": []})))
        table.add(POLICY, f"{name}: refused", request, Reject(400))
    unknown = {
        "unknown coding beside Content-Length": b"Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n",
        "identity beside Content-Length": b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
        "empty coding beside Content-Length": b"Transfer-Encoding:\r\nContent-Length: 5\r\n",
    }
    table.each(SHOULD, Reject(400, 501), {name: post(lines, b"hello") for name, lines in unknown.items()})
    hidden = post(b"Content-Length: %d\r\nX: y\nTransfer-Encoding: chunked\r\n" % len(smuggling), smuggling)
    table.add(POLICY, "Transfer-Encoding behind a bare LF", hidden, Reject(400))
    return table.cases
