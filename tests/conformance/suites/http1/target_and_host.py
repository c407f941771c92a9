"""Forms of the request target and the Host field: RFC 9112 section 3.2, RFC 9110 sections 4.2 and 7.2."""

from ..report import MUST, POLICY, SHOULD
from .expect import Accept, Either, Reject, Table


def request(target, host=b"Host: a.test\r\n", method=b"GET", version=b"HTTP/1.1"):
    return method + b" " + target + b" " + version + b"\r\n" + host + b"\r\n"


def cases():
    return absolute_form() + other_forms() + host_field() + host_values()


def absolute_form():
    table = Table("9112 3.2.2 absolute-form")
    table.add(MUST, "same host", request(b"http://a.test/x?y"), Accept(looks=target_of(b"/x?y", b"a.test")))
    table.add(
        MUST,
        "another Host gives way to the target",
        request(b"http://real.test/x", b"Host: other.test\r\n"),
        Accept(looks=target_of(b"/x", b"real.test")),
    )
    table.add(
        MUST,
        "the target's port goes along",
        request(b"http://real.test:81/x", b"Host: other.test\r\n"),
        Accept(looks=target_of(b"/x", b"real.test:81")),
    )
    table.add(MUST, "no path", request(b"http://a.test"), Accept(looks=target_of(b"/", b"a.test")))
    table.add(MUST, "query without a path", request(b"http://a.test?q"), Accept(looks=target_of(b"/?q", b"a.test")))
    table.add(
        MUST,
        "the scheme is case-insensitive",
        request(b"HTTP://a.test/x"),
        Either(Accept(looks=target_of(b"/x", b"a.test")), Reject(400)),
    )
    table.add(MUST, "no Host beside it", request(b"http://a.test/x", b""), Reject(400))
    table.add(
        SHOULD,
        "in HTTP/1.0 without Host",
        request(b"http://a.test/x", b"", version=b"HTTP/1.0"),
        Either(Accept(looks=target_of(b"/x", b"a.test")), Reject(400)),
    )
    table.add(MUST, "empty host", request(b"http:///x"), Reject(400), section="9110 4.2.1 http URI")
    table.add(MUST, "empty host with a port", request(b"http://:80/x"), Reject(400), section="9110 4.2.1 http URI")
    table.add(SHOULD, "userinfo", request(b"http://user:pw@a.test/x"), Reject(400), section="9110 4.2.4 userinfo")
    table.add(POLICY, "port that is no number", request(b"http://a.test:x/"), Reject(400))
    table.add(POLICY, "another scheme", request(b"ftp://a.test/x"), Reject(400, 421, 501))
    table.add(POLICY, "host with an invalid character", request(b"http://a<b/x"), Reject(400))
    table.add(POLICY, "https on a plain connection", request(b"https://a.test/x"), Either(Accept(), Reject(400, 421)))
    return table.cases


def target_of(path, host):
    """The origin's view: origin-form with Host, or absolute-form with the same authority."""

    def looks(seen):
        absolute = b"http://" + host
        forms = {path, absolute + path, absolute + path.removeprefix(b"/")}
        target = absolute + seen.target[len(absolute) :] if seen.target.lower().startswith(absolute) else seen.target
        problems = [] if target in forms else [f"target {seen.target!r}, not {path!r}"]
        return problems + ([] if seen.all(b"host") == [host] else [f"Host {seen.all(b'host')!r}, not {host!r}"])

    return looks


def other_forms():
    table = Table("9112 3.2 other forms")
    table.add(MUST, "OPTIONS *", request(b"*", method=b"OPTIONS"), Either(Accept(target=b"*"), Accept(forwarded=0)))
    table.add(POLICY, "GET *", request(b"*"), Reject(400))
    table.add(
        POLICY,
        "OPTIONS with an absolute target without a path",
        request(b"http://a.test", method=b"OPTIONS"),
        Either(Accept(target=b"*"), Accept(target=b"/"), Accept(target=b"http://a.test")),
    )
    table.add(POLICY, "authority-form with GET", request(b"a.test:80"), Reject(400))
    table.add(POLICY, "target without a slash", request(b"index.html"), Reject(400))
    table.add(POLICY, "backslash for a slash", request(b"\\x"), Reject(400))
    table.add(
        SHOULD,
        "CONNECT is no gateway's business",
        request(b"a.test:80", b"Host: a.test:80\r\n", b"CONNECT"),
        Reject(400, 403, 404, 405, 501, may_stay_open=True),
        section="9110 9.3.6 CONNECT",
    )
    table.add(
        MUST,
        "CONNECT with a path",
        request(b"/x", method=b"CONNECT"),
        Reject(400, 403, 404, 405, 501, may_stay_open=True),
        section="9110 9.3.6 CONNECT",
    )
    for target in (b"/a%zz", b"/a|b", b"/%2e%2e/x", b"//a//b", b"/a/../b", b"/?a=?&b", b"/a;b=c,d"):
        outcome = Either(Accept(target=target), Reject(400))
        table.add(
            SHOULD,
            f"{target.decode()} is passed on unchanged",
            request(target),
            outcome,
            section="9110 7.7 transformations",
        )
    return table.cases


def host_field():
    table = Table("9112 3.2 Host")
    table.each(
        MUST,
        Reject(400),
        {
            "no Host": request(b"/", b""),
            "Host twice, equal": request(b"/", b"Host: a.test\r\nHost: a.test\r\n"),
            "Host twice, different": request(b"/", b"Host: a.test\r\nHost: b.test\r\n"),
            "Host twice in other letters": request(b"/", b"Host: a.test\r\nhOST: b.test\r\n"),
            "Host twice with fields between": request(b"/", b"Host: a.test\r\nX: y\r\nHost: b.test\r\n"),
            "Host twice in HTTP/1.0": request(b"/", b"Host: a.test\r\nHost: b.test\r\n", version=b"HTTP/1.0"),
            "Host twice beside an absolute target": request(b"http://a.test/", b"Host: a.test\r\nHost: a.test\r\n"),
        },
    )
    table.add(MUST, "HTTP/1.0 needs no Host", request(b"/", b"", version=b"HTTP/1.0"), Accept())
    table.add(
        MUST, "Host is passed on", request(b"/", b"Host: a.test:8080\r\n"), Accept(lists={b"host": [b"a.test:8080"]})
    )
    table.add(
        MUST,
        "blanks around it do not count",
        request(b"/", b"Host:\t  a.test \t\r\n"),
        Accept(lists={b"host": [b"a.test"]}),
    )
    table.add(MUST, "IPv6 literal", request(b"/", b"Host: [::1]:80\r\n"), Accept(lists={b"host": [b"[::1]:80"]}))
    table.add(POLICY, "empty Host", request(b"/", b"Host:\r\n"), Either(Accept(), Reject(400)))
    table.add(
        POLICY,
        "Host named in Connection",
        request(b"/", b"Host: a.test\r\nConnection: host\r\n"),
        Either(Accept(lists={b"host": [b"a.test"]}), Reject(400)),
    )
    return table.cases


def host_values():
    table = Table("9112 3.2 invalid Host")
    values = {
        "space": b"a b",
        "list": b"a.test, b.test",
        "path": b"a.test/x",
        "userinfo": b"user@a.test",
        "scheme": b"http://a.test",
        "question mark": b"a?b",
        "fragment": b"a#b",
        "backslash": b"a\\b",
        "port that is no number": b"a.test:x",
        "two ports": b"a.test:80:81",
        "unclosed IPv6 literal": b"[::1",
        "text after an IPv6 literal": b"[::1]x",
        "angle bracket": b"a<b",
        "quote": b'a"b',
        "non-ASCII": "\u00e9.test".encode(),
        "tab": b"a\tb",
    }
    for name, value in values.items():
        table.add(MUST, name, request(b"/", b"Host: " + value + b"\r\n"), Reject(400))
    table.add(POLICY, "port out of range", request(b"/", b"Host: a.test:99999\r\n"), Either(Accept(), Reject(400)))
    return table.cases
