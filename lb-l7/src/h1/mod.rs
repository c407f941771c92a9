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

/// Bytes at the front that can be of a token.
pub fn token_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|b| !TOKEN[*b as usize]).unwrap_or(bytes.len())
}

/// Bytes at the front that can be of a field value.
pub fn value_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    // Eight at a time, as long as all are printable ASCII or beyond; tabs are rare enough to be looked at singly.
    while let Some(eight) = bytes.get(at..at + 8).and_then(|b| b.try_into().ok()) {
        if has_control(u64::from_le_bytes(eight)) {
            break;
        }
        at += 8;
    }
    at + bytes[at..].iter().position(|b| !VALUE[*b as usize]).unwrap_or(bytes.len() - at)
}

/// Is any byte below 0x20, or 0x7f? May say yes where there is none, never no where there is one.
fn has_control(word: u64) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let below_space = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
    let delete = word ^ (ONES * 0x7f);
    let is_delete = delete.wrapping_sub(ONES) & !delete & HIGH;
    below_space | is_delete != 0
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

const TOKEN: [bool; 256] = letters_digits_and(b"!#$%&'*+-.^_`|~");

const fn letters_digits_and(marks: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut i = 0;
    while i < marks.len() {
        table[marks[i] as usize] = true;
        i += 1;
    }
    table
}

const VALUE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = byte == 0x09 || (byte >= 0x20 && byte != 0x7f);
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_value_ends_at_the_first_byte_that_cannot_be_of_it(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let expected = bytes.iter().position(|b| !VALUE[*b as usize]).unwrap_or(bytes.len());
            prop_assert_eq!(value_length(&bytes), expected);
        }

        #[test]
        fn long_values_of_any_printable_bytes_are_whole(bytes in prop::collection::vec(0x20u8..0x7f, 0..64)) {
            prop_assert_eq!(value_length(&bytes), bytes.len());
        }
    }
}
