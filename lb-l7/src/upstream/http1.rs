//! One HTTP/1.1 connection to a backend, and the exchange on it.

use super::connect::{Counted, Opened};
use super::error::{UpstreamError, UpstreamErrorKind};
use crate::h1::scan::HeadScan;
use crate::h1::{HeadLimits, Reject, encode, parse};
use crate::head::{Block, BodyLength, Method, Name, RequestHead, ResponseHead};
use crate::io::message::{BodyState, Framing, HeadError, Inbox, MessageSink, MessageSource, receive_head};
use crate::io::transport::Transport;
use crate::proxy::headers::{self, Origin};

/// What a backend may spend on one head.
const LIMITS: HeadLimits = HeadLimits { bytes: 64 * 1024, fields: 200, target: 8192 };

#[derive(Debug)]
pub struct H1Link {
    transport: Transport,
    _counted: Counted,
    inbox: Inbox,
    body: BodyState,
    trailers: Block,
    out: Vec<u8>,
    framing: Framing,
    method: Method,
    upgrade: bool,
    untouched: bool,
}

impl H1Link {
    pub fn new(opened: Opened) -> Self {
        Self {
            transport: opened.transport,
            _counted: opened.counted,
            inbox: Inbox::default(),
            body: BodyState::Done,
            trailers: Block::default(),
            out: Vec::new(),
            framing: Framing::Raw,
            method: Method::Get,
            upgrade: false,
            untouched: true,
        }
    }

    /// Closed by the backend, or it spoke without being asked: not to be used again.
    pub fn has_news(&self) -> bool {
        !self.inbox.is_empty() || self.transport.has_news()
    }

    /// Stages the head of a request.
    pub fn begin(&mut self, head: &RequestHead, origin: Origin<'_>, authority: &[u8]) {
        let out = &mut self.out;
        out.clear();
        out.reserve(head.block.raw().len() + 160);
        encode::request_line(out, head.block.bytes(head.method_name), head.target());
        encode::field(out, b"Host", authority);
        headers::request(head, origin, out);
        encode::framing(out, head.body);
        if head.block.has_token(Name::Te, b"trailers") {
            out.extend_from_slice(b"TE: trailers\r\nConnection: TE\r\n");
        }
        if let Some(protocol) = head.upgrade {
            out.extend_from_slice(b"Connection: Upgrade\r\n");
            encode::field(out, b"Upgrade", head.block.bytes(protocol));
        }
        encode::end_of_head(out);
        self.framing = if head.body == BodyLength::Streamed { Framing::Chunked } else { Framing::Raw };
        self.method = head.method;
        self.upgrade = head.upgrade.is_some();
    }

    pub fn split(&mut self) -> (MessageSink<'_>, H1Receiver<'_>) {
        let sink = MessageSink { transport: &self.transport, out: &mut self.out, framing: self.framing, sent: 0 };
        let receiver = H1Receiver {
            method: self.method,
            upgrade: self.upgrade,
            source: MessageSource {
                transport: &self.transport,
                inbox: &mut self.inbox,
                state: &mut self.body,
                trailers: &mut self.trailers,
                limits: LIMITS,
                untouched: &mut self.untouched,
            },
        };
        (sink, receiver)
    }

    /// After a switch of protocols: the bare connection, and what came behind the head.
    pub fn raw(&mut self) -> (&Transport, &mut Inbox) {
        (&self.transport, &mut self.inbox)
    }

    /// Can another request follow on this connection?
    pub fn is_reusable(&mut self, head: &ResponseHead) -> bool {
        let clean = head.keep_alive && self.body.is_done() && self.inbox.is_empty() && self.out.is_empty();
        self.inbox.rest();
        clean
    }
}

/// The receiving side of an exchange.
#[derive(Debug)]
pub struct H1Receiver<'a> {
    method: Method,
    upgrade: bool,
    pub source: MessageSource<'a>,
}

impl H1Receiver<'_> {
    /// The next head: interim ones, then the final one.
    pub async fn head(&mut self, into: &mut ResponseHead) -> Result<(), UpstreamError> {
        let source = &mut self.source;
        let mut scan = HeadScan::default();
        let end = receive_head(source.transport, source.inbox, &mut scan, &LIMITS).await.map_err(of_head)?;
        let parsed = parse::response(&source.inbox.filled()[..end], &LIMITS, self.method, into);
        source.inbox.consume(end);
        parsed.map_err(|reject| UpstreamError::sent(UpstreamErrorKind::Protocol(reject)))?;
        if into.status == 101 && !self.upgrade {
            return Err(UpstreamError::sent(UpstreamErrorKind::Protocol(Reject::bad("unasked switch of protocols"))));
        }
        if !into.is_interim() {
            *source.state = BodyState::new(into.body, &LIMITS);
            source.trailers.clear();
        }
        Ok(())
    }
}

fn of_head(error: HeadError) -> UpstreamError {
    UpstreamError::sent(match error {
        HeadError::Closed => UpstreamErrorKind::Closed,
        HeadError::Io(error) => UpstreamErrorKind::Io(error),
        HeadError::Reject(reject) => UpstreamErrorKind::Protocol(reject),
    })
}
