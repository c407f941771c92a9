//! HTTP/1 messages over a transport: the codec of [`crate::h1`] joined to a socket.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::task::{Context, Poll, ready};

use super::buffer::Buffer;
use super::send_limit::SendLimit;
use super::splice::Direct;
use super::transport::Transport;
use crate::body::{Data, Piece, Sink, SinkError, Source, SourceError, Then};
use crate::h1::chunked::Decoder;
use crate::h1::scan::HeadScan;
use crate::h1::{HeadLimits, Reject, encode, parse};
use crate::head::{Block, BodyLength};

/// Pieces up to this size are copied behind the head. A larger one has the head put before it, where the buffer has room
/// (it held the other side's head), or is a vector of its own.
const COPY_LIMIT: usize = 2048;

/// Bytes that were received and not used yet. Lends a buffer only while there are any; what waits
/// for the rest of a head is kept in as many bytes as it has.
#[derive(Debug, Default)]
pub struct Inbox {
    buffer: Option<Buffer>,
    kept: Vec<u8>,
}

impl Inbox {
    pub fn filled(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&self.kept, Buffer::filled)
    }

    pub fn is_empty(&self) -> bool {
        self.filled().is_empty()
    }

    pub fn consume(&mut self, used: usize) {
        match &mut self.buffer {
            Some(buffer) => buffer.consume(used),
            None => drop(self.kept.drain(..used.min(self.kept.len()))),
        }
    }

    /// Everything that is left, for another protocol.
    pub fn take_all(&mut self) -> Vec<u8> {
        let all = self.filled().to_vec();
        self.consume(all.len());
        self.rest();
        all
    }

    /// Receives more behind what is there; `Ok(0)` is the end of the stream.
    pub fn poll_fill(&mut self, transport: &Transport, cx: &mut Context<'_>, large: bool) -> Poll<io::Result<usize>> {
        let buffer = self.lend(large);
        buffer.ensure_room(1);
        let Poll::Ready(result) = transport.poll_read(cx, buffer.room()) else {
            self.rest();
            return Poll::Pending;
        };
        if let Ok(received) = &result {
            buffer.advance(*received);
        }
        Poll::Ready(result)
    }

    fn lend(&mut self, large: bool) -> &mut Buffer {
        if large && self.buffer.as_ref().is_some_and(|b| b.is_empty() && !b.is_large()) {
            self.buffer = None;
        }
        self.buffer.get_or_insert_with(|| {
            let mut buffer = if large { Buffer::lend_large() } else { Buffer::lend() };
            buffer.extend(&self.kept);
            self.kept = Vec::new();
            buffer
        })
    }

    /// Gives the buffer back if there is nothing in it.
    pub fn settle(&mut self) {
        if self.buffer.as_ref().is_some_and(Buffer::is_empty) {
            self.buffer = None;
        }
    }

    /// Gives the buffer back; called when nothing more is to be had for now.
    pub fn rest(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.kept = if buffer.is_empty() { Vec::new() } else { buffer.filled().to_vec() };
        }
    }

    fn mutable(&mut self) -> &mut [u8] {
        match &mut self.buffer {
            Some(buffer) => buffer.filled_mut(),
            None => &mut self.kept,
        }
    }
}

/// Why no head came.
#[derive(Debug)]
pub enum HeadError {
    /// The peer closed the connection.
    Closed,
    Io(io::Error),
    Reject(Reject),
}

/// Receives up to the end of a head and tells its length; the bytes stay in the inbox.
///
/// Can be dropped and called again with the same `scan`: nothing is lost.
pub async fn receive_head(
    transport: &Transport,
    inbox: &mut Inbox,
    scan: &mut HeadScan,
    limits: &HeadLimits,
) -> Result<usize, HeadError> {
    poll_fn(|cx| {
        loop {
            if let Some(end) = scan.find_end(inbox.filled(), limits).map_err(HeadError::Reject)? {
                return Poll::Ready(Ok(end));
            }
            match ready!(inbox.poll_fill(transport, cx, false)) {
                Ok(0) => return Poll::Ready(Err(HeadError::Closed)),
                Ok(_) => {}
                Err(e) => return Poll::Ready(Err(HeadError::Io(e))),
            }
        }
    })
    .await
}

/// Where a body ends.
#[derive(Debug, Default)]
pub enum BodyState {
    #[default]
    Done,
    Known(u64),
    Chunked(Box<Decoder>),
    UntilClose,
}

impl BodyState {
    pub fn new(length: BodyLength, limits: &HeadLimits) -> Self {
        match length {
            BodyLength::None | BodyLength::Known(0) => BodyState::Done,
            BodyLength::Known(length) => BodyState::Known(length),
            BodyLength::Streamed => BodyState::Chunked(Box::new(Decoder::new(limits.bytes))),
            BodyLength::UntilClose => BodyState::UntilClose,
        }
    }

    pub fn is_done(&self) -> bool {
        match self {
            BodyState::Done | BodyState::Known(0) => true,
            BodyState::Chunked(decoder) => decoder.is_done(),
            BodyState::Known(_) | BodyState::UntilClose => false,
        }
    }
}

/// The body of a message as it is received.
#[derive(Debug)]
pub struct MessageSource<'a> {
    pub transport: &'a Transport,
    pub inbox: &'a mut Inbox,
    pub state: &'a mut BodyState,
    pub trailers: &'a mut Block,
    pub limits: HeadLimits,
    pub untouched: &'a mut bool,
}

/// Bodies with more than this to come are received in large buffers, or not at all (see [`super::splice`]).
const LONG: u64 = 128 * 1024;

impl MessageSource<'_> {
    /// The next bytes of the body lie at the front of the inbox.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<(usize, usize), SourceError>> {
        loop {
            if self.state.is_done() {
                return Poll::Ready(Ok((0, 0)));
            }
            if let Some(found) = self.decode_held()? {
                return Poll::Ready(Ok(found));
            }
            let large = !matches!(self.state, BodyState::Known(left) if *left <= LONG);
            match ready!(self.inbox.poll_fill(self.transport, cx, large)).map_err(SourceError::Io)? {
                0 if matches!(self.state, BodyState::UntilClose) => *self.state = BodyState::Done,
                0 => return Poll::Ready(Err(SourceError::Truncated)),
                _ => {}
            }
        }
    }

    /// How many bytes of what is held are body (at the front), and how many are used up with them.
    fn decode_held(&mut self) -> Result<Option<(usize, usize)>, SourceError> {
        let held = self.inbox.mutable();
        if held.is_empty() {
            return Ok(None);
        }
        let length = held.len();
        let found = match self.state {
            BodyState::Done => (0, 0),
            BodyState::UntilClose => (length, length),
            BodyState::Known(left) => {
                let length = usize::try_from(*left).map_or(length, |left| left.min(length));
                *left -= length as u64;
                (length, length)
            }
            BodyState::Chunked(decoder) => {
                let progress = decoder.decode(held).map_err(SourceError::Reject)?;
                if decoder.is_done() {
                    parse_trailers(decoder, &self.limits, self.trailers)?;
                }
                (progress.produced, progress.consumed)
            }
        };
        if found.0 == 0 && !self.state.is_done() {
            self.inbox.consume(found.1);
            return Ok(None);
        }
        Ok(Some(found))
    }
}

fn parse_trailers(decoder: &Decoder, limits: &HeadLimits, into: &mut Block) -> Result<(), SourceError> {
    into.clear();
    if decoder.trailers().is_empty() {
        return Ok(());
    }
    parse::trailers(decoder.trailers(), limits, into).map_err(SourceError::Reject)
}

impl Source for MessageSource<'_> {
    async fn next(&mut self) -> Result<Piece<'_>, SourceError> {
        let (length, used) = poll_fn(|cx| self.poll_piece(cx)).await?;
        *self.untouched &= used == 0;
        let then = match self.state.is_done() {
            false => Then::More,
            true if self.trailers.is_empty() => Then::End,
            true => Then::Trailers,
        };
        let data = self.inbox.consumed(length, used);
        Ok(Piece { data, then })
    }

    fn trailers(&self) -> Option<&Block> {
        Some(&*self.trailers).filter(|t| !t.is_empty())
    }

    fn is_done(&self) -> bool {
        self.state.is_done()
    }

    fn is_untouched(&self) -> bool {
        *self.untouched
    }

    fn direct(&mut self) -> Option<Direct<'_>> {
        match self.state {
            BodyState::Known(left) if *left > LONG && self.inbox.is_empty() && self.transport.is_plain() => {
                self.inbox.rest();
                Some(Direct { transport: self.transport, count: left })
            }
            _ => None,
        }
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.inbox.settle();
        // Whoever has sent the next request already is still there.
        if !self.inbox.is_empty() {
            return Poll::Pending;
        }
        ready!(self.transport.poll_readable(cx));
        match ready!(self.inbox.poll_fill(self.transport, cx, false)) {
            Ok(0) | Err(_) => Poll::Ready(()),
            Ok(_) => Poll::Pending,
        }
    }
}

impl Inbox {
    /// Uses up `used` bytes and lends the first `length` of them.
    fn consumed(&mut self, length: usize, used: usize) -> Data<'_> {
        if self.buffer.is_none() && used > 0 {
            // A kept head with the first bytes of a body behind it.
            self.lend(false);
        }
        match &mut self.buffer {
            Some(buffer) => Data::Lent(buffer.consume_lending(length, used)),
            None => Data::Slice(&[]),
        }
    }
}

/// How the body of a message that is sent is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// By its length, or by the end of the connection.
    Raw,
    Chunked,
    /// Nothing follows the head (HEAD, 204, 304): data is dropped.
    Headless,
}

/// A message as it is sent. The head is staged in `out` and leaves with the first bytes of the
/// body, or at a flush.
#[derive(Debug)]
pub struct MessageSink<'a> {
    pub transport: &'a Transport,
    pub out: &'a mut Vec<u8>,
    pub framing: Framing,
    pub sent: u64,
}

impl MessageSink<'_> {
    async fn send(&mut self, mut data: Data<'_>, tail: &[u8], limit: SendLimit<'_>) -> Result<(), SinkError> {
        if data.len() <= COPY_LIMIT {
            self.out.extend_from_slice(&data);
            self.out.extend_from_slice(tail);
            return self.flush(limit).await;
        }
        if let Data::Lent(lent) = &mut data
            && lent.prepend(self.out)
        {
            self.out.clear();
        }
        self.write([&data, tail], limit).await
    }

    /// What is staged, and these behind it.
    async fn write(&mut self, [data, tail]: [&[u8]; 2], limit: SendLimit<'_>) -> Result<(), SinkError> {
        let (transport, out) = (self.transport, &*self.out);
        let (mut written, mut watch) = (0, limit.watch());
        poll_fn(|cx| {
            let sending = poll_write_parts(transport, cx, [out, data, tail], &mut written);
            watch.check(cx, sending, || transport.acknowledged())
        })
        .await?;
        self.sent += written as u64;
        self.out.clear();
        Ok(())
    }
}

/// Writes what `written` has not covered yet, until all of it is with the socket.
fn poll_write_parts(
    transport: &Transport,
    cx: &mut Context<'_>,
    parts: [&[u8]; 3],
    written: &mut usize,
) -> Poll<io::Result<()>> {
    let total: usize = parts.iter().map(|p| p.len()).sum();
    while *written < total {
        let mut skip = *written;
        let mut slices = [IoSlice::new(&[]); 3];
        let mut count = 0;
        for part in parts {
            let left = &part[skip.min(part.len())..];
            skip -= part.len() - left.len();
            if !left.is_empty() {
                slices[count] = IoSlice::new(left);
                count += 1;
            }
        }
        match ready!(transport.poll_write(cx, &slices[..count]))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            n => *written += n,
        }
    }
    transport.poll_flush(cx)
}

impl Sink for MessageSink<'_> {
    fn direct(&mut self) -> Option<Direct<'_>> {
        let is_direct = self.framing == Framing::Raw && self.out.is_empty() && self.transport.is_plain();
        is_direct.then_some(Direct { transport: self.transport, count: &mut self.sent })
    }

    async fn data(&mut self, data: Data<'_>, end: bool, limit: SendLimit<'_>) -> Result<(), SinkError> {
        let tail: &[u8] = match self.framing {
            Framing::Headless => return if end { self.flush(limit).await } else { Ok(()) },
            Framing::Raw => b"",
            Framing::Chunked if data.is_empty() => return if end { self.finish(None, limit).await } else { Ok(()) },
            Framing::Chunked => {
                encode::chunk_size(self.out, data.len());
                if end { b"\r\n0\r\n\r\n" } else { encode::CHUNK_END }
            }
        };
        self.send(data, tail, limit).await
    }

    async fn finish(&mut self, trailers: Option<&Block>, limit: SendLimit<'_>) -> Result<(), SinkError> {
        if self.framing == Framing::Chunked {
            encode::last_chunk(self.out, trailers);
        }
        self.flush(limit).await
    }

    async fn flush(&mut self, limit: SendLimit<'_>) -> Result<(), SinkError> {
        if self.out.is_empty() { Ok(()) } else { self.write([&[], &[]], limit).await }
    }
}
