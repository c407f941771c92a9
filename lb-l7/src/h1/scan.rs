//! Finds the end of a head as its bytes come in, looking at each byte once.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::{HeadLimits, Reject, is_token_byte};

/// What ends a head. To prepare the search takes longer than to search one.
static END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));

/// Position in a head that is not complete yet.
#[derive(Debug, Default, Clone, Copy)]
pub struct HeadScan {
    /// Bytes looked at.
    seen: usize,
    /// Complete lines among them.
    lines: usize,
}

impl HeadScan {
    /// The length of the head with its empty line, once it is all there. `input` holds the same
    /// bytes as before, and more. It starts with the head line: empty lines before it are the
    /// caller's to skip (RFC 9112 section 2.2).
    pub fn find_end(&mut self, input: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Reject> {
        // One look for the usual case: all of it came at once. What is wrong inside is the parser's to find.
        let from = self.seen.saturating_sub(3);
        if let Some(offset) = END.find(&input[from..]) {
            let end = from + offset + 4;
            return if end > limits.bytes { Err(self.too_large(&input[..end])) } else { Ok(Some(end)) };
        }
        self.check_lines(input)?;
        self.seen = input.len();
        self.check_partial(input, limits).map(|()| None)
    }

    /// A head of bare LFs would never end.
    fn check_lines(&mut self, input: &[u8]) -> Result<(), Reject> {
        for offset in memchr::memchr_iter(b'\n', &input[self.seen..]) {
            let at = self.seen + offset;
            if at == 0 || input[at - 1] != b'\r' {
                return Err(Reject::bad("bare LF"));
            }
            self.lines += 1;
        }
        Ok(())
    }

    /// Refuses early what can only become an error, so that nobody waits for the rest of it.
    fn check_partial(&self, input: &[u8], limits: &HeadLimits) -> Result<(), Reject> {
        if self.lines == 0 {
            if input.first().is_some_and(|b| !is_token_byte(*b)) {
                return Err(Reject::bad("not HTTP"));
            }
            // Method and version take some bytes besides the target.
            if input.len() > limits.target + 64 {
                return Err(Reject { status: 414, reason: "URI too long" });
            }
        }
        if input.len() >= limits.bytes { Err(self.too_large(input)) } else { Ok(()) }
    }

    fn too_large(&self, input: &[u8]) -> Reject {
        if self.lines == 0 && memchr::memchr(b'\n', input).is_none() {
            Reject { status: 414, reason: "URI too long" }
        } else {
            Reject { status: 431, reason: "header section too large" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 256, fields: 10, target: 100 };

    fn whole(input: &[u8]) -> Result<Option<usize>, Reject> {
        HeadScan::default().find_end(input, &LIMITS)
    }

    #[test]
    fn finds_the_end_wherever_the_reads_were_cut() {
        let input = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        for cut in 1..27 {
            let mut scan = HeadScan::default();
            assert_eq!(scan.find_end(&input[..cut], &LIMITS), Ok(None), "{cut}");
            assert_eq!(scan.find_end(input, &LIMITS), Ok(Some(27)), "{cut}");
        }
    }

    #[test]
    fn a_bare_lf_is_refused_as_soon_as_it_comes() {
        assert_eq!(whole(b"GET / HTTP/1.1\n"), Err(Reject::bad("bare LF")));
        assert_eq!(whole(b"\n"), Err(Reject::bad("bare LF")));
    }

    #[test]
    fn limits_hold_before_the_head_is_complete() {
        assert_eq!(whole(&[b'a'; 170]).map_err(|r| r.status), Err(414));
        let long = [b"GET / HTTP/1.1\r\nA: ".as_slice(), &[b'x'; 300]].concat();
        assert_eq!(whole(&long).map_err(|r| r.status), Err(431));
        assert_eq!(whole(b"\x16\x03\x01").map_err(|r| r.status), Err(400));
    }
}
