//! A complete head, checked and taken apart.

#[cfg(test)]
mod tests;

use super::{HeadLimits, Reject, is_field_value, is_token, letters_digits_and, token_length, value_length};
use crate::head::{Block, BodyLength, Method, Name, RequestHead, ResponseHead, Span, Version, members};

/// Reads a request head. `input` is exactly the head, with the empty line that ends it.
pub fn request(input: &[u8], limits: &HeadLimits, out: &mut RequestHead) -> Result<(), Reject> {
    out.clear();
    out.block.push_bytes(input);
    let (line, fields_at) = first_line(input)?;
    request_line(line, limits, out)?;
    fields(input, fields_at, limits, &mut out.block)?;
    request_host(out)?;
    request_body(out)?;
    request_connection(out)
}

/// Reads a response head to a request of that method.
pub fn response(input: &[u8], limits: &HeadLimits, request: Method, out: &mut ResponseHead) -> Result<(), Reject> {
    out.clear();
    out.block.push_bytes(input);
    let (line, fields_at) = first_line(input)?;
    let version = status_line(line, out)?;
    fields(input, fields_at, limits, &mut out.block)?;
    out.body = response_body(out, version, request)?;
    let options = connection_options(&mut out.block)?;
    out.keep_alive = out.body != BodyLength::UntilClose && options.keeps_alive(version);
    Ok(())
}

/// Trailer fields, with the empty line that ends them (RFC 9112 section 7.1.2).
pub fn trailers(input: &[u8], limits: &HeadLimits, out: &mut Block) -> Result<(), Reject> {
    out.clear();
    out.push_bytes(input);
    fields(input, 0, limits, out)
}

fn first_line(input: &[u8]) -> Result<(&[u8], usize), Reject> {
    let end = memchr::memchr(b'\r', input).ok_or(Reject::bad("no line"))?;
    if input.get(end + 1) != Some(&b'\n') {
        return Err(Reject::bad("bare CR"));
    }
    Ok((&input[..end], end + 2))
}

/// `METHOD SP target SP HTTP/d.d`, with single spaces (RFC 9112 section 3).
fn request_line(line: &[u8], limits: &HeadLimits, out: &mut RequestHead) -> Result<(), Reject> {
    let method_end = memchr::memchr(b' ', line).ok_or(Reject::bad("malformed request line"))?;
    let target_end = memchr::memrchr(b' ', line).filter(|end| *end > method_end);
    let target_end = target_end.ok_or(Reject::bad("malformed request line"))?;
    let method = &line[..method_end];
    if !is_token(method) || method.len() > 64 {
        return Err(Reject::bad("malformed method"));
    }
    out.version = request_version(&line[target_end + 1..])?;
    out.method = Method::of(method);
    out.method_name = Span::new(0..method_end);
    if target_end - method_end - 1 > limits.target {
        return Err(Reject { status: 414, reason: "URI too long" });
    }
    request_target(line, method_end + 1, target_end, out)
}

/// A higher minor version is treated as 1.1 (RFC 9110 section 2.5).
fn request_version(text: &[u8]) -> Result<Version, Reject> {
    match text {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor] if minor.is_ascii_digit() => Ok(Version::Http11),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            Err(Reject { status: 505, reason: "HTTP version not supported" })
        }
        _ => Err(Reject::bad("malformed version")),
    }
}

/// The four forms of RFC 9112 section 3.2.
fn request_target(line: &[u8], start: usize, end: usize, out: &mut RequestHead) -> Result<(), Reject> {
    let target = &line[start..end];
    if !target.iter().all(|b| (0x21..0x7f).contains(b) && *b != b'#') {
        return Err(Reject::bad("malformed request target"));
    }
    if out.method == Method::Connect {
        return Err(Reject { status: 405, reason: "CONNECT is not offered" });
    }
    match target {
        [b'/', ..] => out.target = Span::new(start..end),
        b"*" if out.method == Method::Options => out.target = Span::new(start..end),
        _ => absolute_form(target, start, out)?,
    }
    Ok(())
}

/// `http://host/path`: the host of the target counts, not the Host field (RFC 9112 section 3.2.2).
fn absolute_form(target: &[u8], start: usize, out: &mut RequestHead) -> Result<(), Reject> {
    let malformed = Reject::bad("malformed request target");
    let scheme = [b"http://".as_slice(), b"https://"]
        .iter()
        .find(|s| target.len() > s.len() && target[..s.len()].eq_ignore_ascii_case(s))
        .ok_or(malformed)?
        .len();
    let rest = &target[scheme..];
    let authority_end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    if authority_end == 0 || !is_authority(&rest[..authority_end]) {
        return Err(malformed);
    }
    let path_at = scheme + authority_end;
    out.authority = Span::new(start + scheme..start + path_at);
    out.target = match target.get(path_at) {
        // RFC 9112 section 3.2.4.
        None if out.method == Method::Options => out.block.push_bytes(b"*"),
        Some(b'/') => Span::new(start + path_at..start + target.len()),
        _ => {
            let path = [b"/".as_slice(), &target[path_at..]].concat();
            out.block.push_bytes(&path)
        }
    };
    Ok(())
}

/// Field lines up to the empty line (RFC 9112 section 5). Each byte is looked at once.
fn fields(input: &[u8], mut at: usize, limits: &HeadLimits, out: &mut Block) -> Result<(), Reject> {
    while input[at..] != *b"\r\n" {
        let colon = at + token_length(&input[at..]);
        match input.get(colon) {
            Some(b':') if colon > at => {}
            Some(b' ' | b'\t') if colon == at => return Err(Reject::bad("line folding")),
            Some(b' ' | b'\t') => return Err(Reject::bad("white space before colon")),
            _ => return Err(Reject::bad("malformed field name")),
        }
        let blanks = input[colon + 1..].iter().take_while(|b| is_blank(**b)).count();
        let start = colon + 1 + blanks;
        let end = start + value_length(&input[start..]);
        if input.get(end..end + 2) != Some(b"\r\n") {
            return Err(bad_value(input.get(end)));
        }
        let trailing = input[start..end].iter().rev().take_while(|b| is_blank(**b)).count();
        out.push_span(Span::new(at..colon), Span::new(start..end - trailing));
        if out.len() > limits.fields {
            return Err(Reject { status: 431, reason: "too many header fields" });
        }
        at = end + 2;
    }
    Ok(())
}

fn bad_value(stopped_at: Option<&u8>) -> Reject {
    match stopped_at {
        Some(b'\r') => Reject::bad("bare CR"),
        Some(b'\n') => Reject::bad("bare LF"),
        _ => Reject::bad("control character in field value"),
    }
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Exactly one valid Host, which only HTTP/1.0 may leave out (RFC 9112 section 3.2).
fn request_host(out: &mut RequestHead) -> Result<(), Reject> {
    let mut hosts = out.block.spans(Name::Host);
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Reject::bad("duplicate Host"));
    }
    let Some(host) = host else {
        return if out.version == Version::Http10 { Ok(()) } else { Err(Reject::bad("missing Host")) };
    };
    let value = out.block.bytes(host);
    if !value.is_empty() && !is_authority(value) {
        return Err(Reject::bad("malformed Host"));
    }
    if out.authority.is_empty() {
        if value.is_empty() && out.version != Version::Http10 {
            return Err(Reject::bad("empty Host"));
        }
        out.authority = host;
    }
    Ok(())
}

/// `host[:port]` without userinfo (RFC 3986 section 3.2).
pub fn is_authority(text: &[u8]) -> bool {
    let (host, port) = match text.iter().rposition(|b| *b == b':') {
        Some(at) if !text[at..].contains(&b']') => (&text[..at], &text[at + 1..]),
        _ => (text, [].as_slice()),
    };
    let host_ok = match host {
        [b'[', inner @ .., b']'] => {
            !inner.is_empty() && inner.iter().all(|b| b.is_ascii_hexdigit() || b":.".contains(b))
        }
        _ => !host.is_empty() && host.iter().all(|b| HOST[*b as usize]),
    };
    host_ok && port.len() <= 5 && port.iter().all(u8::is_ascii_digit)
}

/// unreserved, sub-delims and `%` (RFC 3986 section 3.2.2).
const HOST: [bool; 256] = letters_digits_and(b"-._~!$&'()*+,;=%");

/// RFC 9112 section 6.3, with everything that is ambiguous refused.
fn request_body(out: &mut RequestHead) -> Result<(), Reject> {
    let length = content_length(&out.block)?;
    out.body = match (is_chunked(&out.block)?, length) {
        (true, Some(_)) => return Err(Reject::bad("both Content-Length and Transfer-Encoding")),
        (true, None) if out.version == Version::Http10 => return Err(Reject::bad("Transfer-Encoding in HTTP/1.0")),
        (true, None) => BodyLength::Streamed,
        (false, Some(length)) => BodyLength::Known(length),
        (false, None) => BodyLength::None,
    };
    Ok(())
}

fn response_body(out: &ResponseHead, version: Version, request: Method) -> Result<BodyLength, Reject> {
    let length = content_length(&out.block)?;
    let chunked = is_chunked(&out.block)?;
    if chunked && length.is_some() {
        return Err(Reject::bad("both Content-Length and Transfer-Encoding"));
    }
    if chunked && version == Version::Http10 {
        return Err(Reject::bad("Transfer-Encoding in HTTP/1.0"));
    }
    Ok(match (out.status, length) {
        (100..=199 | 204 | 304, _) => BodyLength::None,
        _ if request == Method::Head => BodyLength::None,
        _ if chunked => BodyLength::Streamed,
        (_, Some(length)) => BodyLength::Known(length),
        (_, None) => BodyLength::UntilClose,
    })
}

/// One field with one number of digits only.
fn content_length(block: &Block) -> Result<Option<u64>, Reject> {
    if !block.has(Name::ContentLength) {
        return Ok(None);
    }
    let mut values = block.values(Name::ContentLength);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Reject::bad("duplicate Content-Length"));
    }
    decimal(value).map(Some).ok_or(Reject::bad("malformed Content-Length"))
}

pub fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    value.iter().try_fold(0u64, |sum, digit| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}

/// `chunked`, once and alone, is the only transfer coding there is (RFC 9112 sections 6.1 and 6.3).
fn is_chunked(block: &Block) -> Result<bool, Reject> {
    if !block.has(Name::TransferEncoding) {
        return Ok(false);
    }
    let mut fields = block.fields().filter(|f| f.id == Name::TransferEncoding);
    let Some(first) = fields.next() else { return Ok(false) };
    if fields.next().is_none() && first.value.eq_ignore_ascii_case(b"chunked") {
        return Ok(true);
    }
    let is_chunked = |m: &&[u8]| m.eq_ignore_ascii_case(b"chunked");
    let codings = || block.fields().filter(|f| f.id == Name::TransferEncoding).flat_map(|f| members(f.value));
    if !codings().last().is_some_and(|m| is_chunked(&m)) {
        return Err(Reject::bad("chunked is not the final transfer coding"));
    }
    if codings().filter(is_chunked).count() > 1 || !codings().all(is_token) || codings().count() == 1 {
        return Err(Reject::bad("malformed Transfer-Encoding"));
    }
    Err(Reject { status: 501, reason: "unknown transfer coding" })
}

/// Fields that a Connection field may nominate for removal: more is an attack on whoever compares them.
const MAX_NOMINATIONS: usize = 16;

/// What the Connection fields say, read once (RFC 9110 section 7.6.1).
#[derive(Default)]
struct ConnectionOptions {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
    nominations: usize,
}

fn connection_options(block: &mut Block) -> Result<ConnectionOptions, Reject> {
    let mut options = ConnectionOptions::default();
    if !block.has(Name::Connection) {
        return Ok(options);
    }
    for option in block.values(Name::Connection).flat_map(members) {
        match option {
            _ if option.eq_ignore_ascii_case(b"close") => options.close = true,
            _ if option.eq_ignore_ascii_case(b"keep-alive") => options.keep_alive = true,
            _ if option.eq_ignore_ascii_case(b"upgrade") => options.upgrade = true,
            _ => options.nominations += 1,
        }
    }
    if options.nominations > MAX_NOMINATIONS {
        return Err(Reject::bad("too many connection options"));
    }
    block.set_nominates(options.nominations > 0);
    Ok(options)
}

impl ConnectionOptions {
    fn keeps_alive(&self, version: Version) -> bool {
        if version == Version::Http10 { self.keep_alive && !self.close } else { !self.close }
    }
}

fn request_connection(out: &mut RequestHead) -> Result<(), Reject> {
    let options = connection_options(&mut out.block)?;
    out.keep_alive = options.keeps_alive(out.version);
    if out.version != Version::Http11 {
        return Ok(());
    }
    out.expects_continue = out.block.has_token(Name::Expect, b"100-continue");
    if options.upgrade && out.body.is_none() {
        out.upgrade = out.block.spans(Name::Upgrade).next().filter(|s| is_upgrade(out.block.bytes(*s)));
    }
    Ok(())
}

/// Upgrades to HTTP/2 are between a client and us, and not offered (RFC 9113 section 3.1).
fn is_upgrade(value: &[u8]) -> bool {
    !value.is_empty() && !members(value).any(|m| m.eq_ignore_ascii_case(b"h2c") || m.eq_ignore_ascii_case(b"h2"))
}

/// `HTTP/1.x SP ddd [SP reason]` (RFC 9112 section 4).
fn status_line(line: &[u8], out: &mut ResponseHead) -> Result<Version, Reject> {
    let malformed = Reject::bad("malformed status line");
    let version = match line.get(..9).ok_or(malformed)? {
        b"HTTP/1.1 " => Version::Http11,
        b"HTTP/1.0 " => Version::Http10,
        _ => return Err(malformed),
    };
    let digits = line.get(9..12).filter(|d| d.iter().all(u8::is_ascii_digit)).ok_or(malformed)?;
    out.status = digits.iter().fold(0, |sum, d| sum * 10 + u16::from(d - b'0'));
    if !(100..600).contains(&out.status) || !matches!(line.get(12), None | Some(b' ')) {
        return Err(malformed);
    }
    out.reason = Span::new(13.min(line.len())..line.len());
    if !is_field_value(&line[13.min(line.len())..]) {
        return Err(malformed);
    }
    Ok(version)
}
