"""Field lines: RFC 9112 section 5, RFC 9110 section 5."""

from ..report import MUST, POLICY, SHOULD
from .expect import Accept, Either, Reject, Table


def get(lines):
    return b"GET / HTTP/1.1\r\nHost: a.test\r\n" + lines + b"\r\n"


def cases():
    return names() + line_ends() + values() + limits()


def names():
    table = Table("9112 5.1 field names")
    table.each(
        MUST,
        Reject(400),
        {
            "space before the colon": get(b"X-A : b\r\n"),
            "tab before the colon": get(b"X-A\t: b\r\n"),
            "space before Content-Length's colon": b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length : 2\r\n\r\nhi",
            "space before Transfer-Encoding's colon": b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
            "space before Host's colon": b"GET / HTTP/1.1\r\nHost : a.test\r\n\r\n",
        },
    )
    table.each(
        POLICY,
        Reject(400),
        {
            "empty name": get(b": b\r\n"),
            "no colon": get(b"X-A\r\n"),
            "space within the name": get(b"X A: b\r\n"),
            "NUL in the name": get(b"X\0A: b\r\n"),
            "control character in the name": get(b"X\x01A: b\r\n"),
            "DEL in the name": get(b"X\x7fA: b\r\n"),
            "non-ASCII in the name": get("X-\u00e9: b\r\n".encode()),
            "parenthesis in the name": get(b"X(A): b\r\n"),
            "quote in the name": get(b'X"A": b\r\n'),
            "slash in the name": get(b"X/A: b\r\n"),
            "at sign in the name": get(b"X@A: b\r\n"),
            "brackets in the name": get(b"X[A]: b\r\n"),
            "vertical tab before the colon": get(b"X-A\x0b: b\r\n"),
        },
        section="9110 5.1 field names",
    )
    every = b"!#$%&'*+-.^_`|~09AZaz"
    table.add(
        SHOULD,
        "a name of every token character",
        get(every + b": b\r\n"),
        Accept(fields={every: b"b"}),
        section="9110 5.1 field names",
    )
    return table.cases


def line_ends():
    table = Table("9112 2.2 line ends")
    table.each(
        POLICY,
        Reject(400),
        {
            "bare LF between fields": get(b"X-A: b\nX-B: c\r\n"),
            "bare LF hides a field": get(b"X-A: b\nTransfer-Encoding: chunked\r\n"),
            "bare LF before the empty line": b"GET / HTTP/1.1\r\nHost: a.test\n\r\n",
            "bare LF as the empty line": b"GET / HTTP/1.1\r\nHost: a.test\r\n\n",
            "bare LF throughout": b"GET / HTTP/1.1\nHost: a.test\n\n",
        },
    )
    table.each(
        MUST,
        Reject(400),
        {
            "two CR before the LF": get(b"X-A: b\r\r\n"),
            "bare CR hides a field": get(b"X-A: b\rTransfer-Encoding: chunked\r\n"),
            "bare CR at the end of a name": get(b"X-A\r: b\r\n"),
            "CR CR LF as the empty line": b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\r\n\r\n\r\n",
        },
    )
    table.each(
        MUST,
        Reject(400),
        {
            "space before the first field": b"GET / HTTP/1.1\r\n X-A: b\r\nHost: a.test\r\n\r\n",
            "space before a Host as the first field": b"GET / HTTP/1.1\r\n Host: a.test\r\n\r\n",
        },
        section="9112 2.2 first field",
    )
    folded = Either(Reject(400), Accept(looks=unfolded))
    table.add(MUST, "folded line is refused or unfolded", get(b"X-A: b\r\n c\r\n"), folded, section="9112 5.2 obs-fold")
    table.each(
        POLICY,
        Reject(400),
        {
            "folded line": get(b"X-A: b\r\n c\r\n"),
            "folded line with a tab": get(b"X-A: b\r\n\tc\r\n"),
            "empty folded line": get(b"X-A: b\r\n \r\n"),
            "folded Transfer-Encoding": b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
            "folded Content-Length": b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n 2\r\n\r\nhi",
            "folded Host": b"GET / HTTP/1.1\r\nHost: a.test\r\n .evil\r\n\r\n",
        },
        section="9112 5.2 obs-fold",
    )
    return table.cases


def unfolded(request):
    value = request.one(b"x-a")
    return [] if value is not None and value.split() == [b"b", b"c"] else [f"X-A is {value!r}"]


def values():
    table = Table("9110 5.5 field values")
    for name, byte in {"NUL": b"\0", "bare CR": b"\r"}.items():
        table.add(
            MUST,
            f"{name} is refused or replaced",
            get(b"X-A: b" + byte + b"c\r\n"),
            Either(Reject(400), Accept(fields={b"X-A": b"b c"})),
        )
    table.each(
        POLICY,
        Reject(400),
        {
            "NUL": get(b"X-A: b\0c\r\n"),
            "bare CR": get(b"X-A: b\rc\r\n"),
            "control character": get(b"X-A: b\x01c\r\n"),
            "escape": get(b"X-A: \x1b[2J\r\n"),
            "DEL": get(b"X-A: b\x7fc\r\n"),
        },
    )
    table.add(SHOULD, "obs-text is passed on", get(b"X-A: caf\xe9\r\n"), Accept(fields={b"X-A": b"caf\xe9"}))
    table.add(MUST, "tabs within", get(b"X-A: b\tc\r\n"), Accept(fields={b"X-A": b"b\tc"}))
    table.add(MUST, "blanks around do not count", get(b"X-A: \t b \t \r\n"), Accept(fields={b"X-A": b"b"}))
    table.add(MUST, "no blank after the colon", get(b"X-A:b\r\n"), Accept(fields={b"X-A": b"b"}))
    table.add(MUST, "empty value", get(b"X-A:\r\n"), Accept(fields={b"X-A": b""}))
    table.add(MUST, "colons within", get(b"X-A: b:c: d\r\n"), Accept(fields={b"X-A": b"b:c: d"}))
    table.add(
        MUST,
        "lines of one name keep their order",
        get(b"X-A: 1\r\nX-B: x\r\nx-a: 2\r\nX-A: 3\r\n"),
        Accept(looks=in_order),
        section="9110 5.3 order",
    )
    table.add(
        MUST,
        "fields that are not known are passed on",
        get(b"X-Unheard-Of: y\r\n"),
        Accept(fields={b"X-Unheard-Of": b"y"}),
        section="9110 5.1 field names",
    )
    return table.cases


def in_order(request):
    values_ = b",".join(value.replace(b" ", b"") for value in request.all(b"x-a"))
    return [] if values_ == b"1,2,3" else [f"X-A is {values_!r}"]


def limits():
    table = Table("9110 5.4 limits")
    table.add(MUST, "a value of 300 KiB", get(b"X-A: " + b"b" * 307_200 + b"\r\n"), Reject(*range(400, 500)))
    table.add(
        MUST,
        "300 KiB of fields",
        get(b"".join(b"X-%d: %s\r\n" % (n, b"b" * 1000) for n in range(300))),
        Reject(*range(400, 500)),
    )
    table.add(POLICY, "a value of 300 KiB gets 431", get(b"X-A: " + b"b" * 307_200 + b"\r\n"), Reject(431))
    table.add(POLICY, "5,000 fields get 431", get(b"".join(b"X-%d: b\r\n" % n for n in range(5000))), Reject(431))
    table.add(POLICY, "a name of 300 KiB", get(b"X" * 307_200 + b": b\r\n"), Reject(400, 431))
    table.add(
        SHOULD,
        "50 fields are nothing special",
        get(b"".join(b"X-%d: b\r\n" % n for n in range(50))),
        Accept(fields={b"X-49": b"b"}),
    )
    table.add(
        SHOULD,
        "a value of 4 KiB is nothing special",
        get(b"Cookie: " + b"b" * 4096 + b"\r\n"),
        Accept(fields={b"Cookie": b"b" * 4096}),
    )
    return table.cases
