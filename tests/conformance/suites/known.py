"""Cases that lb does not pass today, and why. One that passes after all must leave this table."""

CODE = "the h2 crate closes with PROTOCOL_ERROR instead of the code that belongs to it"
CRATE = "the h2 crate drops them unseen"

KNOWN = {
    "9113 8.1 trailers: a pseudo-header field": CRATE,
    "9113 8.1 trailers: a whole request": CRATE,
    "9113 6.3 PRIORITY: of four bytes": CODE,
    "9113 6.4 RST_STREAM: of three bytes": CODE,
    "9113 6.5 SETTINGS: acknowledgement with a payload": CODE,
    "9113 6.5 SETTINGS: length that is no multiple of six": CODE,
    "9113 6.5.2 values: INITIAL_WINDOW_SIZE over 2^31 - 1": CODE,
    "9113 6.7 PING: of six bytes": CODE,
    "9113 6.8 GOAWAY: of four bytes": CODE,
    "9113 6.9 WINDOW_UPDATE: of three bytes": CODE,
    "9113 5.1 half-closed (remote): DATA is an error": CODE,
    "9113 5.1 half-closed (remote): HEADERS is an error": CODE,
    "9113 4.3 field blocks: the code says COMPRESSION_ERROR": CODE,
    "9113 10.3 intermediaries: a fragment in :path": "the http crate cuts it off",
}
