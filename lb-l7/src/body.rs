//! What the proxy needs of a body, whichever version of HTTP carries it.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use crate::h1::Reject;
use crate::head::Block;
use crate::io::deadline::Timer;
use crate::io::send_limit::SendLimit;
use crate::io::splice::{self, Direct, Pipe};

/// Bytes of a body, on loan from a buffer or shared with an HTTP/2 connection.
#[derive(Debug)]
pub enum Data<'a> {
    Slice(&'a [u8]),
    Lent(Lent<'a>),
    Shared(Bytes),
}

impl Data<'_> {
    pub fn into_bytes(self) -> Bytes {
        match self {
            Data::Slice(slice) => Bytes::copy_from_slice(slice),
            Data::Lent(lent) => Bytes::copy_from_slice(lent.bytes()),
            Data::Shared(bytes) => bytes,
        }
    }
}

impl Deref for Data<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Data::Slice(slice) => slice,
            Data::Lent(lent) => lent.bytes(),
            Data::Shared(bytes) => bytes,
        }
    }
}

/// Bytes in a buffer, behind others that are of no use any more.
#[derive(Debug)]
pub struct Lent<'a> {
    buffer: &'a mut [u8],
    start: usize,
}

impl<'a> Lent<'a> {
    /// The bytes from `start` on.
    pub fn new(buffer: &'a mut [u8], start: usize) -> Self {
        Self { buffer, start }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Puts `front` before the bytes; `false` where it has no room.
    pub fn prepend(&mut self, front: &[u8]) -> bool {
        let Some(start) = self.start.checked_sub(front.len()) else { return false };
        self.buffer[start..self.start].copy_from_slice(front);
        self.start = start;
        true
    }
}

/// What comes after a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    More,
    /// Nothing; the body ends here.
    End,
    /// No more data, but [`Source::trailers`].
    Trailers,
}

#[derive(Debug)]
pub struct Piece<'a> {
    pub data: Data<'a>,
    pub then: Then,
}

/// A body that is received.
pub trait Source {
    /// The next bytes. May be dropped while it waits; nothing is lost. After the end: an empty piece.
    async fn next(&mut self) -> Result<Piece<'_>, SourceError>;

    /// Trailer fields, once the end was reached.
    fn trailers(&self) -> Option<&Block>;

    fn is_done(&self) -> bool;

    /// No byte was handed out: the request can be sent again.
    fn is_untouched(&self) -> bool;

    /// After the end: ready when the sender has closed its side of the connection.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// The socket that a long rest of the body comes from as it is.
    fn direct(&mut self) -> Option<Direct<'_>> {
        None
    }
}

impl<S: Source> Source for &mut S {
    async fn next(&mut self) -> Result<Piece<'_>, SourceError> {
        (**self).next().await
    }

    fn trailers(&self) -> Option<&Block> {
        (**self).trailers()
    }

    fn is_done(&self) -> bool {
        (**self).is_done()
    }

    fn is_untouched(&self) -> bool {
        (**self).is_untouched()
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        (**self).poll_closed(cx)
    }

    fn direct(&mut self) -> Option<Direct<'_>> {
        (**self).direct()
    }
}

/// A body that is sent.
pub trait Sink {
    /// Sends all of it; with `end`, the body ends here without trailers.
    async fn data(&mut self, data: Data<'_>, end: bool, limit: SendLimit<'_>) -> Result<(), SinkError>;

    async fn finish(&mut self, trailers: Option<&Block>, limit: SendLimit<'_>) -> Result<(), SinkError>;

    /// Sends what is staged.
    async fn flush(&mut self, limit: SendLimit<'_>) -> Result<(), SinkError>;

    /// The socket that takes bytes of the body as they are.
    fn direct(&mut self) -> Option<Direct<'_>> {
        None
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("{0}")]
    Io(io::Error),
    #[error("the connection ended in the middle of the body")]
    Truncated,
    #[error("{}", .0.reason)]
    Reject(Reject),
    #[error("the stream was reset: {0}")]
    Reset(h2::Reason),
    #[error("more bytes than the limit")]
    TooLarge,
    /// The body was complete, but its sender has left since.
    #[error("the client closed the connection")]
    Left,
}

/// The peer took no more bytes.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    #[error("sending: {0}")]
    Io(io::Error),
    #[error("the receiver took no bytes for too long")]
    Stalled,
}

#[derive(Debug, thiserror::Error)]
pub enum PumpError {
    #[error("receiving: {0}")]
    Source(SourceError),
    #[error(transparent)]
    Sink(SinkError),
    #[error("the sender was silent for too long")]
    SourceTimeout,
}

/// Longest silence of either side of a pump.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub source: Duration,
    pub sink: Duration,
}

/// Copies a body from `source` to `sink`, piece by piece: a piece is received when the one before
/// has been sent, so a slow side slows the other down. Counts the bytes into `moved`, and fails once
/// there are more than `limit`. After a timeout of the source it can be called again.
pub async fn pump(
    source: &mut impl Source,
    sink: &mut impl Sink,
    timer: &Timer,
    patience: Patience,
    moved: &Cell<u64>,
    limit: u64,
) -> Result<(), PumpError> {
    let taking = SendLimit { timer, idle: patience.sink };
    let mut patient = true;
    loop {
        let mut piece = now(source.next()).await;
        if piece.is_none() && patient {
            // Many senders write a head and its body in two: one turn of the loop brings the body,
            // and spares the sink a call of its own for the head.
            drop(piece);
            tokio::task::yield_now().await;
            piece = now(source.next()).await;
        }
        patient = false;
        let piece = match piece {
            Some(piece) => piece,
            None => {
                sink.flush(taking).await.map_err(PumpError::Sink)?;
                let next = timer.within(patience.source, source.next()).await;
                next.map_err(|_| PumpError::SourceTimeout)?
            }
        };
        let Piece { data, then } = piece.map_err(PumpError::Source)?;
        moved.set(moved.get() + data.len() as u64);
        if moved.get() > limit {
            return Err(PumpError::Source(SourceError::TooLarge));
        }
        sink.data(data, then == Then::End, taking).await.map_err(PumpError::Sink)?;
        match then {
            Then::More => {
                if let (Some(from), Some(to)) = (source.direct(), sink.direct())
                    && let Some(pipe) = Pipe::lend()
                {
                    // A known length was held against the limit before.
                    return Box::pin(splice::run(from, to, pipe, timer, patience, moved)).await;
                }
            }
            Then::End => return Ok(()),
            Then::Trailers => return sink.finish(source.trailers(), taking).await.map_err(PumpError::Sink),
        }
    }
}

/// The output of a future that is ready at once.
pub fn now<F: Future>(future: F) -> impl Future<Output = Option<F::Output>> {
    Now { future }
}

pin_project_lite::pin_project! {
    struct Now<F> {
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Now<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().future.poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => Poll::Ready(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_first_goes_where_there_is_room() {
        let mut buffer = *b"old body";
        let mut lent = Lent::new(&mut buffer, 4);
        assert!(!lent.prepend(b"larger"));
        assert!(lent.prepend(b"two") && lent.prepend(b"1"));
        assert_eq!(lent.bytes(), b"1twobody");
        assert!(lent.prepend(b"") && !lent.prepend(b"0"));
    }
}
