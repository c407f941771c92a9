"""A client's connection that sends anything and remembers what came."""

import socket
import struct
import time

from . import wire

SECONDS = 5


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.closed = False
        self.frames = []
        self.goaway = None
        self.resets = {}
        self.statuses = {}
        """Stream -> statuses of its header blocks, interim ones included."""
        self.blocks = {}
        self.bodies = {}
        self.ended = set()
        self.settings = {}
        self.settings_frames = 0
        self.acks = 0
        self.pongs = []
        self.window = 65_535
        """What the server grants for the whole connection."""
        self.auto_window = True

    def start(self, *pairs):
        """The preface. No dynamic table, so that responses can be read with little HPACK."""
        self.send(wire.PREFACE + wire.settings((wire.HEADER_TABLE_SIZE, 0), *pairs))
        return self

    def send(self, *parts):
        try:
            self.socket.settimeout(SECONDS)
            self.socket.sendall(b"".join(parts))
        except TimeoutError:
            raise
        except OSError:
            pass  # Closed by the server; what it said counts.

    def request(self, stream=1, *more, end=True, **pseudo):
        flags = wire.END_HEADERS | (wire.END_STREAM if end else 0)
        self.send(wire.headers(stream, wire.request(*more, **pseudo), flags))

    def wait(self, done, seconds=SECONDS):
        """Reads until `done()`, the end of the stream, or the deadline; says whether it is done."""
        deadline = time.monotonic() + seconds
        while not done():
            left = deadline - time.monotonic()
            if self.closed or left <= 0 or not self.read_frame(left):
                return bool(done())
        return True

    def read_frame(self, seconds):
        while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3], "big"):
            self.socket.settimeout(seconds)
            try:
                received = self.socket.recv(1 << 16)
            except TimeoutError:
                return False
            except OSError:
                received = b""
            if not received:
                self.closed = True
                return False
            self.buffer += received
        length, kind, flags = int.from_bytes(self.buffer[:3], "big"), self.buffer[3], self.buffer[4]
        stream = int.from_bytes(self.buffer[5:9], "big") & wire.LARGEST_WINDOW
        payload, self.buffer = self.buffer[9 : 9 + length], self.buffer[9 + length :]
        self.frames.append((kind, flags, stream, payload))
        HANDLERS.get(kind, lambda *_: None)(self, flags, stream, payload)
        return True

    def on_settings(self, flags, _stream, payload):
        if flags & wire.ACK:
            self.acks += 1
            return
        self.settings_frames += 1
        for start in range(0, len(payload), 6):
            key, value = struct.unpack(">HI", payload[start : start + 6])
            self.settings[key] = value
        self.send(wire.settings(flags=wire.ACK))

    def on_headers(self, flags, stream, payload):
        if flags & wire.PADDED:
            payload = payload[1 : len(payload) - payload[0]]
        if flags & wire.WITH_PRIORITY:
            payload = payload[5:]
        first_final = not any(status >= 200 for status in self.statuses.get(stream, []))
        if first_final:
            self.statuses.setdefault(stream, []).append(wire.status_of(payload))
        self.blocks.setdefault(stream, []).append(payload)
        self.end(flags, stream)

    def on_data(self, flags, stream, payload):
        size = len(payload)
        if flags & wire.PADDED:
            payload = payload[1 : len(payload) - payload[0]]
        self.bodies[stream] = self.bodies.get(stream, b"") + payload
        if self.auto_window and size:
            self.send(wire.window_update(0, size), wire.window_update(stream, size))
        self.end(flags, stream)

    def end(self, flags, stream):
        if flags & wire.END_STREAM:
            self.ended.add(stream)

    def on_rst_stream(self, _flags, stream, payload):
        self.resets[stream] = int.from_bytes(payload, "big")

    def on_goaway(self, _flags, _stream, payload):
        self.goaway = int.from_bytes(payload[4:8], "big")

    def on_ping(self, flags, _stream, payload):
        if flags & wire.ACK:
            self.pongs.append(payload)
        else:
            self.send(wire.ping(payload, wire.ACK))

    def on_window_update(self, _flags, stream, payload):
        if stream == 0:
            self.window += int.from_bytes(payload, "big")

    def status(self, stream):
        """Of the final response."""
        return next((status for status in self.statuses.get(stream, []) if status >= 200), None)

    def over(self, stream):
        return stream in self.ended or stream in self.resets or self.goaway not in (None, wire.NO_ERROR)

    def story(self):
        """What came, for a failed case's report."""
        parts = [f"stream {s}: {self.statuses[s]}" for s in self.statuses]
        parts += [f"reset {s} with {code}" for s, code in self.resets.items()]
        parts += [f"GOAWAY {self.goaway}"] if self.goaway is not None else []
        return ", ".join([*parts, "closed" if self.closed else "open"])

    def close(self):
        self.socket.close()


HANDLERS = {
    wire.DATA: Connection.on_data,
    wire.HEADERS: Connection.on_headers,
    wire.RST_STREAM: Connection.on_rst_stream,
    wire.SETTINGS: Connection.on_settings,
    wire.PING: Connection.on_ping,
    wire.GOAWAY: Connection.on_goaway,
    wire.WINDOW_UPDATE: Connection.on_window_update,
}
