//! Heads between HTTP/2 and ours (RFC 9113 section 8.3).

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri};
use smallvec::SmallVec;

use crate::h1::parse::{decimal, is_authority};
use crate::h1::{HeadLimits, Reject, is_token};
use crate::head::{Block, BodyLength, Method, Name, RequestHead, ResponseHead, Span, Version};

/// Takes over a request; `ended` when no body follows. What HTTP/1 could not carry is refused, so
/// that nothing can be smuggled on the way down.
pub fn request(
    from: &Request<impl Sized>,
    ended: bool,
    limits: &HeadLimits,
    out: &mut RequestHead,
) -> Result<(), Reject> {
    out.clear();
    out.version = Version::Http2;
    out.keep_alive = true;
    let method = from.method().as_str().as_bytes();
    if !is_token(method) {
        return Err(Reject::bad("malformed method"));
    }
    out.method = Method::of(method);
    out.method_name = out.block.push_bytes(method);
    scheme(from.uri())?;
    target(from.uri(), limits, out)?;
    fields(from.headers(), limits, &mut out.block)?;
    authority(from.uri(), out)?;
    out.body = body_length(&out.block, ended)?;
    out.expects_continue = out.block.has_token(Name::Expect, b"100-continue");
    Ok(())
}

/// `h2` looks for a scheme, but takes an empty one (RFC 9113 section 8.3.1). Without :authority it leaves it out.
fn scheme(from: &Uri) -> Result<(), Reject> {
    if from.scheme_str() == Some("") { Err(Reject::bad("empty :scheme")) } else { Ok(()) }
}

fn target(from: &Uri, limits: &HeadLimits, out: &mut RequestHead) -> Result<(), Reject> {
    if out.method == Method::Connect {
        return Err(Reject { status: 405, reason: "CONNECT is not offered" });
    }
    let target = from.path_and_query().map_or("", |t| t.as_str()).as_bytes();
    if target.len() > limits.target {
        return Err(Reject { status: 414, reason: "URI too long" });
    }
    let known_form = target.first() == Some(&b'/') || (target == b"*" && out.method == Method::Options);
    if !known_form || !target.iter().all(|b| (0x21..0x7f).contains(b) && *b != b'#') {
        return Err(Reject::bad("malformed request target"));
    }
    out.target = out.block.push_bytes(target);
    Ok(())
}

/// Most of names and values was checked by `h2`; several Cookie fields become one (RFC 9113 section 8.2.3).
fn fields(from: &HeaderMap, limits: &HeadLimits, out: &mut Block) -> Result<(), Reject> {
    let cookies = from.get_all(http::header::COOKIE);
    let split_cookies = cookies.iter().nth(1).is_some();
    let mut bytes = 0;
    for (name, value) in from {
        bytes += name.as_str().len() + value.len() + 4;
        check_field(name, value)?;
        if !(split_cookies && name == http::header::COOKIE) {
            out.push_field(name.as_str().as_bytes(), value.as_bytes());
        }
    }
    if split_cookies {
        let joined = cookies.iter().map(|c| c.as_bytes()).collect::<Vec<_>>().join(b"; ".as_slice());
        out.push_field(b"cookie", &joined);
    }
    if out.len() > limits.fields {
        return Err(Reject { status: 431, reason: "too many header fields" });
    }
    if bytes > limits.bytes {
        return Err(Reject { status: 431, reason: "header section too large" });
    }
    Ok(())
}

/// What `h2` lets pass: blanks around a value (RFC 9113 section 8.2.1), and the one character of a name that is in no
/// token (RFC 9110 section 5.6.2).
pub fn check_field(name: &HeaderName, value: &HeaderValue) -> Result<(), Reject> {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let value = value.as_bytes();
    if is_blank(value.first()) || is_blank(value.last()) {
        return Err(Reject::bad("blanks around a field value"));
    }
    if name.as_str().contains('"') {
        return Err(Reject::bad("malformed field name"));
    }
    Ok(())
}

/// `:authority`, or Host where there is none; if both, they must agree (RFC 9113 section 8.3.1).
fn authority(from: &Uri, out: &mut RequestHead) -> Result<(), Reject> {
    let hosts: SmallVec<[Span; 2]> = out.block.spans(Name::Host).take(2).collect();
    if hosts.len() > 1 {
        return Err(Reject::bad("duplicate Host"));
    }
    let host = hosts.first().copied();
    let named = from.authority().map(|a| a.as_str().as_bytes());
    out.authority = match (named, host) {
        (Some(named), Some(host)) if !out.block.bytes(host).eq_ignore_ascii_case(named) => {
            return Err(Reject::bad("Host differs from :authority"));
        }
        (Some(named), _) => out.block.push_bytes(named),
        (None, Some(host)) => host,
        (None, None) => return Err(Reject::bad("missing :authority")),
    };
    if is_authority(out.block.bytes(out.authority)) { Ok(()) } else { Err(Reject::bad("malformed :authority")) }
}

fn body_length(block: &Block, ended: bool) -> Result<BodyLength, Reject> {
    let mut lengths = block.values(Name::ContentLength);
    let Some(length) = lengths.next() else {
        return Ok(if ended { BodyLength::None } else { BodyLength::Streamed });
    };
    let duplicate = lengths.next().is_some();
    match decimal(length).filter(|_| !duplicate) {
        // `h2` checks that the frames add up to it.
        Some(length) => Ok(BodyLength::Known(length)),
        None => Err(Reject::bad("malformed Content-Length")),
    }
}

/// Takes over a response to a request of that method; `ended` when no body follows.
pub fn response(
    from: &Response<impl Sized>,
    ended: bool,
    request: Method,
    out: &mut ResponseHead,
) -> Result<(), Reject> {
    out.clear();
    out.status = from.status().as_u16();
    if out.status == 101 {
        // RFC 9113 section 8.6.
        return Err(Reject::bad("101 over HTTP/2"));
    }
    for (name, value) in from.headers() {
        out.block.push_field(name.as_str().as_bytes(), value.as_bytes().trim_ascii());
    }
    out.keep_alive = true;
    out.body = match out.status {
        100..=199 | 204 | 304 => BodyLength::None,
        _ if request == Method::Head => BodyLength::None,
        _ if ended => BodyLength::Known(0),
        _ => body_length(&out.block, ended)?,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 1024, fields: 4, target: 64 };

    fn parse(builder: http::request::Builder, ended: bool) -> Result<RequestHead, Reject> {
        let mut head = RequestHead::default();
        request(&builder.body(()).expect("request"), ended, &LIMITS, &mut head).map(|()| head)
    }

    #[test]
    fn a_request_is_taken_over() {
        let builder = Request::get("https://a.example/p?q").header("cookie", "a=1").header("cookie", "b=2");
        let head = parse(builder, true).expect("valid");
        assert_eq!(
            (head.authority(), head.target(), head.body),
            (b"a.example".as_slice(), b"/p?q".as_slice(), BodyLength::None)
        );
        let cookies: Vec<_> = head.block.fields().map(|f| (f.name, f.value)).collect();
        assert_eq!(cookies, [(b"cookie".as_slice(), b"a=1; b=2".as_slice())]);
    }

    fn nameless_scheme() -> http::Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some("".parse().expect("known to pass"));
        parts.authority = Some("a.example".parse().expect("authority"));
        parts.path_and_query = Some("/".parse().expect("path"));
        http::Uri::from_parts(parts).expect("URI")
    }

    #[test]
    fn what_cannot_go_down_to_http1_is_refused() {
        for (builder, status) in [
            (Request::get("https://u@a.example/"), 400),
            (Request::get("https://a.example/").header("host", "b.example"), 400),
            (Request::get("/"), 400),
            (Request::get("https://a.example/").header("a", " x"), 400),
            (Request::get("https://a.example/").header("a", "x\t"), 400),
            (
                Request::get("https://a.example/")
                    .header(HeaderName::from_lowercase(b"a\"").expect("known to pass"), "x"),
                400,
            ),
            (Request::get(nameless_scheme()), 400),
            (Request::get("https://a.example/").header("content-length", "+1"), 400),
            (Request::get("https://a.example/").header("content-length", "1").header("content-length", "1"), 400),
            (Request::builder().method("CONNECT").uri("a.example:443"), 405),
            (Request::get(format!("https://a.example/{}", "x".repeat(64))), 414),
            (Request::get("https://a.example/").header("a", "x".repeat(1024)), 431),
            (
                Request::get("https://a.example/")
                    .header("a", "1")
                    .header("b", "1")
                    .header("c", "1")
                    .header("d", "1")
                    .header("e", "1"),
                431,
            ),
        ] {
            assert_eq!(parse(builder, false).map_err(|r| r.status).err(), Some(status));
        }
    }

    #[test]
    fn no_protocol_is_switched_to() {
        let response_of = |status: u16| {
            let from = Response::builder().status(status).body(()).expect("response");
            response(&from, true, Method::Get, &mut ResponseHead::default()).map_err(|r| r.reason)
        };
        assert_eq!([103, 101].map(response_of), [Ok(()), Err("101 over HTTP/2")]);
    }

    #[test]
    fn bodies_are_framed_by_length_or_by_frames() {
        assert_eq!(
            parse(Request::post("https://a/").header("content-length", "3"), false).expect("valid").body,
            BodyLength::Known(3)
        );
        assert_eq!(parse(Request::post("https://a/"), false).expect("valid").body, BodyLength::Streamed);
        assert_eq!(parse(Request::post("https://a/").header("host", "a"), true).expect("valid").body, BodyLength::None);
    }
}
