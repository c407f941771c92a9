//! Which fields of a message go on to the other side, and which lb adds.

use http::{HeaderMap, HeaderValue, header};
use smallvec::SmallVec;

use crate::h1::{encode, parse};
use crate::head::{Method, Name, RequestHead, ResponseHead, Version};
use crate::http2::fields;
use crate::io::date;

/// Where fields are written to: an HTTP/1 head or an HTTP/2 header map.
pub trait FieldSink {
    fn field(&mut self, name: &[u8], value: &[u8]);

    /// Names us behind those that the message came through before (RFC 9110 section 7.6.3).
    fn via(&mut self, received: Version);
}

impl FieldSink for Vec<u8> {
    fn field(&mut self, name: &[u8], value: &[u8]) {
        encode::field(self, name, value);
    }

    fn via(&mut self, received: Version) {
        self.extend_from_slice(match received {
            Version::Http10 => b"Via: 1.0 lb\r\n",
            Version::Http11 => b"Via: 1.1 lb\r\n",
            Version::Http2 => b"Via: 2.0 lb\r\n",
        });
    }
}

impl FieldSink for HeaderMap {
    fn field(&mut self, name: &[u8], value: &[u8]) {
        fields::append(self, name, value);
    }

    fn via(&mut self, received: Version) {
        let value = match received {
            Version::Http10 => "1.0 lb",
            Version::Http11 => "1.1 lb",
            Version::Http2 => "2.0 lb",
        };
        self.append(header::VIA, HeaderValue::from_static(value));
    }
}

/// What a backend is told about the client's side, and of us.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The peer's IP address.
    pub client: &'a str,
    pub scheme: &'static str,
    /// The peer is a proxy whose X-Forwarded-* fields are believed.
    pub trusted: bool,
    /// The backend learns that the request came through us.
    pub via: bool,
}

/// Writes the fields that go on to a backend, but neither Host nor what frames the body.
pub fn request(head: &RequestHead, origin: Origin<'_>, sink: &mut impl FieldSink) {
    for field in head.block.fields() {
        match field.id {
            Name::Host | Name::ContentLength | Name::XForwardedFor => continue,
            Name::XForwardedHost | Name::XForwardedProto if !origin.trusted => continue,
            Name::MaxForwards if matches!(head.method, Method::Trace | Method::Options) => {
                max_forwards(field.value, sink);
                continue;
            }
            id if id.is_hop_by_hop() => continue,
            _ if head.block.nominates(field.name) => continue,
            Name::Other if !origin.trusted && is_disguised(field.name) => continue,
            _ => sink.field(field.name, field.value),
        }
    }
    forwarded(head, origin, sink);
    if origin.via {
        sink.via(head.version);
    }
}

/// Would the backend take it for a field that only a trusted proxy may send? Forwarded says the same as ours (RFC 7239),
/// and gateways in the manner of CGI cannot tell `_` from `-`.
fn is_disguised(name: &[u8]) -> bool {
    const OURS: [&[u8]; 5] =
        [b"forwarded", b"x_forwarded_for", b"x_forwarded_proto", b"x_forwarded_host", b"x_forwarded_port"];
    let folded = |b: &u8| if *b == b'-' { b'_' } else { b.to_ascii_lowercase() };
    matches!(name.first(), Some(b'x' | b'X' | b'f' | b'F'))
        && OURS.iter().any(|ours| ours.len() == name.len() && ours.iter().copied().eq(name.iter().map(folded)))
}

/// The X-Forwarded-* fields: appended to a trusted proxy's, else ours alone.
fn forwarded(head: &RequestHead, origin: Origin<'_>, sink: &mut impl FieldSink) {
    let known = |id| origin.trusted && head.block.has(id);
    if known(Name::XForwardedFor) {
        let mut value = SmallVec::<[u8; 128]>::new();
        for hops in head.block.fields().filter(|f| f.id == Name::XForwardedFor) {
            value.extend_from_slice(hops.value);
            value.extend_from_slice(b", ");
        }
        value.extend_from_slice(origin.client.as_bytes());
        sink.field(b"X-Forwarded-For", &value);
    } else {
        sink.field(b"X-Forwarded-For", origin.client.as_bytes());
    }
    if !known(Name::XForwardedProto) {
        sink.field(b"X-Forwarded-Proto", origin.scheme.as_bytes());
    }
    if !known(Name::XForwardedHost) && !head.authority.is_empty() {
        sink.field(b"X-Forwarded-Host", head.authority());
    }
}

/// One hop fewer (RFC 9110 section 7.6.2); lb answers at zero, see [`crate::proxy`].
fn max_forwards(value: &[u8], sink: &mut impl FieldSink) {
    match parse::decimal(value) {
        Some(hops) => sink.field(b"Max-Forwards", itoa::Buffer::new().format(hops.saturating_sub(1)).as_bytes()),
        None => sink.field(b"Max-Forwards", value),
    }
}

/// Writes the fields that go on to a client, but not what frames the body.
pub fn response(head: &ResponseHead, sink: &mut impl FieldSink) {
    let mut dated = false;
    for field in head.block.fields() {
        match field.id {
            Name::ContentLength => continue,
            id if id.is_hop_by_hop() => continue,
            _ if head.block.nominates(field.name) => continue,
            id => {
                dated |= id == Name::Date;
                sink.field(field.name, field.value);
            }
        }
    }
    if !dated && head.status >= 200 {
        // RFC 9110 section 6.6.1: whoever forwards a response without Date adds one.
        sink.field(b"Date", &date::current());
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;
    use crate::h1::HeadLimits;

    const LIMITS: HeadLimits = HeadLimits { bytes: 4096, fields: 50, target: 1024 };

    fn forwarded_request(fields: &str, trusted: bool) -> String {
        let mut head = RequestHead::default();
        let text = format!("GET / HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n");
        parse::request(text.as_bytes(), &LIMITS, &mut head).expect("valid");
        let mut out = Vec::new();
        request(&head, Origin { client: "192.0.2.1", scheme: "http", trusted, via: false }, &mut out);
        String::from_utf8(out).expect("text")
    }

    const OURS: &str = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a.example\r\n";

    #[test]
    fn what_is_for_one_connection_stays_there() {
        let sent = "Connection: close, X-Private\r\nX-Private: 1\r\nKeep-Alive: 5\r\nTE: gzip\r\nUpgrade: x\r\nProxy-Connection: y\r\nHTTP2-Settings: z\r\nAccept: */*\r\n";
        assert_eq!(forwarded_request(sent, false), format!("Accept: */*\r\n{OURS}"));
    }

    #[test]
    fn strangers_do_not_say_where_they_come_from() {
        let disguised = "X_Forwarded_For: 10.0.0.1\r\nX-Forwarded_Proto: https\r\nForwarded: for=10.0.0.1\r\n";
        assert_eq!(forwarded_request(disguised, false), OURS);
        let sent = "X-Forwarded-For: 10.0.0.1\r\nx-forwarded-proto: https\r\nX-Forwarded-Host: evil\r\n";
        assert_eq!(forwarded_request(sent, false), OURS);
        assert_eq!(
            forwarded_request(sent, true),
            "x-forwarded-proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-For: 10.0.0.1, 192.0.2.1\r\n"
        );
    }

    #[test]
    fn nobody_can_nominate_our_own_fields_away() {
        assert_eq!(forwarded_request("Connection: X-Forwarded-For, Host\r\n", false), OURS);
    }

    #[test]
    fn we_name_ourselves_behind_the_others() {
        for (version, ours) in [(Version::Http10, "1.0 lb"), (Version::Http11, "1.1 lb"), (Version::Http2, "2.0 lb")] {
            let mut head = RequestHead { version, ..RequestHead::default() };
            head.block.push_field(b"via", b"1.1 other");
            let origin = Origin { client: "192.0.2.1", scheme: "http", trusted: false, via: true };
            let (mut map, mut bytes) = (HeaderMap::new(), Vec::new());
            request(&head, origin, &mut map);
            request(&head, origin, &mut bytes);
            assert_eq!(map.get_all("via").iter().collect::<Vec<_>>(), ["1.1 other", ours]);
            assert!(bytes.ends_with(format!("Via: {ours}\r\n").as_bytes()));
        }
    }

    #[test]
    fn a_response_loses_what_is_for_one_connection_and_gets_a_date() {
        let mut head = ResponseHead::default();
        let text =
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x-a\r\nX-A: 1\r\nKeep-Alive: 5\r\nServer: s\r\n\r\n";
        parse::response(text, &LIMITS, Method::Get, &mut head).expect("valid");
        let mut out = HeaderMap::new();
        response(&head, &mut out);
        let names: Vec<_> = out.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["server", "date"]);
    }
}
