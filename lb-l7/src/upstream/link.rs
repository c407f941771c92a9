//! A connection to a backend for one request, whichever version of HTTP it speaks.

use std::task::{Context, Poll};

use super::error::UpstreamError;
use super::http1::{H1Link, H1Receiver};
use super::http2::{H2Link, H2Receiver};
use crate::body::{Data, Piece, Sink, SinkError, Source, SourceError};
use crate::h1::Reject;
use crate::head::{Block, RequestHead, ResponseHead};
use crate::http2::body::StreamSink;
use crate::io::message::MessageSink;
use crate::io::send_limit::SendLimit;
use crate::io::splice::Direct;
use crate::proxy::headers::Origin;

#[derive(Debug)]
pub enum Link {
    H1(Box<H1Link>),
    H2(Box<H2Link>),
}

/// The sending side of an exchange.
#[derive(Debug)]
pub enum Requester<'a> {
    H1(MessageSink<'a>),
    H2(&'a mut StreamSink),
}

/// The receiving side of an exchange.
#[derive(Debug)]
pub enum Receiver<'a> {
    H1(H1Receiver<'a>),
    H2(H2Receiver<'a>),
}

impl Link {
    /// Stages the head; refuses what this version of HTTP cannot say.
    pub fn begin(&mut self, head: &RequestHead, origin: Origin<'_>, authority: &[u8]) -> Result<(), Reject> {
        match self {
            Link::H1(link) => {
                link.begin(head, origin, authority);
                Ok(())
            }
            Link::H2(link) => link.begin(head, origin, authority),
        }
    }

    /// The backend has gone silent on it: no further request is to wait for that connection.
    pub fn distrust(&self) {
        if let Link::H2(link) = self {
            link.distrust();
        }
    }

    pub fn split(&mut self) -> (Requester<'_>, Receiver<'_>) {
        match self {
            Link::H1(link) => {
                let (sink, receiver) = link.split();
                (Requester::H1(sink), Receiver::H1(receiver))
            }
            Link::H2(link) => {
                let (sink, receiver) = link.split();
                (Requester::H2(sink), Receiver::H2(receiver))
            }
        }
    }
}

impl Requester<'_> {
    /// Bytes that have left, head included (HTTP/2: of the body).
    pub fn sent(&self) -> u64 {
        match self {
            Requester::H1(sink) => sink.sent,
            Requester::H2(sink) => sink.sent,
        }
    }
}

impl Sink for Requester<'_> {
    fn direct(&mut self) -> Option<Direct<'_>> {
        match self {
            Requester::H1(sink) => sink.direct(),
            Requester::H2(_) => None,
        }
    }

    async fn data(&mut self, data: Data<'_>, end: bool, limit: SendLimit<'_>) -> Result<(), SinkError> {
        match self {
            Requester::H1(sink) => sink.data(data, end, limit).await,
            Requester::H2(sink) => sink.data(data, end, limit).await,
        }
    }

    async fn finish(&mut self, trailers: Option<&Block>, limit: SendLimit<'_>) -> Result<(), SinkError> {
        match self {
            Requester::H1(sink) => sink.finish(trailers, limit).await,
            Requester::H2(sink) => sink.finish(trailers, limit).await,
        }
    }

    async fn flush(&mut self, limit: SendLimit<'_>) -> Result<(), SinkError> {
        match self {
            Requester::H1(sink) => sink.flush(limit).await,
            Requester::H2(sink) => sink.flush(limit).await,
        }
    }
}

impl Receiver<'_> {
    /// The next head: interim ones, then the final one.
    pub async fn head(&mut self, into: &mut ResponseHead) -> Result<(), UpstreamError> {
        match self {
            Receiver::H1(receiver) => receiver.head(into).await,
            Receiver::H2(receiver) => receiver.head(into).await,
        }
    }
}

impl Source for Receiver<'_> {
    fn direct(&mut self) -> Option<Direct<'_>> {
        match self {
            Receiver::H1(receiver) => receiver.source.direct(),
            Receiver::H2(_) => None,
        }
    }

    async fn next(&mut self) -> Result<Piece<'_>, SourceError> {
        match self {
            Receiver::H1(receiver) => receiver.source.next().await,
            Receiver::H2(receiver) => receiver.next().await,
        }
    }

    fn trailers(&self) -> Option<&Block> {
        match self {
            Receiver::H1(receiver) => receiver.source.trailers(),
            Receiver::H2(receiver) => receiver.trailers(),
        }
    }

    fn is_done(&self) -> bool {
        match self {
            Receiver::H1(receiver) => receiver.source.is_done(),
            Receiver::H2(receiver) => receiver.is_done(),
        }
    }

    fn is_untouched(&self) -> bool {
        match self {
            Receiver::H1(receiver) => receiver.source.is_untouched(),
            Receiver::H2(receiver) => receiver.is_untouched(),
        }
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Receiver::H1(receiver) => receiver.source.poll_closed(cx),
            Receiver::H2(receiver) => receiver.poll_closed(cx),
        }
    }
}
