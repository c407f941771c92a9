//! HTTP/1.0 and HTTP/1.1 messages, without I/O: bytes in, heads and body pieces out (RFC 9112).
//!
//! The framing of a message is decided once, in [`parse`], from section 6 of the RFC; whatever two
//! parsers could read differently is refused there. [`encode`] writes only what was parsed.

pub mod chunked;
pub mod encode;
pub mod parse;
pub mod scan;

/// A message that is refused, and the answer that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reject {
    pub status: u16,
    pub reason: &'static str,
}

impl Reject {
    pub const fn bad(reason: &'static str) -> Self {
        Self { status: 400, reason }
    }
}

/// What one head may take.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    pub bytes: usize,
    pub fields: usize,
    pub target: usize,
}

/// Bytes of a token (RFC 9110 section 5.6.2).
pub fn is_token_byte(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// A token, and not empty.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|b| is_token_byte(*b))
}

/// Visible characters, white space and obs-text (RFC 9110 section 5.5): no control character, so
/// no CR, LF or NUL.
pub fn is_field_value(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| VALUE[*b as usize])
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric();
        byte += 1;
    }
    let marks = b"!#$%&'*+-.^_`|~";
    let mut i = 0;
    while i < marks.len() {
        table[marks[i] as usize] = true;
        i += 1;
    }
    table
};

const VALUE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = byte == 0x09 || (byte >= 0x20 && byte != 0x7f);
        byte += 1;
    }
    table
};
