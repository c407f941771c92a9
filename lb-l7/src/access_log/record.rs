//! What is known of a request once it is over.

use std::net::SocketAddr;

/// One request. Byte strings are as the client sent them; formatting escapes them.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// When the request began, in milliseconds since the Unix epoch.
    pub unix_ms: u64,
    pub client: SocketAddr,
    pub frontend: &'a str,
    /// Counted from 1, in the order of the file.
    pub route: Option<usize>,
    pub pool: Option<&'a str>,
    /// The one that answered, or the last one that was tried.
    pub backend: Option<&'a str>,
    pub method: &'a [u8],
    pub host: &'a [u8],
    /// With its query.
    pub path: &'a [u8],
    /// `HTTP/1.1` or `HTTP/2`.
    pub protocol: &'static str,
    /// 0 where no response was begun.
    pub status: u16,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// To the end of the response.
    pub duration_us: u64,
    /// Spent waiting for a free slot of a backend.
    pub queue_us: Option<u64>,
    /// Spent on a new connection; `None` where a pooled one was there.
    pub connect_us: Option<u64>,
    /// From the request's start to the first byte of the backend's answer.
    pub first_byte_us: Option<u64>,
    pub retries: u32,
    /// Version of the client's TLS, as `TLSv1.3`.
    pub tls: Option<&'a str>,
    /// Empty where the client sent none.
    pub user_agent: &'a [u8],
    /// Empty where the client sent none.
    pub referer: &'a [u8],
    pub fault: Option<Fault>,
}

/// Which side failed, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    pub side: Side,
    /// One of a closed set of words, such as `connect_timeout`.
    pub reason: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Backend,
    /// The load balancer itself.
    Lb,
}

impl Side {
    pub fn as_str(self) -> &'static str {
        match self {
            Side::Client => "client",
            Side::Backend => "backend",
            Side::Lb => "lb",
        }
    }
}
