"""Persistence, pipelining, hop-by-hop fields, Expect and Upgrade: RFC 9112 section 9, RFC 9110 sections 7 and 10."""

from ..report import MUST, POLICY, SHOULD
from .client import AwaitInterim, Client, HalfClose, Pause
from .expect import Accept, Either, Reject, Table, require
from .message import read_request

# RFC 6455 section 1.3
WEBSOCKET = b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


def get(lines=b"", target=b"/", version=b"HTTP/1.1"):
    return b"GET " + target + b" " + version + b"\r\nHost: a.test\r\n" + lines + b"\r\n"


def post(body, lines=b"", target=b"/"):
    return (
        b"POST " + target + b" HTTP/1.1\r\nHost: a.test\r\n" + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body
    )


def cases():
    return persistence() + pipelining() + hop_by_hop() + forwarding() + expect() + upgrade()


def persistence():
    table = Table("9112 9.3 persistence")
    keep, end = Accept(closes=False), Accept(closes=True)
    table.add(SHOULD, "HTTP/1.1 stays open", get(), keep)
    table.add(MUST, "Connection: close", get(b"Connection: close\r\n"), end, section="9112 9.6 close")
    table.add(MUST, "Connection: Close in a list", get(b"Connection: x-a, Close\r\n"), end, section="9112 9.6 close")
    table.add(
        MUST,
        "Connection: close in a second line",
        get(b"Connection: x-a\r\nConnection: close\r\n"),
        end,
        section="9112 9.6 close",
    )
    table.add(
        SHOULD,
        "the answer to close says close",
        get(b"Connection: close\r\n"),
        Accept(received=says_close),
        section="9112 9.6 close",
    )
    table.add(
        MUST,
        "nothing is read after close",
        get(b"Connection: close\r\n") + get(target=b"/second"),
        end,
        section="9112 9.6 close",
    )
    table.add(MUST, "HTTP/1.0 closes", get(version=b"HTTP/1.0"), end)
    table.add(
        SHOULD,
        "HTTP/1.0 with keep-alive stays open, and says so, or closes",
        get(b"Connection: keep-alive\r\n", version=b"HTTP/1.0"),
        Either(Accept(closes=False, received=says_keep_alive), end),
    )
    table.add(
        MUST,
        "the origin's close is not the client's",
        get(),
        Accept(closes=False, received=says_nothing),
        section="9110 7.6.1 Connection",
    )
    table.add(SHOULD, "a client that sends FIN still gets its answer", [get(), HalfClose], Accept())
    table.add(SHOULD, "two requests, a pause between", [get(), Pause(0.1), get()], Accept(answers=2, closes=False))
    table.add(
        MUST,
        "a head cut short is no request",
        [b"GET / HTTP/1.1\r\nHost: a.test\r\n", HalfClose],
        Reject(400, 408, 499, silent=True),
        section="9112 8 incomplete",
    )
    return table.cases


def says_close(result):
    tokens = result.finals[-1].tokens(b"connection")
    return [] if b"close" in tokens else [f"Connection is {tokens}"]


def says_keep_alive(result):
    tokens = result.finals[-1].tokens(b"connection")
    return [] if b"keep-alive" in tokens else [f"Connection is {tokens}"]


def says_nothing(result):
    tokens = result.finals[-1].tokens(b"connection")
    return ["Connection: close was passed on"] if b"close" in tokens else []


def pipelining():
    table = Table("9112 9.3.2 pipelining")
    table.add(MUST, "two requests", get() + get(target=b"/2"), Accept(answers=2))
    table.add(MUST, "ten requests", b"".join(get(target=b"/%d" % n) for n in range(10)), Accept(answers=10))
    table.custom(MUST, "answers come in order", in_order)
    table.add(MUST, "bodies between", post(b"one") + post(b"two") + get(), Accept(answers=3, method=b"GET"))
    chunked = b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n"
    table.add(MUST, "chunked bodies between", chunked + chunked + get(), Accept(answers=3, method=b"GET"))
    table.add(
        MUST, "an invalid second request", get() + b"GET / HTTP/1.1\r\nHost : a.test\r\n\r\n", Reject(400, after=1)
    )
    table.add(MUST, "garbage after a chunked body", chunked + b"XX\r\n\r\n", Reject(400, after=1, silent=True))
    table.add(MUST, "garbage after a sized body", post(b"one") + b"\0\0\r\n\r\n", Reject(400, after=1, silent=True))
    table.add(
        SHOULD, "an empty line between", post(b"one") + b"\r\n" + get(), Accept(answers=2), section="9112 2.2 parsing"
    )
    table.add(
        MUST,
        "a HEAD between",
        b"HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n" + get(),
        Accept(answers=2),
        methods=[b"HEAD", b"GET"],
    )
    return table.cases


def in_order(subject):
    def answer(connection, reader, request, _number):
        read_request(reader, request)
        body = request.target
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        return True

    subject.origin.reset(answer)
    targets = [b"/%d" % n for n in range(20)]
    result = Client(subject.port).exchange([b"".join(get(target=t) for t in targets)], [b"GET"] * 20, None)
    require([final.body for final in result.finals] == targets, f"bodies {[f.body for f in result.finals]}")


def hop_by_hop():
    table = Table("9110 7.6.1 Connection")
    gone = {
        "a named field is removed": (b"Connection: x-a\r\nX-A: b\r\n", {b"X-A": None}),
        "two named fields are removed": (b"Connection: x-a, x-b\r\nX-A: b\r\nX-B: c\r\n", {b"X-A": None, b"X-B": None}),
        "named in two lines": (
            b"Connection: x-a\r\nConnection: x-b\r\nX-A: b\r\nX-B: c\r\n",
            {b"X-A": None, b"X-B": None},
        ),
        "named in other letters": (b"Connection: X-a\r\nx-A: b\r\n", {b"X-A": None}),
        "named after the field": (b"X-A: b\r\nConnection: x-a\r\n", {b"X-A": None}),
        "every line of a named field": (b"X-A: b\r\nConnection: x-a\r\nX-A: c\r\n", {b"X-A": None}),
    }
    for name, (lines, fields) in gone.items():
        table.add(MUST, name, get(lines), Accept(fields=fields))
    table.add(
        MUST,
        "names are not passed on",
        get(b"Connection: x-a, keep-alive\r\n"),
        Accept(looks=lambda request: names_left(request, b"x-a")),
    )
    table.add(SHOULD, "Keep-Alive is removed", get(b"Keep-Alive: timeout=5\r\n"), Accept(fields={b"Keep-Alive": None}))
    table.add(
        SHOULD,
        "Proxy-Connection is removed",
        get(b"Proxy-Connection: keep-alive\r\n"),
        Accept(fields={b"Proxy-Connection": None}),
    )
    table.add(
        MUST,
        "TE is not passed on without Connection",
        get(b"TE: trailers\r\nConnection: TE\r\n"),
        Accept(looks=te_is_sound),
    )
    table.add(
        SHOULD, "codings of TE are the client's own", get(b"TE: gzip\r\nConnection: TE\r\n"), Accept(looks=no_gzip)
    )
    table.add(
        MUST,
        "the proxy's own fields survive being named",
        get(b"Connection: x-forwarded-for, host\r\n"),
        Either(Accept(lists={b"host": [b"a.test"]}), Reject(400)),
    )
    answer = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close, x-a\r\nX-A: b\r\nKeep-Alive: timeout=5\r\n\r\nok"
    )
    table.add(
        MUST,
        "named fields of a response are removed",
        get(),
        Accept(received=lambda result: without(result, b"x-a")),
        answer=answer,
    )
    table.add(
        SHOULD,
        "Keep-Alive of a response is removed",
        get(),
        Accept(received=lambda result: without(result, b"keep-alive")),
        answer=answer,
    )
    return table.cases


def names_left(request, name):
    return ["a name was passed on"] if name in request.tokens(b"connection") else []


def te_is_sound(request):
    if not request.all(b"te"):
        return []
    return [] if b"te" in request.tokens(b"connection") else ["TE without Connection: TE"]


def no_gzip(request):
    return ["TE: gzip was passed on"] if b"gzip" in request.tokens(b"te") else []


def without(result, name):
    return [f"{name.decode()} was passed on"] if result.finals[-1].all(name) else []


def forwarding():
    table = Table("9110 7.6 forwarding")
    table.add(MUST, "Via is added to requests", get(), Accept(looks=has_via), section="9110 7.6.3 Via")
    table.add(
        MUST, "Via is appended to", get(b"Via: 1.0 first\r\n"), Accept(looks=via_in_order), section="9110 7.6.3 Via"
    )
    options = b"OPTIONS / HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: %d\r\n\r\n"
    trace = b"TRACE / HTTP/1.1\r\nHost: a.test\r\n%s\r\n"
    refused = Reject(400, 403, 405, 501, may_stay_open=True)
    own = Either(Accept(forwarded=0), Accept(status=204, forwarded=0), refused)
    section = "9110 7.6.2 Max-Forwards"
    table.add(MUST, "OPTIONS with Max-Forwards 0 goes no further", options % 0, own, section=section)
    table.add(
        MUST, "OPTIONS counts Max-Forwards down", options % 5, Accept(fields={b"Max-Forwards": b"4"}), section=section
    )
    table.add(MUST, "TRACE with Max-Forwards 0 goes no further", trace % b"Max-Forwards: 0\r\n", own, section=section)
    table.add(
        MUST,
        "TRACE counts Max-Forwards down",
        trace % b"Max-Forwards: 5\r\n",
        Either(Accept(fields={b"Max-Forwards": b"4"}), refused),
        section=section,
    )
    table.add(
        SHOULD,
        "GET may ignore Max-Forwards",
        get(b"Max-Forwards: 0\r\n"),
        Either(Accept(), Accept(forwarded=0)),
        section=section,
    )
    table.add(
        POLICY,
        "TRACE is passed on or refused",
        trace % b"",
        Either(Accept(method=b"TRACE"), refused),
        section="9110 9.3.8 TRACE",
    )
    table.add(
        MUST,
        "Authorization is passed on",
        get(b"Authorization: Basic eDp5\r\n"),
        Accept(fields={b"Authorization": b"Basic eDp5"}),
    )
    table.add(
        MUST, "conditions are passed on", get(b'If-None-Match: "x"\r\n'), Accept(fields={b"If-None-Match": b'"x"'})
    )
    table.add(MUST, "Cookie lines are passed on", get(b"Cookie: a=b\r\n"), Accept(fields={b"Cookie": b"a=b"}))
    return table.cases


def has_via(request):
    return [] if request.all(b"via") else ["no Via"]


def via_in_order(request):
    entries = [entry.strip() for value in request.all(b"via") for entry in value.split(b",")]
    return [] if len(entries) == 2 and entries[0] == b"1.0 first" else [f"Via is {entries!r}"]


def expect():
    table = Table("9110 10.1.1 Expect")
    head = b"POST / HTTP/1.1\r\nHost: a.test\r\nExpect: %s\r\nContent-Length: 5\r\n\r\n"
    table.add(
        MUST,
        "100-continue is answered before the body",
        [head % b"100-continue", AwaitInterim, b"hello"],
        Accept(body=b"hello"),
    )
    table.add(
        MUST, "100-Continue in other letters", [head % b"100-Continue", AwaitInterim, b"hello"], Accept(body=b"hello")
    )
    table.add(MUST, "a body that does not wait", head % b"100-continue" + b"hello", Accept(body=b"hello"))
    table.add(
        MUST,
        "nobody waits for a body of HTTP/1.0",
        (head % b"100-continue").replace(b"1.1", b"1.0") + b"hello",
        Accept(received=no_interim),
    )
    table.add(
        MUST,
        "a final answer instead of 100",
        head % b"100-continue",
        Accept(status=401, forwarded=0, received=no_broken_end),
        answer=unauthorised,
    )
    table.add(
        SHOULD,
        "an unknown expectation",
        head % b"tea" + b"hello",
        Either(Reject(417, may_stay_open=True), Accept(body=b"hello")),
    )
    chunked = b"POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
    table.add(
        MUST,
        "100-continue before a chunked body",
        [chunked, AwaitInterim, b"5\r\nhello\r\n0\r\n\r\n"],
        Accept(body=b"hello"),
    )
    table.add(
        MUST,
        "100-continue, then another request",
        [head % b"100-continue", AwaitInterim, b"hello", get()],
        Accept(answers=2),
    )
    return table.cases


def no_interim(result):
    return [f"interim responses {[m.status for m in result.interim]}"] if result.interim else []


def no_broken_end(result):
    return [result.problem] if result.problem else []


def unauthorised(connection, _reader, request, _number):
    request.complete = False
    connection.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
    return False


def upgrade():
    table = Table("9110 7.8 Upgrade")
    asked = b"Connection: Upgrade\r\n" + WEBSOCKET
    table.custom(MUST, "101 opens a tunnel", lambda subject: tunnel(subject, get(asked), b""))
    table.custom(
        MUST,
        "bytes right behind the request belong to the tunnel",
        lambda subject: tunnel(subject, get(asked) + b"early", b"early"),
    )
    table.add(MUST, "a refused upgrade is an ordinary answer", get(asked), Accept(closes=False))
    table.add(MUST, "Upgrade is not passed on without Connection", get(WEBSOCKET), Accept(looks=upgrade_is_sound))
    table.add(
        MUST,
        "Upgrade in HTTP/1.0 is ignored",
        get(asked, version=b"HTTP/1.0"),
        Either(Accept(fields={b"Upgrade": None}), Reject(400)),
    )
    table.add(
        POLICY,
        "h2c is not passed on",
        get(b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"),
        Either(Accept(fields={b"HTTP2-Settings": None}), Accept(fields={b"Upgrade": None}), Reject(400)),
    )
    table.add(MUST, "101 that nobody asked for", get(), BadGateway(), answer=SWITCHED)
    return table.cases


def upgrade_is_sound(request):
    if not request.all(b"upgrade"):
        return []
    return [] if b"upgrade" in request.tokens(b"connection") else ["Upgrade without Connection: upgrade"]


class BadGateway(Accept):
    """502, made by the proxy out of what the origin sent."""

    def __init__(self):
        super().__init__(status=502)

    def check_origin(self, origin):
        return []


def tunnel(subject, request, early):
    def answer(connection, reader, seen, _number):
        seen.complete = True
        connection.sendall(SWITCHED)
        data = reader.exactly(len(early) + 5)
        connection.sendall(data[::-1])
        return False

    subject.origin.reset(answer)
    client = Client(subject.port)
    client.take(request)
    client.read_final(b"GET")
    require(client.result.statuses == [101], f"got {client.result}")
    require(b"upgrade" in client.result.finals[0].tokens(b"connection"), "101 without Connection: upgrade")
    client.take(b"hello")
    expected = (early + b"hello")[::-1]
    found = client.reader.exactly(len(expected))
    client.connection.close()
    require(found == expected, f"the tunnel gave {found!r}")
