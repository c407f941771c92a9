"""A strict reader of HTTP/1 messages, for what the proxy sends to either side."""

import dataclasses
import socket


class Malformed(ValueError):
    """What was read is no message."""


class Reader:
    """Bytes of a socket, with a deadline on each wait."""

    def __init__(self, connection, seconds):
        self.connection = connection
        self.seconds = seconds
        self.buffer = b""
        self.raw = b""
        self.ended = False

    def fill(self):
        """Reads once more; False at the end of the stream. Raises TimeoutError."""
        self.connection.settimeout(self.seconds)
        try:
            data = self.connection.recv(1 << 16)
        except (ConnectionResetError, BrokenPipeError):
            data = b""
        self.ended = self.ended or not data
        self.buffer += data
        self.raw += data
        return bool(data)

    def until(self, mark):
        while mark not in self.buffer:
            if not self.fill():
                raise EOFError(f"ended with {self.buffer[:200]!r}")
        head, _, self.buffer = self.buffer.partition(mark)
        return head

    def exactly(self, count):
        while len(self.buffer) < count:
            if not self.fill():
                raise EOFError(f"ended {count - len(self.buffer)} bytes early")
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def rest(self):
        while self.fill():
            pass
        data, self.buffer = self.buffer, b""
        return data


@dataclasses.dataclass
class Message:
    start: bytes
    fields: list
    body: bytes = b""
    trailers: list = dataclasses.field(default_factory=list)
    complete: bool = False
    delimited_by_close: bool = False

    def all(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def one(self, name):
        values = self.all(name)
        return values[0] if values else None

    def tokens(self, name):
        return [token.strip().lower() for value in self.all(name) for token in value.split(b",") if token.strip()]

    @property
    def status(self):
        return int(self.start.split(b" ")[1])

    @property
    def method(self):
        return self.start.split(b" ")[0]

    @property
    def target(self):
        return self.start.split(b" ")[1]

    @property
    def version(self):
        return self.start.split(b" ")[2]


def read_head(reader):
    lines = reader.until(b"\r\n\r\n").split(b"\r\n")
    return Message(lines[0], [field(line) for line in lines[1:]])


def field(line):
    name, colon, value = line.partition(b":")
    if not colon or not name or name != name.strip() or any(c in line for c in b"\r\n\0"):
        raise Malformed(f"field line {line!r}")
    return name, value.strip(b" \t")


def read_sized(reader, message):
    """The body that the fields announce; False when they announce none."""
    if message.all(b"transfer-encoding"):
        if message.tokens(b"transfer-encoding") != [b"chunked"] or message.all(b"content-length"):
            raise Malformed(f"framing {message.fields!r}")
        read_chunked(reader, message)
    elif message.all(b"content-length"):
        values = set(message.all(b"content-length"))
        if len(values) != 1 or not (value := values.pop()).isdigit():
            raise Malformed(f"content-length {message.all(b'content-length')!r}")
        message.body = reader.exactly(int(value))
    else:
        return False
    message.complete = True
    return True


def read_chunked(reader, message):
    while True:
        size = int(reader.until(b"\r\n").split(b";")[0], 16)
        if size == 0:
            break
        message.body += reader.exactly(size)
        if reader.exactly(2) != b"\r\n":
            raise Malformed("chunk without CRLF")
    while line := reader.until(b"\r\n"):
        message.trailers.append(field(line))


def read_request(reader, message):
    message.complete = read_sized(reader, message) or True


def read_response(reader, message, method):
    if message.status < 200 or message.status in (204, 304) or method == b"HEAD":
        message.complete = True
    elif not read_sized(reader, message):
        message.delimited_by_close = True
        message.body = reader.rest()
        message.complete = True


def close(connection):
    """Ends politely: what was written arrives even if unread bytes wait."""
    try:
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(0.2)
        while connection.recv(1 << 16):
            pass
    except OSError:
        pass
    connection.close()
