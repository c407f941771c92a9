//! As much of a response's head as the check needs: the status and the length of the body.

use anyhow::{Context, Result, bail};
use memchr::memmem;

#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    pub content_length: Option<u64>,
    /// Bytes of the body that came along with the head.
    pub body_received: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    Partial,
    Complete(Head),
}

pub fn parse(received: &[u8]) -> Result<Progress> {
    let Some(end) = memmem::find(received, b"\r\n\r\n") else { return Ok(Progress::Partial) };
    let head = &received[..end + 2];
    Ok(Progress::Complete(Head {
        status: status(head)?,
        content_length: content_length(head)?,
        body_received: (received.len() - end - 4) as u64,
    }))
}

fn status(head: &[u8]) -> Result<u16> {
    if !head.starts_with(b"HTTP/1.1 ") {
        bail!("not an HTTP/1.1 response");
    }
    number(head.get(9..12).context("short status line")?)
}

fn content_length(head: &[u8]) -> Result<Option<u64>> {
    const NAME: &[u8] = b"content-length:";
    head.split(|byte| *byte == b'\n')
        .find(|line| line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME))
        .map(|line| number(line[NAME.len()..].trim_ascii()))
        .transpose()
}

fn number<N: std::str::FromStr>(digits: &[u8]) -> Result<N> {
    std::str::from_utf8(digits)?.parse().ok().context("not a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_complete_at_its_empty_line() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-LENGTH: 5\r\n\r\nabc";
        let head = Head { status: 200, content_length: Some(5), body_received: 3 };
        assert_eq!(parse(bytes).unwrap(), Progress::Complete(head));
        assert_eq!(parse(&bytes[..36]).unwrap(), Progress::Partial);
    }

    #[test]
    fn what_is_no_response_is_an_error() {
        assert!(parse(b"SSH-2.0-x\r\n\r\n").is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\ncontent-length: five\r\n\r\n").is_err());
    }
}
