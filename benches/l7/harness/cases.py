"""The cases: what the generator sends, and how the peers' own users would tune for it."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    title: str
    body: int
    requests: int
    """Of one round."""
    connections: int = 64
    tls: bool = False
    close: bool = False
    """A new connection for every request."""
    h2_streams: int = 0
    """Streams at once on each connection; 0 is HTTP/1.1."""
    idle: bool = False
    """Connections that only wait; memory is what counts."""
    target: float = None
    """Highest ratio to the better peer's CPU that lb may have (KiB per connection where idle)."""
    informative: bool = False

    @property
    def path(self):
        return f"/{self.body}"

    @property
    def size(self):
        return "large" if self.body >= 1 << 20 else "medium" if self.body >= 16 << 10 else "small"


CASES = [
    Case("keepalive", "128 B keepalive", 128, 150_000, target=0.95),
    Case("16k", "16 KiB keepalive", 16 << 10, 100_000, target=0.95),
    Case("1m", "1 MiB keepalive", 1 << 20, 8_000, connections=16, target=1.0),
    Case("close", "new connection per request", 128, 60_000, close=True, target=1.0),
    Case("tls", "TLS keepalive, 128 B", 128, 120_000, tls=True, target=0.95),
    Case("tls-close", "new TLS connection per request", 128, 12_000, tls=True, close=True, target=1.0),
    Case("h2", "h2 over TLS, 10 x 32 streams", 128, 150_000, connections=10, tls=True, h2_streams=32, target=0.95),
    Case("idle", "10,000 idle connections", 128, 10_000, connections=10_000, idle=True, target=16),
    Case(
        "idle-tls", "5,000 idle TLS connections", 128, 5_000, connections=5_000, idle=True, tls=True, informative=True
    ),
]

BY_NAME = {case.name: case for case in CASES}
