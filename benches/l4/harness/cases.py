"""The cases of the price list: ns per packet, net of the harness."""

import dataclasses

K64 = 1 << 16
M1 = 1 << 20


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    title: str
    mode: str
    hook: str = "xdp"
    kind: str = "forward"
    """forward, reply, new (each packet opens a flow, in a table that starts empty) or flood (the same, table full)."""
    flows: int = 1
    """A power of two."""
    family: str = "v4"
    protocol: str = "tcp"
    one_armed: bool = False
    """Packets leave where they came in."""
    buckets: int = 1 << 10
    packets: int = M1
    """Of one measurement."""
    target: float = None

    def request(self, scale):
        fields = ("mode", "hook", "kind", "flows", "family", "protocol", "one_armed", "buckets")
        return {**{name: getattr(self, name) for name in fields}, "packets": max(int(self.packets * scale), 1)}


def half_full(flows, mode):
    """Buckets, of eight entries each, for a table that is half full: nat has two entries for a flow."""
    return flows // 4 * (2 if mode == "nat" else 1)


def many(mode, name, title, flows, **fields):
    return Case(f"{mode}-{name}", f"{mode}, {title}", mode, flows=flows, buckets=half_full(flows, mode), **fields)


def opening(mode, packets=200_000):
    """Fills less than half of the table in a measurement."""
    name, title = f"{mode}-new", f"{mode}, new flow with each packet"
    return Case(name, title, mode, kind="new", packets=packets, buckets=half_full(1 << 18, mode))


def flood(mode):
    return Case(f"{mode}-flood", f"{mode}, new flow, table full", mode, kind="flood", buckets=half_full(K64, mode))


CASES = [
    Case("dr-1", "dr, one flow", "dr", target=45),
    many("dr", "64k", "64k flows", K64, target=110),
    many("dr", "1m", "1M flows", M1),
    Case("dr-1-arm", "dr, one flow, sent back where it came in", "dr", one_armed=True),
    Case("dr-udp", "dr, one flow, UDP", "dr", protocol="udp"),
    Case("dr-v6", "dr, one flow, IPv6", "dr", family="v6"),
    opening("dr"),
    flood("dr"),
    Case("nat-1", "nat, one flow", "nat", target=55),
    many("nat", "64k", "64k flows", K64, target=110),
    many("nat", "1m", "1M flows", M1),
    Case("nat-reply", "nat, one flow, replies", "nat", kind="reply"),
    many("nat", "reply-64k", "64k flows, replies", K64, kind="reply"),
    Case("nat-udp", "nat, one flow, UDP", "nat", protocol="udp"),
    Case("nat-v6", "nat, one flow, IPv6", "nat", family="v6"),
    opening("nat"),
    flood("nat"),
    Case("tunnel-1", "tunnel, one flow", "tunnel"),
    Case("tc-dr", "dr on tc, one flow", "dr", hook="tc"),
    Case("tc-nat", "nat on tc, one flow", "nat", hook="tc"),
]

BY_NAME = {case.name: case for case in CASES}
