//! Heads and chunks as bytes. Names and values were checked when they were parsed.

use crate::head::{Block, BodyLength};

pub fn request_line(out: &mut Vec<u8>, method: &[u8], target: &[u8]) {
    out.extend_from_slice(method);
    out.push(b' ');
    out.extend_from_slice(target);
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// Always HTTP/1.1: the version is that of the sender (RFC 9110 section 6.2).
pub fn status_line(out: &mut Vec<u8>, status: u16, reason: &[u8]) {
    if status == 200 && (reason.is_empty() || reason == b"OK") {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    let reason = if reason.is_empty() { canonical_reason(status).as_bytes() } else { reason };
    out.extend_from_slice(b"HTTP/1.1 ");
    number(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

pub fn canonical_reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Unknown")
}

pub fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The field that frames the body, where there is one.
pub fn framing(out: &mut Vec<u8>, body: BodyLength) {
    match body {
        BodyLength::Known(length) => content_length(out, length),
        BodyLength::Streamed => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        BodyLength::None | BodyLength::UntilClose => {}
    }
}

pub fn content_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Length: ");
    number(out, length);
    out.extend_from_slice(b"\r\n");
}

pub fn end_of_head(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// The line in front of a chunk's data.
pub fn chunk_size(out: &mut Vec<u8>, length: usize) {
    let digits = (usize::BITS - length.leading_zeros()).div_ceil(4).max(1);
    for shift in (0..digits).rev() {
        out.push(b"0123456789abcdef"[length >> (shift * 4) & 0xf]);
    }
    out.extend_from_slice(b"\r\n");
}

pub const CHUNK_END: &[u8] = b"\r\n";
pub const LAST_CHUNK: &[u8] = b"0\r\n";

/// The last chunk and the trailer section (RFC 9112 section 7.1.2).
pub fn last_chunk(out: &mut Vec<u8>, trailers: Option<&Block>) {
    out.extend_from_slice(LAST_CHUNK);
    for trailer in trailers.into_iter().flat_map(Block::trailers) {
        field(out, trailer.name, trailer.value);
    }
    out.extend_from_slice(b"\r\n");
}

fn number(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_sizes_are_lower_case_hex() {
        for (length, text) in [(0, "0\r\n"), (1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (0xabcdef, "abcdef\r\n")] {
            let mut out = Vec::new();
            chunk_size(&mut out, length);
            assert_eq!(out, text.as_bytes());
        }
    }

    #[test]
    fn status_lines_get_a_reason() {
        for (status, reason, line) in [
            (200, "", "HTTP/1.1 200 OK\r\n"),
            (200, "Fine", "HTTP/1.1 200 Fine\r\n"),
            (404, "", "HTTP/1.1 404 Not Found\r\n"),
            (599, "", "HTTP/1.1 599 Unknown\r\n"),
        ] {
            let mut out = Vec::new();
            status_line(&mut out, status, reason.as_bytes());
            assert_eq!(out, line.as_bytes());
        }
    }
}
