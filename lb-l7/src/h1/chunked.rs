//! The chunked transfer coding (RFC 9112 section 7.1), decoded in place.

use super::{Reject, is_field_value, is_token_byte};

/// Bytes of size and extensions that one chunk may spend.
const MAX_CHUNK_LINE: usize = 1024;
/// Bytes of extensions that one body may spend.
const MAX_EXTENSIONS: usize = 16 * 1024;

/// Position in a chunked body.
#[derive(Debug, Clone)]
pub struct Decoder {
    state: State,
    /// Bytes of the chunk that are still to come.
    remaining: u64,
    line: usize,
    extensions: usize,
    trailers: Vec<u8>,
    max_trailers: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first digit of a size.
    Size,
    /// After at least one digit.
    MoreSize,
    /// White space after the size; only an extension or the line's end may follow.
    AfterSize,
    /// After `;`: white space, then a name.
    NameStart,
    Name,
    /// After `=`: white space, then a token or a quoted string.
    ValueStart,
    Value,
    Quoted,
    QuotedPair,
    /// A value is complete.
    AfterValue,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailers,
    Done,
}

/// What one call to [`Decoder::decode`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of input that were used up.
    pub consumed: usize,
    /// Bytes of body, moved to the front of the input.
    pub produced: usize,
}

impl Decoder {
    /// Trailer sections beyond `max_trailers` bytes are refused with 431.
    pub fn new(max_trailers: usize) -> Self {
        Self { state: State::Size, remaining: 0, line: 0, extensions: 0, trailers: Vec::new(), max_trailers }
    }

    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The trailer section with its empty line, as received; empty when there were no trailers.
    pub fn trailers(&self) -> &[u8] {
        if self.trailers == b"\r\n" { &[] } else { &self.trailers }
    }

    /// Decodes what is there, moving body bytes together at the front of `input`.
    pub fn decode(&mut self, input: &mut [u8]) -> Result<Progress, Reject> {
        let mut at = 0;
        let mut produced = 0;
        while at < input.len() && self.state != State::Done {
            match self.state {
                State::Data => {
                    let length = usize::try_from(self.remaining).map_or(input.len() - at, |r| r.min(input.len() - at));
                    if at != produced {
                        input.copy_within(at..at + length, produced);
                    }
                    at += length;
                    produced += length;
                    self.remaining -= length as u64;
                    if self.remaining == 0 {
                        self.state = State::DataCr;
                    }
                }
                State::Trailers => at += self.trailer_bytes(&input[at..])?,
                _ => {
                    self.framing_byte(input[at])?;
                    at += 1;
                }
            }
        }
        Ok(Progress { consumed: at, produced })
    }

    fn framing_byte(&mut self, byte: u8) -> Result<(), Reject> {
        use State::{AfterSize, AfterValue, DataCr, DataLf, MoreSize, Name, Size, SizeLf};
        self.count()?;
        self.state = match (self.state, byte) {
            (Size | MoreSize, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.digit(byte)?,
            (MoreSize | AfterSize, b' ' | b'\t') => AfterSize,
            (MoreSize | AfterSize | Name | State::Value | AfterValue, b';') => State::NameStart,
            (MoreSize | Name | State::Value | AfterValue, b'\r') => SizeLf,
            (SizeLf, b'\n') => self.begin_chunk(),
            (DataCr, b'\r') => DataLf,
            (DataLf, b'\n') => self.next_chunk(),
            (state, _) => extension(state, byte)?,
        };
        Ok(())
    }

    /// Framing is bounded, in each chunk and over the body: it is paid for, and not forwarded.
    fn count(&mut self) -> Result<(), Reject> {
        self.line += 1;
        if !matches!(self.state, State::Size | State::MoreSize | State::SizeLf | State::DataCr | State::DataLf) {
            self.extensions += 1;
        }
        if self.line > MAX_CHUNK_LINE || self.extensions > MAX_EXTENSIONS {
            return Err(Reject::bad("chunk extensions too long"));
        }
        Ok(())
    }

    fn digit(&mut self, byte: u8) -> Result<State, Reject> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            _ => (byte | 0x20) - b'a' + 10,
        };
        // 2^59 and more is nobody's chunk, but what another parser might wrap around.
        if self.line > 16 || self.remaining >> 55 != 0 {
            return Err(Reject::bad("chunk size too large"));
        }
        self.remaining = self.remaining << 4 | u64::from(digit);
        Ok(State::MoreSize)
    }

    fn begin_chunk(&mut self) -> State {
        self.line = 0;
        if self.remaining == 0 { State::Trailers } else { State::Data }
    }

    fn next_chunk(&mut self) -> State {
        self.line = 0;
        State::Size
    }

    /// Collects the trailer section up to its empty line; its fields are checked by the caller.
    fn trailer_bytes(&mut self, input: &[u8]) -> Result<usize, Reject> {
        for (i, byte) in input.iter().enumerate() {
            self.trailers.push(*byte);
            if *byte == b'\n' && !self.trailers.ends_with(b"\r\n") {
                return Err(Reject::bad("bare LF"));
            }
            if self.trailers.len() > self.max_trailers {
                return Err(Reject { status: 431, reason: "trailer section too large" });
            }
            if self.trailers == b"\r\n" || self.trailers.ends_with(b"\r\n\r\n") {
                self.state = State::Done;
                return Ok(i + 1);
            }
        }
        Ok(input.len())
    }
}

/// `;name`, `;name=token` or `;name="quoted"` (RFC 9112 section 7.1.1).
fn extension(state: State, byte: u8) -> Result<State, Reject> {
    use State::{AfterValue, Name, NameStart, Quoted, QuotedPair, Value, ValueStart};
    match (state, byte) {
        (NameStart | ValueStart, b' ' | b'\t') => Ok(state),
        (NameStart | Name, _) if is_token_byte(byte) => Ok(Name),
        (Name, b'=') => Ok(ValueStart),
        (ValueStart, b'"') => Ok(Quoted),
        (ValueStart | Value, _) if is_token_byte(byte) => Ok(Value),
        (Quoted, b'"') => Ok(AfterValue),
        (Quoted, b'\\') => Ok(QuotedPair),
        (Quoted | QuotedPair, _) if is_field_value(&[byte]) => Ok(Quoted),
        _ => Err(Reject::bad("malformed chunk")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Body, trailers and the rest of the input, when all of it came in pieces of `step` bytes.
    fn decode(input: &[u8], step: usize) -> Result<(Vec<u8>, Vec<u8>, usize), Reject> {
        let mut decoder = Decoder::new(256);
        let mut body = Vec::new();
        let mut used = 0;
        for piece in input.chunks(step) {
            let mut piece = piece.to_vec();
            let progress = decoder.decode(&mut piece)?;
            body.extend_from_slice(&piece[..progress.produced]);
            used += progress.consumed;
        }
        assert!(decoder.is_done(), "incomplete");
        Ok((body, decoder.trailers().to_vec(), used))
    }

    #[test]
    fn bodies_come_out_whole_however_they_are_cut() {
        let input = b"4\r\nWiki\r\n00A;x;y=z;q=\"a\\\"b\"\r\n0123456789\r\n0\r\n\r\nGET";
        for step in 1..=input.len() {
            let decoded = decode(&input[..input.len() - 3], step).expect("valid");
            assert_eq!(decoded.0, b"Wiki0123456789");
            assert!(decoded.1.is_empty());
        }
        assert_eq!(decode(input, input.len()).expect("valid").2, input.len() - 3);
    }

    #[test]
    fn trailers_are_kept() {
        let input = b"1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\n";
        for step in 1..=input.len() {
            assert_eq!(decode(input, step).expect("valid").1, b"A: b\r\nC: d\r\n\r\n");
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for input in [
            "\r\n",
            "g\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            " 1\r\n",
            "1 \r\nx\r\n",
            "1\nx",
            "1\rx",
            "1\r\nxy\r\n",
            "1\r\nx\n",
            "1\r\nx0\r\n",
            "10000000000000000\r\n",
            "fffffffffffffffff\r\n",
            "ffffffffffffffff\r\n",
            "1;\r\n",
            "1;a=\r\n",
            "1;=a\r\n",
            "1;a=\"b\r\n",
            "1;a b\r\n",
            "1;a=\"b\"c\r\n",
            "1;a\n",
            "1,1\r\n",
            "1;a\0\r\n",
            "0\r\nA: b\n\r\n",
        ] {
            let mut bytes = input.as_bytes().to_vec();
            assert!(Decoder::new(64).decode(&mut bytes).is_err(), "{input:?}");
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let mut long = format!("1;{}\r\n", "a".repeat(2000)).into_bytes();
        assert!(Decoder::new(64).decode(&mut long).is_err());
        let mut many = format!("1;{}\r\nx\r\n", "a".repeat(900)).repeat(20).into_bytes();
        assert!(Decoder::new(64).decode(&mut many).is_err());
        let mut trailers = format!("0\r\nA: {}\r\n\r\n", "b".repeat(100)).into_bytes();
        assert_eq!(Decoder::new(64).decode(&mut trailers).map_err(|r| r.status), Err(431));
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..6), step in 1usize..50) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            prop_assert_eq!(decode(&wire, step).expect("valid").0, chunks.concat());
        }

        #[test]
        fn garbage_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Decoder::new(64).decode(&mut bytes);
        }
    }
}
