"""A client that sends bytes as they are and reads what comes back."""

import dataclasses
import socket
import time

from .message import Malformed, Reader, read_head, read_response


@dataclasses.dataclass
class Pause:
    seconds: float


class AwaitInterim:
    """Waits until an interim response (1xx) has come."""


class HalfClose:
    """Sends FIN, keeps reading."""


@dataclasses.dataclass
class Result:
    interim: list = dataclasses.field(default_factory=list)
    finals: list = dataclasses.field(default_factory=list)
    closed: bool = False
    problem: str = None
    """Why what came is not a sequence of complete responses."""
    extra: bytes = b""
    """What came after the last expected response."""

    @property
    def statuses(self):
        return [final.status for final in self.finals]

    def __str__(self):
        parts = [f"{len(self.interim)} interim and" if self.interim else "", f"answers {self.statuses}"]
        parts += ["closed" if self.closed else "open"]
        parts += [f"({self.problem})"] if self.problem else []
        return " ".join(part for part in parts if part)


class Client:
    """One connection."""

    def __init__(self, port, seconds=5):
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = Reader(self.connection, seconds)
        self.result = Result()

    def exchange(self, steps, methods, expect_close):
        """Takes the steps, then reads one final response for each of `methods`, and looks whether the end follows."""
        try:
            for step in steps:
                self.take(step)
            for method in methods:
                self.read_final(method)
            self.look_for_end(expect_close)
        except TimeoutError:
            self.result.problem = "no more bytes within the time"
        except (EOFError, Malformed, ValueError, IndexError) as error:
            self.result.problem = str(error)
        self.result.closed = self.result.closed or self.reader.ended
        self.result.extra = self.reader.buffer
        self.connection.close()
        return self.result

    def take(self, step):
        try:
            if isinstance(step, bytes):
                self.connection.sendall(step)
            elif isinstance(step, Pause):
                time.sleep(step.seconds)
            elif step is HalfClose:
                self.connection.shutdown(socket.SHUT_WR)
            elif step is AwaitInterim:
                self.read_interim()
        except (BrokenPipeError, ConnectionResetError):
            pass  # The proxy may have answered and closed by now; what it said counts.

    def read_interim(self):
        message = read_head(self.reader)
        if message.status >= 200:
            raise Malformed(f"{message.status} where an interim response was due")
        self.result.interim.append(message)

    def read_final(self, method):
        while True:
            message = read_head(self.reader)
            if message.status >= 200 or message.status == 101:
                break
            self.result.interim.append(message)
        self.result.finals.append(message)
        if message.status != 101:
            read_response(self.reader, message, method)

    def look_for_end(self, expect_close):
        self.reader.seconds = 3 if expect_close else 0.03
        try:
            self.result.closed = not self.reader.fill()
        except TimeoutError:
            self.result.closed = False
