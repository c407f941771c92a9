//! How a request to a backend can fail, and whether it may be sent again.

use std::io;

use crate::h1::Reject;

#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct UpstreamError {
    pub kind: UpstreamErrorKind,
    pub processed: Processed,
}

/// May the backend have begun to act on the request?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Processed {
    No,
    Maybe,
}

#[derive(Debug, thiserror::Error)]
pub enum UpstreamErrorKind {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("no connection in time")]
    ConnectTimeout,
    #[error("TLS handshake: {0}")]
    Tls(io::Error),
    #[error("the backend does not offer HTTP/2")]
    Alpn,
    /// Down, or taken out, while we were connecting.
    #[error("the backend is no longer to be used")]
    WentAway,
    #[error("closed before a response")]
    Closed,
    #[error("lost before a response: {0}")]
    Io(io::Error),
    #[error("invalid response: {}", .0.reason)]
    Protocol(Reject),
    #[error("stream reset: {0}")]
    Reset(h2::Reason),
    #[error("no response in time")]
    ResponseTimeout,
}

impl UpstreamError {
    /// Before anything was sent.
    pub fn unsent(kind: UpstreamErrorKind) -> Self {
        Self { kind, processed: Processed::No }
    }

    pub fn sent(kind: UpstreamErrorKind) -> Self {
        Self { kind, processed: Processed::Maybe }
    }

    /// RFC 9113 section 8.7: a refused stream, and one above the last of a GOAWAY, was not processed.
    pub fn h2(error: &h2::Error) -> Self {
        match error.reason() {
            // `h2` tells only those streams of a backend's GOAWAY.
            _ if error.is_go_away() && error.is_remote() => Self::unsent(UpstreamErrorKind::Closed),
            Some(h2::Reason::REFUSED_STREAM) => Self::unsent(UpstreamErrorKind::Reset(h2::Reason::REFUSED_STREAM)),
            Some(reason) => Self::sent(UpstreamErrorKind::Reset(reason)),
            None => Self::sent(UpstreamErrorKind::Closed),
        }
    }

    /// The word for it in the access log.
    pub fn reason(&self) -> &'static str {
        match &self.kind {
            UpstreamErrorKind::Connect(e) if e.kind() == io::ErrorKind::ConnectionRefused => "connect_refused",
            UpstreamErrorKind::Connect(_) => "connect_failed",
            UpstreamErrorKind::ConnectTimeout => "connect_timeout",
            UpstreamErrorKind::Tls(_) => "tls_failed",
            UpstreamErrorKind::Alpn => "alpn_mismatch",
            UpstreamErrorKind::WentAway => "went_down",
            UpstreamErrorKind::Closed => "closed",
            UpstreamErrorKind::Io(_) => "connection_lost",
            UpstreamErrorKind::Protocol(_) => "protocol_error",
            UpstreamErrorKind::Reset(_) => "reset",
            UpstreamErrorKind::ResponseTimeout => "response_timeout",
        }
    }

    /// What the client is answered, where it was not retried.
    pub fn status(&self) -> u16 {
        match self.kind {
            UpstreamErrorKind::ConnectTimeout | UpstreamErrorKind::ResponseTimeout => 504,
            UpstreamErrorKind::WentAway => 503,
            _ => 502,
        }
    }

    /// We ran out of something; the backend is not to blame.
    pub fn is_ours(&self) -> bool {
        matches!(&self.kind, UpstreamErrorKind::Connect(e)
            if matches!(e.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::EADDRNOTAVAIL)))
    }
}
