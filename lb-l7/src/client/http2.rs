//! HTTP/2 with a client: many requests at once, a task for each (RFC 9113).

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response, StatusCode};

use super::{Connection, heads};
use crate::body::{Data, Sink, SinkError};
use crate::h1::Reject;
use crate::head::{Block, BodyLength, Method, Name, RequestHead, ResponseHead};
use crate::http2::body::{self, StreamSink, StreamSource};
use crate::http2::head;
use crate::io::deadline::Timer;
use crate::io::message::Inbox;
use crate::io::send_limit::SendLimit;
use crate::io::transport::{Stream, Transport};
use crate::plan::FrontendPlan;
use crate::proxy::answer::Answer;
use crate::proxy::headers::{self, FieldSink};
use crate::proxy::trail::Trail;
use crate::proxy::{self, After, Client, Heads, Responder, Scene};
use crate::worker::lanes::Job;
use crate::worker::{View, Worker};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What we let a client send ahead, per stream and per connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Response bytes that may wait in one stream; there may be `limits.h2_streams` of them.
const SEND_BUFFER: usize = 32 * 1024;
/// What the small DATA frames that wait to be read may cost beyond their bytes. Many small messages
/// are no offence; empty frames have a limit of their own in `h2`.
const SMALL_FRAMES: usize = 16 * 1024 * 1024;
/// How long a client without streams may take to see that we leave, or one that overdid it to take its GOAWAY.
const FAREWELL: Duration = Duration::from_secs(2);

/// What no request of HTTP/1 begins with (RFC 9113 section 3.4).
const PREFACE_LINE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// How a connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    Preface,
    /// Meant for HTTP/2, but not its preface.
    BadPreface,
    Other,
}

impl Opening {
    /// `None` while the bytes could still become either.
    fn of(start: &[u8]) -> Option<Self> {
        let length = start.len().min(PREFACE.len());
        match start[..length] == PREFACE[..length] {
            true => begins_with_settings(start.get(PREFACE.len()..)?),
            false if start.starts_with(PREFACE_LINE) => Some(Opening::BadPreface),
            false => Some(Opening::Other),
        }
    }
}

/// The first frame is SETTINGS, and no acknowledgement (RFC 9113 section 3.4), which `h2` does not look for.
fn begins_with_settings(frame: &[u8]) -> Option<Opening> {
    match frame.get(..9)? {
        [_, _, _, 4, flags, 0, 0, 0, 0] if flags & 1 == 0 => Some(Opening::Preface),
        _ => Some(Opening::BadPreface),
    }
}

/// Tells HTTP/2 from HTTP/1 by the first bytes, which stay in the inbox.
pub async fn opening(transport: &Transport, inbox: &mut Inbox) -> io::Result<Opening> {
    poll_fn(|cx| {
        loop {
            if let Some(opening) = Opening::of(inbox.filled()) {
                return Poll::Ready(Ok(opening));
            }
            match ready!(inbox.poll_fill(transport, cx, false))? {
                0 if inbox.is_empty() => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                0 if inbox.filled().starts_with(PREFACE_LINE) => return Poll::Ready(Ok(Opening::BadPreface)),
                0 => return Poll::Ready(Ok(Opening::Other)),
                _ => {}
            }
        }
    })
    .await
}

pub async fn serve(mut connection: Connection, transport: Transport, mut inbox: Inbox) {
    if !matches!(connection.timer.limit(opening(&transport, &mut inbox)).await, Ok(Ok(Opening::Preface))) {
        return refuse(&connection, &transport).await;
    }
    let limits = &connection.frontend.http.limits;
    let stream = Stream::new(transport, inbox.take_all());
    let live = Rc::new(Live { resets: Resets::default(), transport: stream.transport(), taken: Cell::new(0) });
    let handshake = h2::server::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(limits.h2_streams)
        .max_pending_accept_reset_streams(limits.h2_resets as usize)
        .max_local_error_reset_streams(Some(limits.h2_resets as usize))
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        .data_frame_budget(SMALL_FRAMES)
        .handshake(stream);
    match connection.timer.limit(handshake).await {
        Ok(Ok(streams)) => accept(&mut connection, streams, live).await,
        failed => tracing::debug!(client = %connection.peer.address, error = ?failed.err(), "HTTP/2 preface"),
    }
}

/// GOAWAY with PROTOCOL_ERROR, where something else than the preface came (RFC 9113 section 3.4).
async fn refuse(connection: &Connection, transport: &Transport) {
    connection.counters().bad_requests.inc();
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let telling = async {
        transport.write_all(&[SETTINGS.as_slice(), &GOAWAY].concat()).await?;
        transport.shutdown().await
    };
    let _ = connection.timer.within(connection.frontend.http.timeouts.header, telling).await;
}

type Streams = h2::server::Connection<Stream, Bytes>;

/// What the streams of one connection share; it is held by those that are being served.
#[derive(Debug)]
struct Live {
    resets: Resets,
    transport: Weak<Transport>,
    /// What the client had taken at the last look.
    taken: Cell<u64>,
}

impl Live {
    /// Does the client still take what was left in our buffers when the last stream ended?
    fn is_taking(&self) -> bool {
        let taken = self.transport.upgrade().map_or(0, |transport| transport.acknowledged_of_backlog());
        taken > self.taken.replace(taken)
    }
}

/// Streams that were reset soon after they were opened. `h2` sees only those that were reset before
/// they were accepted; a patient client resets them a little later, and gets us to begin for nothing.
#[derive(Debug, Default)]
struct Resets {
    /// Halves every second.
    level: Cell<u32>,
    halved_ms: Cell<u64>,
}

/// A stream that was reset when older than this was given up on, as anybody may.
const RAPID_MS: u64 = 1000;

impl Resets {
    fn add(&self, opened_ms: u64, now_ms: u64) {
        if now_ms.saturating_sub(opened_ms) < RAPID_MS {
            self.level.set(self.level(now_ms).saturating_add(1));
        }
    }

    fn level(&self, now_ms: u64) -> u32 {
        let seconds = now_ms.saturating_sub(self.halved_ms.get()) / 1000;
        self.halved_ms.set(self.halved_ms.get() + seconds * 1000);
        let halvings = u32::try_from(seconds).unwrap_or(u32::MAX);
        self.level.set(self.level.get().checked_shr(halvings).unwrap_or(0));
        self.level.get()
    }
}

async fn accept(connection: &mut Connection, mut streams: Streams, live: Rc<Live>) {
    let mut leaving = false;
    loop {
        let idle = if leaving { FAREWELL } else { connection.frontend.http.timeouts.idle };
        connection.timer.set(idle);
        let next = poll_fn(|cx| {
            if let Poll::Ready(next) = streams.poll_accept(cx) {
                return Poll::Ready(Some(next));
            }
            let busy = Rc::strong_count(&live) > 1;
            if !leaving && !connection.renew() {
                return Poll::Ready(None);
            }
            if connection.timer.poll_expired(cx) {
                if !busy && !live.is_taking() {
                    return Poll::Ready(None);
                }
                connection.timer.set(idle);
            }
            Poll::Pending
        })
        .await;
        match next {
            Some(Some(Ok(_))) if overdone(connection, &live) => return Box::pin(calm(connection, &mut streams)).await,
            Some(Some(Ok((request, respond)))) => {
                let _ = connection.renew();
                spawn(connection, request, respond, live.clone());
            }
            Some(Some(Err(error))) => {
                tracing::debug!(client = %connection.peer.address, %error, "HTTP/2 connection");
                return;
            }
            Some(None) => return,
            // Told once; the connection ends when its last stream does.
            None if leaving => return,
            None => {
                streams.graceful_shutdown();
                leaving = true;
            }
        }
    }
}

fn overdone(connection: &Connection, live: &Live) -> bool {
    live.resets.level(connection.worker.deadlines.now_ms()) > connection.frontend.http.limits.h2_resets
}

/// Ends the connection of a client that opens streams only to reset them (CVE-2023-44487).
async fn calm(connection: &Connection, streams: &mut Streams) {
    tracing::debug!(client = %connection.peer.address, "too many streams were reset");
    connection.counters().bad_requests.inc();
    streams.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
    let _ = connection.timer.within(FAREWELL, poll_fn(|cx| streams.poll_closed(cx))).await;
}

fn spawn(connection: &Connection, request: Request<RecvStream>, respond: SendResponse<Bytes>, live: Rc<Live>) {
    let mut heads = heads::lend();
    let limits = &connection.frontend.head_limits;
    let parsed = head::request(&request, request.body().is_end_stream(), limits, &mut heads.request);
    let worker = &connection.worker;
    worker.tasks.streams.spawn(RequestStream {
        worker: worker.clone(),
        view: connection.view.clone(),
        frontend: connection.frontend.clone(),
        peer: connection.peer.clone(),
        timer: worker.deadlines.timer(),
        reply: RefCell::new(Reply { respond, begun: false, sink: StreamSink::new(live.transport.clone()) }),
        live,
        opened_ms: worker.deadlines.now_ms(),
        heads: Some(heads),
        parsed,
        source: StreamSource::new(request.into_body()),
    });
}

/// One request on a stream, and what it needs when its connection goes on without it.
#[derive(Debug)]
pub struct RequestStream {
    worker: Rc<Worker>,
    view: Rc<View>,
    frontend: Arc<FrontendPlan>,
    peer: Rc<proxy::Peer>,
    timer: Timer,
    live: Rc<Live>,
    opened_ms: u64,
    /// With the request; taken once.
    heads: Option<Box<Heads>>,
    parsed: Result<(), Reject>,
    source: StreamSource,
    reply: RefCell<Reply>,
}

impl Job for RequestStream {
    async fn run(&mut self) {
        let Some(mut heads) = self.heads.take() else { return };
        let mut trail = Trail::start(&self.worker);
        trail.bytes_in += heads.request.block.raw().len() as u64;
        let after = self.respond(&mut heads, &mut trail).await;
        if after.is_none() {
            trail.client_gone();
            self.live.resets.add(self.opened_ms, self.worker.deadlines.now_ms());
        }
        if after.is_none_or(|a| a == After::Abort) {
            self.reply.borrow_mut().respond.send_reset(Reason::INTERNAL_ERROR);
        }
        trail.finish(&self.worker, &self.frontend, &self.peer, &heads.request);
        heads::give_back(heads);
    }
}

impl RequestStream {
    /// `None` when the client resets the stream first: nobody waits for the response any more.
    async fn respond(&mut self, heads: &mut Heads, trail: &mut Trail) -> Option<After> {
        let Heads { request: head, response, .. } = heads;
        let reply = &self.reply;
        let mut client = H2Client { head, source: &mut self.source, reply };
        let scene = Scene {
            worker: &self.worker,
            view: self.view.clone(),
            frontend: &self.frontend,
            peer: &self.peer,
            timer: &self.timer,
        };
        match self.parsed {
            Ok(()) => unless_reset(pin!(proxy::serve(&scene, &mut client, response, trail)), reply).await,
            Err(reject) => {
                let answer = Answer::rejected(reject);
                let refusing = Box::pin(proxy::respond(&scene, &mut client, response, trail, answer));
                unless_reset(pin!(refusing), reply).await
            }
        }
    }
}

/// `None` when the client resets the stream first: nobody waits for the response any more.
async fn unless_reset(
    mut serving: std::pin::Pin<&mut impl Future<Output = After>>,
    reply: &RefCell<Reply>,
) -> Option<After> {
    poll_fn(|cx| {
        if let Poll::Ready(after) = serving.as_mut().poll(cx) {
            return Poll::Ready(Some(after));
        }
        reply.borrow_mut().poll_reset(cx).map(|()| None)
    })
    .await
}

/// The sending side of a stream, borrowed for no longer than a poll.
#[derive(Debug)]
struct Reply {
    respond: SendResponse<Bytes>,
    begun: bool,
    sink: StreamSink,
}

impl Reply {
    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.sink.stream {
            Some(stream) => stream.poll_reset(cx).map(drop),
            None if !self.begun => self.respond.poll_reset(cx).map(drop),
            None => Poll::Pending,
        }
    }

    fn begin(&mut self, method: Method, response: &ResponseHead) -> Result<(), SinkError> {
        let mut fields = HeaderMap::with_capacity(response.block.len() + 1);
        headers::response(response, &mut fields);
        content_length(method, response, &mut fields);
        let ends = method == Method::Head || matches!(response.status, 204 | 304) || response.body.is_none();
        let head = message(response, fields)?;
        let stream = self.respond.send_response(head, ends).map_err(body::closed)?;
        self.begun = true;
        self.sink.stream = if ends { None } else { Some(stream) };
        Ok(())
    }
}

fn content_length(method: Method, response: &ResponseHead, fields: &mut HeaderMap) {
    let mut digits = itoa::Buffer::new();
    match (response.body, response.block.get(Name::ContentLength)) {
        _ if response.status == 204 => {}
        (BodyLength::Known(length), _) => fields.field(b"content-length", digits.format(length).as_bytes()),
        // What it would have been (RFC 9110 section 8.6).
        (_, Some(length)) if method == Method::Head || response.status == 304 => {
            fields.field(b"content-length", length);
        }
        _ => {}
    }
}

fn message(response: &ResponseHead, fields: HeaderMap) -> Result<Response<()>, SinkError> {
    let mut head = Response::new(());
    *head.status_mut() = StatusCode::from_u16(response.status).map_err(|e| SinkError::Io(io::Error::other(e)))?;
    *head.headers_mut() = fields;
    Ok(head)
}

/// One request's client.
struct H2Client<'c> {
    head: &'c RequestHead,
    source: &'c mut StreamSource,
    reply: &'c RefCell<Reply>,
}

impl Client for H2Client<'_> {
    type Source<'a>
        = &'a mut StreamSource
    where
        Self: 'a;
    type Responder<'a>
        = H2Responder<'a>
    where
        Self: 'a;

    fn split(&mut self) -> (&RequestHead, &mut StreamSource, H2Responder<'_>) {
        (self.head, self.source, H2Responder { method: self.head.method, reply: self.reply })
    }

    fn raw(&mut self) -> Option<(&Transport, &mut Inbox)> {
        None
    }
}

/// The way back to an HTTP/2 client.
struct H2Responder<'a> {
    method: Method,
    reply: &'a RefCell<Reply>,
}

impl Responder for H2Responder<'_> {
    fn begin(&mut self, response: &ResponseHead, _persist: bool) -> Result<bool, SinkError> {
        self.reply.borrow_mut().begin(self.method, response).map(|()| true)
    }

    async fn interim(&mut self, response: &ResponseHead, _limit: SendLimit<'_>) -> Result<(), SinkError> {
        let mut fields = HeaderMap::new();
        headers::response(response, &mut fields);
        let head = message(response, fields)?;
        self.reply.borrow_mut().respond.send_informational(head).map_err(body::closed)
    }

    fn sent(&self) -> u64 {
        self.reply.borrow().sink.sent
    }
}

impl Sink for H2Responder<'_> {
    async fn data(&mut self, data: Data<'_>, end: bool, limit: SendLimit<'_>) -> Result<(), SinkError> {
        if data.is_empty() {
            return if end { self.reply.borrow_mut().sink.end(None) } else { Ok(()) };
        }
        let (mut data, mut watch) = (data.into_bytes(), limit.watch());
        poll_fn(|cx| self.reply.borrow_mut().sink.poll_send(&mut data, end, &mut watch, cx)).await
    }

    async fn finish(&mut self, trailers: Option<&Block>, _limit: SendLimit<'_>) -> Result<(), SinkError> {
        self.reply.borrow_mut().sink.end(trailers)
    }

    async fn flush(&mut self, _limit: SendLimit<'_>) -> Result<(), SinkError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_connection_begins_with_is_told_by_its_first_bytes() {
        let opening = |rest: &[u8]| Opening::of(&[PREFACE, rest].concat());
        assert_eq!(
            [b"".as_slice(), b"GE", b"PRI * HT", PREFACE].map(Opening::of),
            [None, Some(Opening::Other), None, None]
        );
        assert_eq!(opening(b"\0\0\0\x04\0\0\0\0"), None);
        assert_eq!(opening(b"\0\0\0\x04\0\0\0\0\0"), Some(Opening::Preface));
        for bad in [b"\0\0\0\x04\x01\0\0\0\0", b"\0\0\0\x04\0\0\0\0\x01", b"\0\0\x08\x06\0\0\0\0\0"] {
            assert_eq!(opening(bad), Some(Opening::BadPreface), "{bad:?}");
        }
        assert_eq!(Opening::of(b"PRI * HTTP/2.0\r\n\r\nXX"), Some(Opening::BadPreface));
    }

    #[test]
    fn the_level_of_rapid_resets_halves_every_second() {
        let resets = Resets::default();
        for _ in 0..25 {
            resets.add(5000, 5100);
        }
        assert_eq!([5900, 6100, 8000, 100_000].map(|now| resets.level(now)), [25, 12, 3, 0]);
    }

    #[test]
    fn a_stream_that_was_given_up_on_late_does_not_count() {
        let resets = Resets::default();
        resets.add(5000, 6000);
        assert_eq!(resets.level(6000), 0);
    }
}
