"""Frames, and as much of HPACK as it takes: RFC 9113 section 4, RFC 7541."""

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20

(
    NO_ERROR,
    PROTOCOL_ERROR,
    INTERNAL_ERROR,
    FLOW_CONTROL_ERROR,
    SETTINGS_TIMEOUT,
    STREAM_CLOSED,
    FRAME_SIZE_ERROR,
    REFUSED_STREAM,
    CANCEL,
    COMPRESSION_ERROR,
    CONNECT_ERROR,
    ENHANCE_YOUR_CALM,
    INADEQUATE_SECURITY,
    HTTP_1_1_REQUIRED,
) = range(14)

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)

LARGEST_WINDOW = (1 << 31) - 1


def frame(kind, flags, stream, payload=b"", length=None):
    length = len(payload) if length is None else length
    return struct.pack(">I", length)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def settings(*pairs, flags=0, stream=0):
    return frame(SETTINGS, flags, stream, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def headers(stream, block, flags=END_STREAM | END_HEADERS):
    return frame(HEADERS, flags, stream, block)


def continuation(stream, block, flags=END_HEADERS):
    return frame(CONTINUATION, flags, stream, block)


def data(stream, payload=b"", flags=END_STREAM):
    return frame(DATA, flags, stream, payload)


def window_update(stream, increment):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def rst_stream(stream, code=CANCEL):
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def priority(stream, dependency=0, weight=15):
    return frame(PRIORITY, 0, stream, struct.pack(">IB", dependency, weight))


def ping(payload=b"12345678", flags=0, stream=0):
    return frame(PING, flags, stream, payload)


def goaway(last=0, code=NO_ERROR, debug=b"", stream=0):
    return frame(GOAWAY, 0, stream, struct.pack(">II", last, code) + debug)


def integer(value, bits, pattern=0):
    """RFC 7541 section 5.1."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes([pattern | value])
    out, value = bytearray([pattern | limit]), value - limit
    while value >= 128:
        out.append(value % 128 | 128)
        value //= 128
    return bytes(out) + bytes([value])


def string(text):
    return integer(len(text), 7) + text


def literal(name, value, pattern=0x00):
    """A literal field with a new name; the pattern 0x00 is `without indexing`, 0x10 `never indexed`, 0x40 `indexed`."""
    return bytes([pattern]) + string(name) + string(value)


def indexed(index):
    return integer(index, 7, 0x80)


def block(fields):
    return b"".join(literal(name, value) for name, value in fields)


def request(*more, method=b"GET", path=b"/", scheme=b"http", authority=b"a.test"):
    """Pseudo-header fields (those that are not None), then more fields."""
    pseudo = [(b":method", method), (b":scheme", scheme), (b":authority", authority), (b":path", path)]
    return block([*((name, value) for name, value in pseudo if value is not None), *more])


# RFC 7541 appendix B, as far as the suite encodes and decodes Huffman.
HUFFMAN = {
    b"0": "00000", b"1": "00001", b"2": "00010", b"a": "00011", b"c": "00100", b"e": "00101", b"i": "00110", b"o": "00111",
    b"s": "01000", b"t": "01001", b"/": "011000", b"3": "011001", b"4": "011010", b"5": "011011", b"6": "011100",
    b"7": "011101", b"8": "011110", b"9": "011111",
}  # fmt: skip
DIGITS = {code: symbol.decode() for symbol, code in HUFFMAN.items() if symbol.isdigit()}


def huffman_bits(text):
    return "".join(HUFFMAN[text[n : n + 1]] for n in range(len(text)))


def from_bits(bits):
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def huffman_string(text):
    bits = huffman_bits(text)
    coded = from_bits(bits + "1" * (-len(bits) % 8))
    return integer(len(coded), 7, 0x80) + coded


STATIC_STATUS = {8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500}


def status_of(block_):
    """`:status` stands first. The suite allows no dynamic table, so that it is the static one's or a literal."""
    while block_[0] & 0xE0 == 0x20:  # size updates come before it
        block_ = block_[1:]
    first = block_[0]
    if first & 0x80:
        return STATIC_STATUS[first & 0x7F]
    if first & 0x3F not in range(8, 15) and first & 0x0F not in range(8, 15):
        raise ValueError(f"no :status at the start of {block_[:16]!r}")
    length, value = block_[1] & 0x7F, block_[2:]
    return digits(value[:length]) if block_[1] & 0x80 else int(value[:length])


def digits(coded):
    bits, number, symbol = "".join(f"{byte:08b}" for byte in coded), "", ""
    for bit in bits:
        symbol += bit
        if symbol in DIGITS:
            number, symbol = number + DIGITS[symbol], ""
    return int(number)
