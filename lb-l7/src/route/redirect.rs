//! `Location` values out of a template and what the client sent.

use lb_core::config;

/// A redirect with its template taken apart.
#[derive(Debug)]
pub struct Redirect {
    pub status: u16,
    location: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Literal(Box<[u8]>),
    FromRequest(Placeholder),
}

#[derive(Debug, Clone, Copy)]
enum Placeholder {
    Host,
    Path,
    Query,
}

const PLACEHOLDERS: [(&str, Placeholder); 3] =
    [("{host}", Placeholder::Host), ("{path}", Placeholder::Path), ("{query}", Placeholder::Query)];

impl Redirect {
    pub fn new(config: &config::Redirect) -> Self {
        Self { status: config.status, location: parse(&config.location) }
    }

    /// Appends the `Location` value. `host` is without port, `query` with its `?`, or empty.
    ///
    /// Whatever the client sent stays within the URI part that it fills: other bytes are percent-encoded, and a path
    /// that opens the value begins with one slash, as two would name a host (RFC 3986 section 4.2).
    pub fn location(&self, host: &[u8], path: &[u8], query: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        for part in &self.location {
            match part {
                Part::Literal(text) => out.extend_from_slice(text),
                Part::FromRequest(Placeholder::Host) => host.iter().for_each(|byte| push(*byte, is_host_byte, out)),
                Part::FromRequest(Placeholder::Path) => push_path(path, start, out),
                Part::FromRequest(Placeholder::Query) => query.iter().for_each(|byte| push(*byte, is_query_byte, out)),
            }
        }
    }
}

fn parse(template: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some((at, length, placeholder)) = first_placeholder(rest) {
        push_literal(&rest[..at], &mut parts);
        parts.push(Part::FromRequest(placeholder));
        rest = &rest[at + length..];
    }
    push_literal(rest, &mut parts);
    parts
}

/// Where it stands, and how long its name is.
fn first_placeholder(text: &str) -> Option<(usize, usize, Placeholder)> {
    PLACEHOLDERS.iter().filter_map(|(name, what)| Some((text.find(name)?, name.len(), *what))).min_by_key(|f| f.0)
}

/// The template is the operator's own text, yet a line break in it must not split the response either.
fn push_literal(text: &str, parts: &mut Vec<Part>) {
    if !text.is_empty() {
        let mut literal = Vec::with_capacity(text.len());
        text.bytes().for_each(|byte| push(byte, |b| b.is_ascii_graphic(), &mut literal));
        parts.push(Part::Literal(literal.into()));
    }
}

/// `start` is where the value begins in `out`.
fn push_path(path: &[u8], start: usize, out: &mut Vec<u8>) {
    let opens_value = out[start..].iter().all(|byte| *byte == b'/');
    let path = match path {
        b"*" => b"",
        _ if opens_value => trim_slashes(path),
        _ => path,
    };
    if !path.starts_with(b"/") && !out[start..].ends_with(b"/") {
        out.push(b'/');
    }
    path.iter().for_each(|byte| push(*byte, is_path_byte, out));
}

fn trim_slashes(path: &[u8]) -> &[u8] {
    let slashes = path.iter().take_while(|byte| **byte == b'/').count();
    &path[slashes..]
}

fn push(byte: u8, is_allowed: impl Fn(u8) -> bool, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if is_allowed(byte) {
        out.push(byte);
    } else {
        out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}

/// `unreserved`, `sub-delims` and `%` (RFC 3986 section 2).
fn is_plain_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(&byte)
}

fn is_host_byte(byte: u8) -> bool {
    is_plain_byte(byte) || matches!(byte, b'[' | b']' | b':')
}

fn is_path_byte(byte: u8) -> bool {
    is_plain_byte(byte) || matches!(byte, b'/' | b':' | b'@')
}

fn is_query_byte(byte: u8) -> bool {
    is_path_byte(byte) || byte == b'?'
}
