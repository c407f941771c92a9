"""HPACK as the server decodes it: RFC 7541."""

from ..report import MUST, POLICY, SHOULD
from . import wire
from .expect import Table, answered, connection_error, require
from .wire import COMPRESSION_ERROR, PROTOCOL_ERROR, huffman_string, indexed, literal, string

REQUEST = wire.request()
BASE = indexed(2) + indexed(6) + indexed(4) + bytes([0x01]) + string(b"a.test")
"""GET, http, / from the static table; :authority as a literal with an indexed name."""


def cases():
    return good() + broken() + sizes()


def good():
    table = Table("7541 6 representations")

    def decoded(name, parts, section=None, **expected):
        """Each part is one request's block; the last request is looked at."""

        def run(connection, origin):
            for number, part in enumerate(parts):
                connection.send(wire.headers(2 * number + 1, part))
                answered(connection, 2 * number + 1)
            last = origin.complete()[-1]
            for key, value in expected.items():
                found = getattr(last, key) if key in ("target", "method") else last.one(key.replace("_", "-").encode())
                require(found == value, f"the origin's {key} is {found!r}")

        table.add(MUST, name, run, section=section)

    decoded("indexed fields", [BASE], target=b"/", method=b"GET", host=b"a.test")
    decoded("literal, without indexing", [BASE + literal(b"x-a", b"b")], x_a=b"b")
    decoded("literal, never indexed", [BASE + literal(b"x-a", b"b", 0x10)], x_a=b"b")
    decoded("literal, indexed, and used again", [BASE + literal(b"x-a", b"b", 0x40), BASE + indexed(62)], x_a=b"b")
    decoded(
        "indexed name with another value",
        [BASE + literal(b"x-a", b"b", 0x40), BASE + bytes([0x0F, 62 - 15]) + string(b"c")],
        x_a=b"c",
    )
    decoded(
        "two entries, the newest first",
        [BASE + literal(b"x-a", b"1", 0x40) + literal(b"x-b", b"2", 0x40), BASE + indexed(62) + indexed(63)],
        x_a=b"1",
        x_b=b"2",
    )
    decoded(
        "Huffman",
        [
            indexed(2)
            + indexed(6)
            + bytes([0x04])
            + huffman_string(b"/test/0123456789")
            + bytes([0x01])
            + string(b"a.test")
        ],
        target=b"/test/0123456789",
    )
    decoded("an empty Huffman string", [BASE + b"\0" + string(b"x-a") + b"\x80"], x_a=b"")
    decoded("a table size update at the start", [b"\x20" + BASE], target=b"/", section="7541 4.2 table size")
    decoded(
        "two table size updates at the start",
        [b"\x20" + wire.integer(4096, 5, 0x20) + BASE],
        target=b"/",
        section="7541 4.2 table size",
    )
    decoded(
        "the table is emptied by size 0",
        [BASE + literal(b"x-a", b"b", 0x40), b"\x20" + BASE + literal(b"x-c", b"d")],
        x_c=b"d",
        section="7541 4.2 table size",
    )
    decoded(
        "an integer with leading zeros in its continuation",
        [BASE + literal(b"x-a", b"b" * 200)],
        x_a=b"b" * 200,
        section="7541 5.1 integers",
    )
    return table.cases


def broken():
    table = Table("7541 errors")
    blocks = {
        "index 0": (indexed(0), "7541 6.1 indexed"),
        "an index beyond the tables": (indexed(62), "7541 2.3.3 index space"),
        "an index far beyond the tables": (indexed(1 << 20), "7541 2.3.3 index space"),
        "a name's index beyond the tables": (b"\x7f\x20" + string(b"b"), "7541 2.3.3 index space"),
        "an entry that was evicted": (literal(b"x-a", b"b", 0x40) + b"\x20" + indexed(62), "7541 4.2 table size"),
        "Huffman padding of more than seven bits": (
            b"\0" + string(b"x-a") + b"\x82" + wire.from_bits("00011" + "1" * 11),
            "7541 5.2 strings",
        ),
        "Huffman padding with zeros": (
            b"\0" + string(b"x-a") + b"\x81" + wire.from_bits("00011000"),
            "7541 5.2 strings",
        ),
        "EOS within a Huffman string": (b"\0" + string(b"x-a") + b"\x84" + b"\xff\xff\xff\xff", "7541 5.2 strings"),
        "a string longer than the block": (b"\0" + string(b"x-a") + b"\x7f\x80\x10abc", "7541 5.2 strings"),
        "a block that ends within a name": (b"\0\x05x-a", "7541 5.2 strings"),
        "a block that ends within an integer": (b"\xff\x80", "7541 5.1 integers"),
        "an integer that never ends": (b"\xff" + b"\x80" * 20 + b"\x01", "7541 5.1 integers"),
        "an integer over 64 bits": (b"\xff" + b"\xff" * 10 + b"\x7f", "7541 5.1 integers"),
        "a table size update over the limit": (b"", "7541 6.3 table size"),
    }
    for name, (block, section) in blocks.items():
        sent = BASE + block if block else wire.integer(1 << 20, 5, 0x20) + BASE
        table.breaks_connection(MUST, name, wire.headers(1, sent), COMPRESSION_ERROR, PROTOCOL_ERROR, section=section)
    table.breaks_connection(
        MUST,
        "a table size update behind a field",
        wire.headers(1, BASE + b"\x20"),
        COMPRESSION_ERROR,
        PROTOCOL_ERROR,
        section="7541 4.2 table size",
    )

    @table.case(MUST, "the code says COMPRESSION_ERROR", section="9113 4.3 field blocks")
    def the_code(connection, _origin):
        connection.send(wire.headers(1, REQUEST + indexed(70)))
        connection_error(connection, COMPRESSION_ERROR)

    return table.cases


def sizes():
    table = Table("9113 10.5.1 field block limits")

    @table.case(SHOULD, "a limit is announced")
    def announced(connection, _origin):
        require(wire.MAX_HEADER_LIST_SIZE in connection.settings, "no MAX_HEADER_LIST_SIZE")

    def too_large(connection, origin):
        block = wire.request(*((b"x-%d" % n, b"b" * 1000) for n in range(400)))
        parts = [block[n : n + 16_000] for n in range(0, len(block), 16_000)]
        connection.send(
            wire.headers(1, parts[0], wire.END_STREAM), *(wire.continuation(1, part, 0) for part in parts[1:-1])
        )
        connection.send(wire.continuation(1, parts[-1]))
        connection.wait(lambda: connection.over(1) or connection.status(1))
        refused = connection.status(1) in range(400, 500) or connection.closed or connection.over(1)
        require(refused and not origin.complete(), f"got {connection.story()}")

    table.add(MUST, "400 KiB of fields are refused", too_large)

    @table.case(POLICY, "3,000 fields get 431 or a reset")
    def many(connection, origin):
        connection.request(1, *((b"x-%d" % n, b"b") for n in range(3000)))
        connection.wait(lambda: connection.over(1) or connection.status(1))
        require(
            connection.status(1) in (400, 431) or connection.over(1) or connection.closed, f"got {connection.story()}"
        )
        require(not origin.complete(), "the origin got it")

    @table.case(POLICY, "a bomb: one large entry, referenced again and again")
    def bomb(connection, origin):
        block = BASE + literal(b"x-a", b"b" * 4000, 0x40) + indexed(62) * 10_000
        connection.send(wire.headers(1, block))
        connection.wait(lambda: connection.over(1) or connection.status(1))
        require(
            connection.status(1) in (400, 431) or connection.over(1) or connection.closed, f"got {connection.story()}"
        )
        require(not origin.complete(), "the origin got it")

    return table.cases
