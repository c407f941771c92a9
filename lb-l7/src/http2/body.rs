//! Bodies on HTTP/2 streams, with flow control: bytes are acknowledged when they have been passed on.

use std::future::poll_fn;
use std::io;
use std::rc::Weak;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::HeaderMap;

use crate::body::{Data, Piece, Sink, SinkError, Source, SourceError, Then};
use crate::head::Block;
use crate::http2::head::check_field;
use crate::io::send_limit::{SendLimit, Watch};
use crate::io::transport::Transport;
use crate::proxy::headers::FieldSink;

/// A body that is received on a stream.
#[derive(Debug)]
pub struct StreamSource {
    stream: RecvStream,
    trailers: Block,
    done: bool,
    /// Bytes that were handed out last and are acknowledged with the next call.
    unacknowledged: usize,
    untouched: bool,
}

impl StreamSource {
    pub fn new(stream: RecvStream) -> Self {
        let done = stream.is_end_stream();
        Self { stream, trailers: Block::default(), done, unacknowledged: 0, untouched: true }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Bytes, Then), SourceError>> {
        if self.done {
            return Poll::Ready(Ok((Bytes::new(), Then::End)));
        }
        let data = match ready!(self.stream.poll_data(cx)) {
            Some(Ok(data)) => data,
            Some(Err(error)) => return Poll::Ready(Err(of_h2(&error))),
            None => return self.poll_trailers(cx),
        };
        self.unacknowledged = data.len();
        self.untouched = false;
        self.done = self.stream.is_end_stream();
        let then = if self.done { Then::End } else { Then::More };
        Poll::Ready(Ok((data, then)))
    }

    fn poll_trailers(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Bytes, Then), SourceError>> {
        let trailers = ready!(self.stream.poll_trailers(cx)).map_err(|error| of_h2(&error))?;
        self.done = true;
        let Some(trailers) = trailers else { return Poll::Ready(Ok((Bytes::new(), Then::End))) };
        for (name, value) in &trailers {
            check_field(name, value).map_err(SourceError::Reject)?;
            self.trailers.push_field(name.as_str().as_bytes(), value.as_bytes());
        }
        Poll::Ready(Ok((Bytes::new(), Then::Trailers)))
    }
}

fn of_h2(error: &h2::Error) -> SourceError {
    match error.reason() {
        Some(reason) => SourceError::Reset(reason),
        None => SourceError::Truncated,
    }
}

impl Source for StreamSource {
    async fn next(&mut self) -> Result<Piece<'_>, SourceError> {
        if self.unacknowledged > 0 {
            // Fails only when the stream is closed, and then nobody waits for the window.
            let _ = self.stream.flow_control().release_capacity(self.unacknowledged);
            self.unacknowledged = 0;
        }
        let (data, then) = poll_fn(|cx| self.poll_piece(cx)).await?;
        Ok(Piece { data: Data::Shared(data), then })
    }

    fn trailers(&self) -> Option<&Block> {
        Some(&self.trailers).filter(|t| !t.is_empty())
    }

    fn is_done(&self) -> bool {
        self.done
    }

    fn is_untouched(&self) -> bool {
        self.untouched
    }

    /// Never: a client that loses interest resets the stream.
    fn poll_closed(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// A body that is sent on a stream; `None` while there is no stream, or once it was ended by its head.
#[derive(Debug, Default)]
pub struct StreamSink {
    pub stream: Option<SendStream<Bytes>>,
    pub sent: u64,
    /// Of the connection.
    transport: Weak<Transport>,
}

impl StreamSink {
    pub fn new(transport: Weak<Transport>) -> Self {
        Self { stream: None, sent: 0, transport }
    }

    /// Sends what the peer's window allows; ready when all is sent.
    pub fn poll_send(
        &mut self,
        data: &mut Bytes,
        end: bool,
        watch: &mut Watch<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SinkError>> {
        while !data.is_empty() {
            let Some(stream) = &mut self.stream else { break };
            stream.reserve_capacity(data.len());
            let granted = poll_capacity(stream, cx);
            let granted = ready!(watch.check(cx, granted, || self.taken()))?.min(data.len());
            let part = data.split_to(granted);
            self.sent += granted as u64;
            let Some(stream) = &mut self.stream else { break };
            stream.send_data(part, end && data.is_empty()).map_err(closed)?;
        }
        Poll::Ready(Ok(()))
    }

    /// A stream makes progress where its window opens, and where the connection as a whole is what is slow.
    fn taken(&self) -> u64 {
        self.sent + self.transport.upgrade().map_or(0, |transport| transport.acknowledged_of_backlog())
    }

    pub fn end(&mut self, trailers: Option<&Block>) -> Result<(), SinkError> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let Some(trailers) = trailers else { return stream.send_data(Bytes::new(), true).map_err(closed) };
        let mut map = HeaderMap::with_capacity(trailers.len());
        trailers.trailers().for_each(|field| map.field(field.name, field.value));
        stream.send_trailers(map).map_err(closed)
    }
}

/// Waits for window, or for the peer to reset the stream.
fn poll_capacity(stream: &mut SendStream<Bytes>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    loop {
        if stream.capacity() > 0 {
            return Poll::Ready(Ok(stream.capacity()));
        }
        if stream.poll_reset(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        match ready!(stream.poll_capacity(cx)) {
            Some(Ok(0)) => {}
            Some(Ok(granted)) => return Poll::Ready(Ok(granted)),
            Some(Err(error)) => return Poll::Ready(Err(of_closed(error))),
            None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

pub fn closed(error: h2::Error) -> SinkError {
    SinkError::Io(of_closed(error))
}

fn of_closed(error: h2::Error) -> io::Error {
    error.into_io().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into())
}

impl Sink for StreamSink {
    async fn data(&mut self, data: Data<'_>, end: bool, limit: SendLimit<'_>) -> Result<(), SinkError> {
        if data.is_empty() {
            return if end { self.end(None) } else { Ok(()) };
        }
        let (mut data, mut watch) = (data.into_bytes(), limit.watch());
        poll_fn(|cx| self.poll_send(&mut data, end, &mut watch, cx)).await
    }

    async fn finish(&mut self, trailers: Option<&Block>, _limit: SendLimit<'_>) -> Result<(), SinkError> {
        self.end(trailers)
    }

    async fn flush(&mut self, _limit: SendLimit<'_>) -> Result<(), SinkError> {
        Ok(())
    }
}
