//! Escapes for what comes from the network, so that it can neither end a field nor drive a terminal.

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Inside a JSON string (RFC 8259 section 7). What is no UTF-8 becomes U+FFFD.
pub(super) fn json(text: &[u8], out: &mut Vec<u8>) {
    if text.iter().all(|byte| is_plain(*byte)) {
        return out.extend_from_slice(text);
    }
    for chunk in text.utf8_chunks() {
        chunk.valid().chars().for_each(|c| json_char(c, out));
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

fn json_char(c: char, out: &mut Vec<u8>) {
    match c {
        '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
        // JSON asks for this below 0x20 only; terminals obey DEL and the C1 range too.
        _ if c.is_control() => {
            let [high, low] = hex(c as u8);
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
        }
        _ => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Between double quotes in the combined format, as Apache does it.
pub(super) fn quoted(text: &[u8], out: &mut Vec<u8>) {
    bytes(text, is_plain, out);
}

/// In a field that ends at the next space.
pub(super) fn word(text: &[u8], out: &mut Vec<u8>) {
    bytes(text, |byte| is_plain(byte) && byte != b' ', out);
}

fn bytes(text: &[u8], is_plain: impl Fn(u8) -> bool, out: &mut Vec<u8>) {
    if text.iter().all(|byte| is_plain(*byte)) {
        return out.extend_from_slice(text);
    }
    for byte in text {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            byte if is_plain(*byte) => out.push(*byte),
            byte => {
                let [high, low] = hex(*byte);
                out.extend_from_slice(&[b'\\', b'x', high, low]);
            }
        }
    }
}

/// Stands for itself in both formats.
fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\'
}

fn hex(byte: u8) -> [u8; 2] {
    [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(escape: fn(&[u8], &mut Vec<u8>), text: &[u8]) -> String {
        let mut out = Vec::new();
        escape(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes_what_could_break_out() {
        let nasty = b"a\"b\\c\n\x1b[2J\x7f\xff \xc3\xa4\xc2\x9b";
        assert_eq!(escaped(json, nasty), "a\\\"b\\\\c\\u000a\\u001b[2J\\u007f\u{fffd} ä\\u009b");
        assert_eq!(escaped(quoted, nasty), r#"a\"b\\c\x0a\x1b[2J\x7f\xff \xc3\xa4\xc2\x9b"#);
        assert_eq!(escaped(word, b"two words"), r"two\x20words");
    }

    proptest! {
        #[test]
        fn json_reads_back_as_lossy_text(text: Vec<u8>) {
            let line = format!("\"{}\"", escaped(json, &text));
            let read: String = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(read, String::from_utf8_lossy(&text));
            prop_assert!(!line.chars().any(char::is_control));
        }

        #[test]
        fn combined_reads_back(text: Vec<u8>) {
            for escape in [quoted, word] {
                let line = escaped(escape, &text);
                prop_assert!(line.bytes().all(|b| matches!(b, b' '..=b'~')));
                prop_assert_eq!(unescape(line.as_bytes()), text.clone());
            }
            prop_assert!(!escaped(word, &text).contains(' '));
        }
    }

    /// Fails on a quote that stands without a backslash.
    fn unescape(text: &[u8]) -> Vec<u8> {
        let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
        match text {
            [] => Vec::new(),
            [b'\\', b'x', high, low, rest @ ..] => [vec![digit(*high) << 4 | digit(*low)], unescape(rest)].concat(),
            [b'\\', byte, rest @ ..] => [vec![*byte], unescape(rest)].concat(),
            [b'"', ..] => panic!("a bare quote"),
            [byte, rest @ ..] => [vec![*byte], unescape(rest)].concat(),
        }
    }
}
