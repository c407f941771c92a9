use super::*;

const LIMITS: HeadLimits = HeadLimits { bytes: 4096, fields: 8, target: 64 };

fn parse(text: &str) -> Result<RequestHead, Reject> {
    let mut head = RequestHead::default();
    request(text.as_bytes(), &LIMITS, &mut head).map(|()| head)
}

fn with(fields: &str) -> Result<RequestHead, Reject> {
    parse(&format!("POST /p?q HTTP/1.1\r\nHost: a.example:80\r\n{fields}\r\n"))
}

#[test]
fn a_plain_request() {
    let head = with("X-A:  b c\t\r\n").expect("valid");
    assert_eq!((head.method_name(), head.target()), ("POST", b"/p?q".as_slice()));
    assert_eq!(
        (head.authority(), head.version, head.body),
        (b"a.example:80".as_slice(), Version::Http11, BodyLength::None)
    );
    assert_eq!(head.block.fields().find(|f| f.name == b"X-A").map(|f| f.value), Some(b"b c".as_slice()));
    assert!(head.keep_alive && head.upgrade.is_none() && !head.expects_continue);
}

#[test]
fn framing_is_decided_once_or_refused() {
    for (fields, expected) in [
        ("Content-Length: 5\r\n", Ok(BodyLength::Known(5))),
        ("Transfer-Encoding: chunked\r\n", Ok(BodyLength::Streamed)),
        ("Transfer-Encoding: Chunked\r\n", Ok(BodyLength::Streamed)),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Err(400)),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", Err(400)),
        ("Content-Length: 5, 5\r\n", Err(400)),
        ("Content-Length: +5\r\n", Err(400)),
        ("Content-Length: 0x5\r\n", Err(400)),
        ("Content-Length: \r\n", Err(400)),
        ("Content-Length: 99999999999999999999\r\n", Err(400)),
        ("Transfer-Encoding: chunked, chunked\r\n", Err(400)),
        ("Transfer-Encoding: gzip, chunked\r\n", Err(501)),
        ("Transfer-Encoding: chunked, gzip\r\n", Err(400)),
        ("Transfer-Encoding: chunked,\r\n", Err(400)),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Err(400)),
        ("Transfer-Encoding: gzip\r\n", Err(400)),
        ("Transfer-Encoding: identity\r\n", Err(400)),
        ("Transfer-Encoding: \x0bchunked\r\n", Err(400)),
        ("Transfer-Encoding : chunked\r\n", Err(400)),
        (" Transfer-Encoding: chunked\r\n", Err(400)),
        ("A: b\r\n c\r\n", Err(400)),
        ("A: b\rc\r\n", Err(400)),
        ("A: b\0c\r\n", Err(400)),
        (": b\r\n", Err(400)),
        ("A\r\n", Err(400)),
        ("Host: a.example\r\n", Err(400)),
    ] {
        assert_eq!(with(fields).map(|h| h.body).map_err(|r| r.status), expected, "{fields:?}");
    }
}

#[test]
fn request_lines() {
    for (line, expected) in [
        ("GET / HTTP/1.1", Ok("/")),
        ("GET / HTTP/1.7", Ok("/")),
        ("OPTIONS * HTTP/1.1", Ok("*")),
        ("GET * HTTP/1.1", Err(400)),
        ("GET http://b.example/x HTTP/1.1", Ok("/x")),
        ("GET http://b.example?q HTTP/1.1", Ok("/?q")),
        ("OPTIONS http://b.example HTTP/1.1", Ok("*")),
        ("GET http:///x HTTP/1.1", Err(400)),
        ("GET ftp://b/x HTTP/1.1", Err(400)),
        ("GET http://u@b/x HTTP/1.1", Err(400)),
        ("CONNECT b.example:443 HTTP/1.1", Err(405)),
        ("GET / HTTP/2.0", Err(505)),
        ("GET / http/1.1", Err(400)),
        ("GET / HTTP/1.10", Err(400)),
        ("GET /", Err(400)),
        ("GET  / HTTP/1.1", Err(400)),
        ("GET /  HTTP/1.1", Err(400)),
        ("GET\t/ HTTP/1.1", Err(400)),
        ("GET /a b HTTP/1.1", Err(400)),
        ("GET /#f HTTP/1.1", Err(400)),
        ("GET /\u{e4} HTTP/1.1", Err(400)),
        ("G@T / HTTP/1.1", Err(400)),
        (" GET / HTTP/1.1", Err(400)),
    ] {
        let got = parse(&format!("{line}\r\nHost: a\r\n\r\n"));
        let got = got.as_ref().map(|h| h.block.text(h.target)).map_err(|r| r.status);
        assert_eq!(got, expected, "{line}");
    }
    assert_eq!(
        parse(&format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(64))).map_err(|r| r.status).err(),
        Some(414)
    );
}

#[test]
fn hosts() {
    for (host, ok) in [
        ("a.example", true),
        ("a:80", true),
        ("[::1]:80", true),
        ("[::1]", true),
        ("a:", true),
        ("1.2.3.4", true),
        ("", false),
        ("a b", false),
        ("a/b", false),
        ("u@a", false),
        ("a:b", false),
        ("[::1", false),
        ("a,b", true),
        ("a:123456", false),
    ] {
        assert_eq!(parse(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).is_ok(), ok, "{host}");
    }
    assert_eq!(parse("GET / HTTP/1.1\r\n\r\n").err(), Some(Reject::bad("missing Host")));
    assert!(parse("GET / HTTP/1.0\r\n\r\n").is_ok());
    assert_eq!(parse("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n").expect("valid").authority(), b"b");
}

#[test]
fn connection_options() {
    assert!(!with("Connection: close\r\n").expect("valid").keep_alive);
    assert!(!parse("GET / HTTP/1.0\r\n\r\n").expect("valid").keep_alive);
    assert!(parse("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").expect("valid").keep_alive);
    assert!(with("Expect: 100-continue\r\n").expect("valid").expects_continue);
    let upgrade = with("Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n").expect("valid");
    assert_eq!(upgrade.upgrade.map(|s| upgrade.block.text(s).to_owned()).as_deref(), Some("websocket"));
    assert!(with("Connection: upgrade\r\nUpgrade: h2c\r\n").expect("valid").upgrade.is_none());
    assert!(with("Upgrade: websocket\r\n").expect("valid").upgrade.is_none());
}

#[test]
fn too_many_fields() {
    assert_eq!(with(&"A: b\r\n".repeat(8)).map_err(|r| r.status).err(), Some(431));
}

#[test]
fn responses() {
    let parse = |text: &str, method| {
        let mut head = ResponseHead::default();
        response(text.as_bytes(), &LIMITS, method, &mut head).map(|()| (head.status, head.body, head.keep_alive))
    };
    use BodyLength::{Known, None, Streamed, UntilClose};
    for (text, method, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", Method::Get, Ok((200, Known(3), true))),
        ("HTTP/1.1 200\r\nContent-Length: 3\r\n\r\n", Method::Head, Ok((200, None, true))),
        ("HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n", Method::Get, Ok((200, Streamed, true))),
        ("HTTP/1.1 200 OK\r\n\r\n", Method::Get, Ok((200, UntilClose, false))),
        ("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n", Method::Get, Ok((200, Known(3), false))),
        ("HTTP/1.1 204 No\r\n\r\n", Method::Get, Ok((204, None, true))),
        ("HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n", Method::Get, Ok((304, None, true))),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\n", Method::Get, Ok((200, Known(3), false))),
    ] {
        assert_eq!(parse(text, method), expected, "{text:?}");
    }
    for text in [
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 O\x01K\r\n\r\n",
    ] {
        assert!(parse(text, Method::Get).is_err(), "{text:?}");
    }
}
