"""An origin that records every byte and answers as the case at hand says."""

import socket
import threading
import time

from .message import Malformed, Reader, close, read_head, read_request

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


class Origin:
    """`answer`: bytes, sent once a request is complete and followed by a close; or a function of (connection, reader,
    request, number) that does what it likes as soon as a head has come. Then it must read the body itself."""

    def __init__(self, port=0):
        self.listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.active = 0
        self.reset()
        threading.Thread(target=self.accept, daemon=True).start()

    def reset(self, answer=OK):
        with self.lock:
            self.answer = answer
            self.requests = []
            self.broken = []

    def complete(self):
        return [request for request in self.requests if request.complete]

    def wait_for_requests(self, count, seconds=1.0):
        deadline = time.monotonic() + seconds
        while len(self.complete()) < count and time.monotonic() < deadline:
            time.sleep(0.005)

    def settle(self, seconds=2.0):
        """Waits until nobody is connected, so that what a case left behind is not taken for the next one's."""
        deadline, quiet = time.monotonic() + seconds, 0
        while quiet < 2 and time.monotonic() < deadline:
            quiet = 0 if self.active else quiet + 1
            time.sleep(0.01)

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            with self.lock:
                self.active += 1
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        reader = Reader(connection, 8)
        try:
            while self.one_request(connection, reader):
                pass
        except Malformed as error:
            self.broken.append(f"{error} in {reader.raw[:300]!r}")
        except (EOFError, ValueError, OSError):
            pass
        finally:
            close(connection)
            with self.lock:
                self.active -= 1

    def one_request(self, connection, reader):
        request = read_head(reader)
        requests = self.requests
        requests.append(request)
        answer = self.answer
        if callable(answer):
            return answer(connection, reader, request, len(requests))
        if b"100-continue" in request.tokens(b"expect"):
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        read_request(reader, request)
        connection.sendall(answer)
        # What is left was sent in one go with the request: if it is another request, somebody was fooled.
        return bool(reader.buffer)
