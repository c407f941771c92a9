//! Responses that lb makes itself.

use crate::access_log::{Fault, Side};
use crate::h1::{Reject, encode};
use crate::head::{BodyLength, ResponseHead};

/// A status, a short reason for the person who reads it, and whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub text: &'static str,
    pub fault: Fault,
    /// The connection cannot be read from any more.
    pub close: bool,
    /// The request broke the protocol or a limit of its head.
    pub malformed: bool,
}

impl Answer {
    pub const fn client(status: u16, text: &'static str, reason: &'static str) -> Self {
        Self { status, text, fault: Fault { side: Side::Client, reason }, close: false, malformed: false }
    }

    pub const fn backend(status: u16, text: &'static str, reason: &'static str) -> Self {
        Self { status, text, fault: Fault { side: Side::Backend, reason }, close: false, malformed: false }
    }

    pub const fn lb(status: u16, text: &'static str, reason: &'static str) -> Self {
        Self { status, text, fault: Fault { side: Side::Lb, reason }, close: false, malformed: false }
    }

    pub const fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    /// What is wrong with a request that was refused.
    pub fn rejected(reject: Reject) -> Self {
        let reason = match reject.status {
            414 => "uri_too_long",
            431 => "headers_too_large",
            501 => "not_implemented",
            505 => "version",
            405 => "method",
            _ => "bad_request",
        };
        Self { malformed: true, ..Self::client(reject.status, reject.reason, reason).closing() }
    }

    /// The head, and the body that goes with it.
    pub fn render(&self, head: &mut ResponseHead) -> String {
        let body = format!("{} {}: {}\n", self.status, encode::canonical_reason(self.status), self.text);
        fixed(head, self.status, b"text/plain; charset=utf-8", body.len());
        if self.status == 405 {
            allow(head);
        }
        body
    }
}

/// What may be asked here (RFC 9110 sections 10.2.1 and 15.5.6).
pub fn allow(head: &mut ResponseHead) {
    head.block.push_field(b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
}

/// The head of a response whose whole body is at hand.
pub fn fixed(head: &mut ResponseHead, status: u16, content_type: &[u8], length: usize) {
    head.clear();
    head.status = status;
    head.body = BodyLength::Known(length as u64);
    head.keep_alive = true;
    if length > 0 {
        head.block.push_field(b"Content-Type", content_type);
    }
    if status >= 400 {
        head.block.push_field(b"Cache-Control", b"no-store");
    }
}
