//! What two parsers could read differently is refused with 400 and the connection closed.

use crate::harness::{Lb, Origin, eventually};

const CONFIG: &str = "
frontends:
  web: { mode: http, listen: @web, pool: web }
pools:
  web: { backends: [@a] }
";

const SUSPICIOUS: [(&str, &str); 30] = [
    (
        "length and coding",
        "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("two lengths", "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    ("a list of lengths", "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1, 2\r\n\r\nab"),
    ("a signed length", "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: +1\r\n\r\na"),
    ("a negative length", "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: -1\r\n\r\na"),
    ("a length of letters", "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 0x1\r\n\r\na"),
    ("an empty length", "POST / HTTP/1.1\r\nHost: t\r\nContent-Length:\r\n\r\na"),
    ("a huge length", "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 18446744073709551616\r\n\r\na"),
    ("chunked is not last", "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
    (
        "chunked twice",
        "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("an unknown coding", "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("a coding in HTTP/1.0", "POST / HTTP/1.0\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("a bare LF in a field", "GET / HTTP/1.1\r\nHost: t\nX: y\r\n\r\n"),
    ("a bare LF at the end", "GET / HTTP/1.1\r\nHost: t\r\n\n"),
    ("a bare CR in a value", "GET / HTTP/1.1\r\nHost: t\r\nX: a\rb\r\n\r\n"),
    ("a bare CR in a name", "GET / HTTP/1.1\r\nHost: t\r\nX\r: a\r\n\r\n"),
    ("a folded field", "GET / HTTP/1.1\r\nHost: t\r\nX: a\r\n b\r\n\r\n"),
    ("a space before the colon", "GET / HTTP/1.1\r\nHost: t\r\nContent-Length : 0\r\n\r\n"),
    ("a space before the first field", "GET / HTTP/1.1\r\n Host: t\r\n\r\n"),
    ("a field without a name", "GET / HTTP/1.1\r\nHost: t\r\n: x\r\n\r\n"),
    ("a line without a colon", "GET / HTTP/1.1\r\nHost: t\r\nnonsense\r\n\r\n"),
    ("a NUL in a value", "GET / HTTP/1.1\r\nHost: t\r\nX: a\0b\r\n\r\n"),
    ("no Host", "GET / HTTP/1.1\r\nX: y\r\n\r\n"),
    ("two Hosts", "GET / HTTP/1.1\r\nHost: t\r\nHost: u\r\n\r\n"),
    ("a Host that is none", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    ("two spaces in the request line", "GET  / HTTP/1.1\r\nHost: t\r\n\r\n"),
    ("a tab in the request line", "GET\t/ HTTP/1.1\r\nHost: t\r\n\r\n"),
    ("a version without a dot", "GET / HTTP/11\r\nHost: t\r\n\r\n"),
    ("a target without a slash", "GET x HTTP/1.1\r\nHost: t\r\n\r\n"),
    ("a method of odd characters", "GE(T / HTTP/1.1\r\nHost: t\r\n\r\n"),
];

/// These are found out only after the head was good.
const BAD_CHUNKS: [(&str, &str); 7] = [
    ("no size", "\r\nabc\r\n0\r\n\r\n"),
    ("a signed size", "+3\r\nabc\r\n0\r\n\r\n"),
    ("a size with a prefix", "0x3\r\nabc\r\n0\r\n\r\n"),
    ("a size that overflows", "10000000000000003\r\nabc\r\n0\r\n\r\n"),
    ("a bare LF after the size", "3\nabc\r\n0\r\n\r\n"),
    ("a bare LF in an extension", "3;a=b\nx\r\nabc\r\n0\r\n\r\n"),
    ("data longer than the size", "3\r\nabcd\r\n0\r\n\r\n"),
];

#[test]
fn ambiguous_heads_are_refused_and_counted() {
    let origin = Origin::echo();
    let lb = Lb::start(CONFIG, &[("a", origin.addr)]);
    for (what, bytes) in SUSPICIOUS {
        let mut client = lb.client("web");
        // What follows would be the smuggled request.
        client.send(format!("{bytes}GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n"));
        let response = client.try_response("GET").unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(response.status, 400, "{what}");
        assert_eq!(response.get("connection"), Some("close"), "{what}");
        assert!(client.is_closed(), "{what}: the connection goes on");
    }
    assert!(origin.requests().is_empty(), "a backend saw {:?}", origin.requests());
    eventually("every one is counted", || {
        lb.metric("lb_frontend_bad_requests_total", &[("frontend", "web")]) == SUSPICIOUS.len() as f64
    });
}

#[test]
fn malformed_chunks_end_the_connection() {
    let origin = Origin::echo();
    let lb = Lb::start(CONFIG, &[("a", origin.addr)]);
    for (what, body) in BAD_CHUNKS {
        let mut client = lb.client("web");
        client.send(format!("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
        client.try_send("GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n").ok();
        let response = client.try_response("GET").unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(response.status, 400, "{what}");
        assert!(client.is_closed(), "{what}: the connection goes on");
    }
    assert!(origin.requests().is_empty(), "a backend saw {:?}", origin.requests());
}
