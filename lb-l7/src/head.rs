//! A message head, whichever version of HTTP it came in: one buffer of bytes, and spans over it.
//!
//! HTTP/1 and HTTP/2 both end up here, so routing, header rules and logging exist once. A head is
//! reused from request to request; nothing here allocates once it is warm.

use std::ops::Range;

/// A piece of a [`Block`]'s bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    at: u32,
    len: u32,
}

impl Span {
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    pub fn new(range: Range<usize>) -> Self {
        // Heads are limited to 1 MiB, so both fit.
        Self { at: range.start as u32, len: (range.end - range.start) as u32 }
    }

    fn range(self) -> Range<usize> {
        self.at as usize..(self.at + self.len) as usize
    }
}

/// The field names that lb itself looks at; all others are [`Name::Other`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    Other,
    Connection,
    ContentLength,
    Date,
    Expect,
    Host,
    Http2Settings,
    KeepAlive,
    MaxForwards,
    ProxyConnection,
    Referer,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
    UserAgent,
    XForwardedFor,
    XForwardedHost,
    XForwardedProto,
}

impl Name {
    /// Of a token. Case does not matter.
    pub fn of(name: &[u8]) -> Self {
        let first = name.first().map_or(0, |b| b | 0x20);
        match (name.len(), first) {
            (2, _) => Name::Te.if_is(name, b"te"),
            (4, b'h') => Name::Host.if_is(name, b"host"),
            (4, _) => Name::Date.if_is(name, b"date"),
            (6, _) => Name::Expect.if_is(name, b"expect"),
            (7, b'u') => Name::Upgrade.if_is(name, b"upgrade"),
            (7, b'r') => Name::Referer.if_is(name, b"referer"),
            (7, _) => Name::Trailer.if_is(name, b"trailer"),
            (10, b'c') => Name::Connection.if_is(name, b"connection"),
            (10, b'k') => Name::KeepAlive.if_is(name, b"keep-alive"),
            (10, _) => Name::UserAgent.if_is(name, b"user-agent"),
            (12, _) => Name::MaxForwards.if_is(name, b"max-forwards"),
            (14, b'h') => Name::Http2Settings.if_is(name, b"http2-settings"),
            (14, _) => Name::ContentLength.if_is(name, b"content-length"),
            (15, _) => Name::XForwardedFor.if_is(name, b"x-forwarded-for"),
            (16, b'p') => Name::ProxyConnection.if_is(name, b"proxy-connection"),
            (16, _) => Name::XForwardedHost.if_is(name, b"x-forwarded-host"),
            (17, b't') => Name::TransferEncoding.if_is(name, b"transfer-encoding"),
            (17, _) => Name::XForwardedProto.if_is(name, b"x-forwarded-proto"),
            _ => Name::Other,
        }
    }

    /// The length is known here, so that this is two or three comparisons of words.
    fn if_is<const N: usize>(self, name: &[u8], known: &[u8; N]) -> Self {
        let Ok(name) = <&[u8; N]>::try_from(name) else { return Name::Other };
        // Of the bytes of a token, only letters become one of these.
        let differences = name.iter().zip(known).fold(0, |all, (byte, known)| all | ((byte | 0x20) ^ known));
        if differences == 0 { self } else { Name::Other }
    }

    /// Meant for one connection only (RFC 9110 section 7.6.1), or decided anew by lb on each side.
    pub fn is_hop_by_hop(self) -> bool {
        use Name::{Connection, Http2Settings, KeepAlive, ProxyConnection, Te, TransferEncoding, Upgrade};
        matches!(self, Connection | Http2Settings | KeepAlive | ProxyConnection | Te | TransferEncoding | Upgrade)
    }
}

#[derive(Debug, Clone, Copy)]
struct Line {
    id: Name,
    name: Span,
    value: Span,
}

/// One field of a block.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    pub id: Name,
    pub name: &'a [u8],
    pub value: &'a [u8],
}

/// Bytes, and the fields found in them.
#[derive(Debug, Default, Clone)]
pub struct Block {
    bytes: Vec<u8>,
    lines: Vec<Line>,
    /// One bit for each [`Name`] that a line has.
    present: u32,
    /// A Connection field names other fields.
    nominates: bool,
}

impl Block {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.lines.clear();
        self.present = 0;
        self.nominates = false;
    }

    /// Appends bytes that are no field (a method, a target); spans may point at them.
    pub fn push_bytes(&mut self, bytes: &[u8]) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        Span::new(start..self.bytes.len())
    }

    pub fn push_field(&mut self, name: &[u8], value: &[u8]) {
        let (name, value) = (self.push_bytes(name), self.push_bytes(value));
        self.push_span(name, value);
    }

    /// A field whose bytes are in the block already.
    pub fn push_span(&mut self, name: Span, value: Span) {
        let id = Name::of(&self.bytes[name.range()]);
        self.present |= 1 << id as u32;
        self.lines.push(Line { id, name, value });
    }

    pub fn bytes(&self, span: Span) -> &[u8] {
        &self.bytes[span.range()]
    }

    /// All of them, head line included.
    pub fn raw(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes that it occupies, used or not.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity() + self.lines.capacity() * size_of::<Line>()
    }

    /// For text that was checked to be ASCII when the head was made.
    pub fn text(&self, span: Span) -> &str {
        std::str::from_utf8(self.bytes(span)).unwrap_or("")
    }

    pub fn len(&self) -> usize {
        self.lines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        self.lines.iter().map(|line| Field {
            id: line.id,
            name: &self.bytes[line.name.range()],
            value: &self.bytes[line.value.range()],
        })
    }

    pub fn has(&self, id: Name) -> bool {
        self.present & (1 << id as u32) != 0
    }

    /// Where the values of all fields of that name are.
    pub fn spans(&self, id: Name) -> impl Iterator<Item = Span> {
        self.lines.iter().filter(move |line| line.id == id).map(|line| line.value)
    }

    /// The first field with that name.
    pub fn get(&self, id: Name) -> Option<&[u8]> {
        if self.has(id) { self.values(id).next() } else { None }
    }

    /// The values of all fields of that name.
    pub fn values(&self, id: Name) -> impl Iterator<Item = &[u8]> {
        self.spans(id).map(|span| self.bytes(span))
    }

    /// Is `token` a member of the comma-separated list in any field of that name?
    pub fn has_token(&self, id: Name, token: &[u8]) -> bool {
        self.has(id) && self.values(id).any(|value| members(value).any(|m| m.eq_ignore_ascii_case(token)))
    }

    /// Trailer fields that may go on: none that frames, routes or is for one connection only (RFC 9110 section 6.5.1).
    pub fn trailers(&self) -> impl Iterator<Item = Field<'_>> {
        self.fields().filter(|f| matches!(f.id, Name::Other | Name::Date))
    }

    /// Does a Connection field nominate this name for removal (RFC 9110 section 7.6.1)?
    pub fn nominates(&self, name: &[u8]) -> bool {
        self.nominates && self.has_token(Name::Connection, name)
    }

    /// Set by the parser, which has read the Connection fields.
    pub fn set_nominates(&mut self, nominates: bool) {
        self.nominates = nominates;
    }
}

/// Members of a comma-separated list, without the white space around them.
pub fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|b| *b == b',').map(<[u8]>::trim_ascii).filter(|m| !m.is_empty())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Version {
    Http10,
    #[default]
    Http11,
    Http2,
}

impl Version {
    pub fn as_str(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
            Version::Http2 => "HTTP/2",
        }
    }
}

/// The methods that lb treats in a way of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    Trace,
    Connect,
    Other,
}

impl Method {
    /// Methods are case-sensitive (RFC 9110 section 9.1).
    pub fn of(name: &[u8]) -> Self {
        match name {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"DELETE" => Method::Delete,
            b"OPTIONS" => Method::Options,
            b"TRACE" => Method::Trace,
            b"CONNECT" => Method::Connect,
            _ => Method::Other,
        }
    }

    /// RFC 9110 section 9.2.2.
    pub fn is_idempotent(self) -> bool {
        use Method::{Delete, Get, Head, Options, Put, Trace};
        matches!(self, Get | Head | Put | Delete | Options | Trace)
    }
}

/// How long a body is, decided once from the head (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BodyLength {
    #[default]
    None,
    Known(u64),
    /// Chunked in HTTP/1; frames until END_STREAM in HTTP/2.
    Streamed,
    /// Responses only: ends with the connection.
    UntilClose,
}

impl BodyLength {
    pub fn is_none(self) -> bool {
        matches!(self, BodyLength::None | BodyLength::Known(0))
    }
}

#[derive(Debug, Default, Clone)]
pub struct RequestHead {
    pub block: Block,
    pub version: Version,
    pub method: Method,
    pub method_name: Span,
    /// Origin form with the query, or `*`.
    pub target: Span,
    /// Host and port as the client named them; empty only in HTTP/1.0.
    pub authority: Span,
    pub body: BodyLength,
    /// The client's connection may be used again after this request.
    pub keep_alive: bool,
    /// The client asks to switch protocols (Connection and Upgrade agree).
    pub upgrade: Option<Span>,
    pub expects_continue: bool,
}

impl RequestHead {
    pub fn clear(&mut self) {
        let mut block = std::mem::take(&mut self.block);
        block.clear();
        *self = RequestHead { block, ..RequestHead::default() };
    }

    /// May it be sent twice without harm?
    pub fn is_idempotent(&self) -> bool {
        self.method.is_idempotent()
    }

    pub fn method_name(&self) -> &str {
        self.block.text(self.method_name)
    }

    pub fn target(&self) -> &[u8] {
        self.block.bytes(self.target)
    }

    pub fn authority(&self) -> &[u8] {
        self.block.bytes(self.authority)
    }

    /// The target up to its query.
    pub fn path(&self) -> &[u8] {
        self.path_and_query().0
    }

    /// The query with its `?`, or nothing.
    pub fn query(&self) -> &[u8] {
        self.path_and_query().1
    }

    fn path_and_query(&self) -> (&[u8], &[u8]) {
        let target = self.target();
        target.split_at(memchr::memchr(b'?', target).unwrap_or(target.len()))
    }
}

impl crate::route::RequestView for RequestHead {
    fn method(&self) -> &[u8] {
        self.block.bytes(self.method_name)
    }

    fn host(&self) -> &[u8] {
        self.block.bytes(self.authority)
    }

    fn path(&self) -> &[u8] {
        self.path()
    }

    fn header(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.block.fields().filter(move |f| f.name.eq_ignore_ascii_case(name.as_bytes())).map(|f| f.value)
    }
}

#[derive(Debug, Default, Clone)]
pub struct ResponseHead {
    pub block: Block,
    pub status: u16,
    /// As the backend wrote it; empty from HTTP/2.
    pub reason: Span,
    pub body: BodyLength,
    /// The backend's connection may be used again after this response.
    pub keep_alive: bool,
}

impl ResponseHead {
    pub fn clear(&mut self) {
        let mut block = std::mem::take(&mut self.block);
        block.clear();
        *self = ResponseHead { block, ..ResponseHead::default() };
    }

    /// 1xx other than 101: more heads follow.
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_recognised_whatever_their_case() {
        for (name, id) in [
            ("Connection", Name::Connection),
            ("content-length", Name::ContentLength),
            ("HTTP2-Settings", Name::Http2Settings),
            ("hOsT", Name::Host),
            ("TE", Name::Te),
            ("Proxy-Connection", Name::ProxyConnection),
            ("X-Forwarded-Proto", Name::XForwardedProto),
            ("X-Forwarded-Host", Name::XForwardedHost),
            ("Trailer", Name::Trailer),
            ("Max-Forwards", Name::MaxForwards),
            ("x-other", Name::Other),
            ("hosT2", Name::Other),
            ("", Name::Other),
        ] {
            assert_eq!(Name::of(name.as_bytes()), id, "{name}");
        }
    }

    #[test]
    fn a_list_has_members_without_white_space() {
        let mut block = Block::default();
        block.push_field(b"Connection", b"close, X-Secret ,,");
        block.set_nominates(true);
        assert!(block.nominates(b"x-secret"));
        assert!(!block.nominates(b"secret"));
        assert_eq!(members(b" a ,, b").collect::<Vec<_>>(), [b"a", b"b"]);
    }

    #[test]
    fn a_target_splits_into_path_and_query() {
        let mut head = RequestHead::default();
        head.target = head.block.push_bytes(b"/a/b?c=d?e");
        assert_eq!((head.path(), head.query()), (b"/a/b".as_slice(), b"?c=d?e".as_slice()));
    }
}
