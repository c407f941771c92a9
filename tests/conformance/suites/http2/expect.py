"""What may come of it: errors of the connection, of a stream, or none (RFC 9113 sections 5.4 and 8.1.1)."""

from ..http1.origin import OK
from ..report import Case, Failed
from . import wire
from .connection import Connection


def require(condition, text):
    if not condition:
        raise Failed(text)


def connection_error(connection, *codes):
    """The server closes. GOAWAY before that is recommended (section 5.4.1), and then its code must be right."""
    connection.wait(lambda: connection.closed)
    require(connection.closed, f"expected a connection error, got {connection.story()}")
    fits = connection.goaway is None or not codes or connection.goaway in codes
    require(fits, f"expected GOAWAY with {codes}, got {connection.story()}")


def stream_error(connection, stream, *codes):
    """RST_STREAM; a server may also take it for a connection error (section 5.4.1)."""
    connection.wait(lambda: stream in connection.resets or connection.goaway is not None)
    if stream in connection.resets:
        require(connection.resets[stream] in codes, f"expected RST_STREAM with {codes}, got {connection.story()}")
    else:
        require(connection.closed or connection.goaway, f"expected RST_STREAM with {codes}, got {connection.story()}")
        connection_error(connection, *codes)


def malformed(connection, stream=1):
    """RST_STREAM with PROTOCOL_ERROR, or an answer of 4xx before it (section 8.1.1)."""
    connection.wait(lambda: connection.over(stream) or connection.status(stream))
    status = connection.status(stream)
    if status is not None:
        require(400 <= status < 500 or status == 501, f"expected a refusal, got {connection.story()}")
        return
    stream_error(connection, stream, wire.PROTOCOL_ERROR)


def answered(connection, stream=1, status=200, body=None):
    connection.wait(lambda: connection.over(stream))
    require(connection.status(stream) == status, f"expected {status}, got {connection.story()}")
    require(stream in connection.ended, f"the response does not end: {connection.story()}")
    found = connection.bodies.get(stream, b"")
    require(body is None or found == body, f"the body is {found[:100]!r}")


def alive(connection):
    """The connection still works."""
    connection.send(wire.ping(b"alive???"))
    connection.wait(lambda: b"alive???" in connection.pongs)
    require(b"alive???" in connection.pongs, f"no answer to PING: {connection.story()}")


def untouched(origin):
    seen = [request.start for request in origin.complete()]
    require(not seen, f"the origin got {seen!r}")


class Table:
    """The cases of a section. Each is a function of a connection that has sent its preface (and of the origin)."""

    def __init__(self, section):
        self.section = section
        self.cases = []

    def add(self, level, name, run, answer=OK, preface=True, section=None):
        self.cases.append(Case(section or self.section, name, level, Exchange(run, answer, preface)))

    def case(self, level, name, **options):
        """The same as a decorator."""

        def register(run):
            self.add(level, name, run, **options)
            return run

        return register

    def breaks_connection(self, level, name, sent, *codes, section=None):
        """`sent` after the preface is a connection error."""

        def run(connection, _origin):
            connection.send(sent)
            connection_error(connection, *codes)

        self.add(level, name, run, section=section)

    def breaks_stream(self, level, name, sent, *codes, stream=1, section=None):
        def run(connection, _origin):
            connection.send(sent)
            stream_error(connection, stream, *codes)

        self.add(level, name, run, section=section)

    def malformed(self, level, name, sent, stream=1, section=None):
        """`sent` is a malformed request, which the origin must not see."""

        def run(connection, origin):
            connection.send(sent)
            malformed(connection, stream)
            untouched(origin)

        self.add(level, name, run, section=section)

    def harmless(self, level, name, sent, section=None):
        """`sent` changes nothing: a request after it is answered."""

        def run(connection, _origin):
            connection.send(sent)
            connection.request(101)
            answered(connection, 101)

        self.add(level, name, run, section=section)


class Exchange:
    def __init__(self, run, answer, preface):
        self.run, self.answer, self.preface = run, answer, preface

    def __call__(self, subject):
        subject.origin.reset(self.answer)
        connection = Connection(subject.port)
        try:
            if self.preface:
                connection.start()
                connection.wait(lambda: connection.settings_frames)
            self.run(connection, subject.origin)
        finally:
            connection.close()
            subject.origin.settle()
