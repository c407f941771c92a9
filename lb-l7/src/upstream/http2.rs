//! HTTP/2 connections to a backend, shared by the requests of one worker.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::Ping;
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Method, Request, Uri};
use lb_core::config::Protocol;
use lb_core::pool::Backend;
use tokio::sync::Mutex;

use super::connect::{self, Counted};
use super::error::{UpstreamError, UpstreamErrorKind};
use super::{Link, Reused};
use crate::body::{Piece, Source, SourceError};
use crate::h1::Reject;
use crate::head::{Block, Name, RequestHead, ResponseHead};
use crate::http2::body::{StreamSink, StreamSource};
use crate::http2::head;
use crate::io::deadline::{Deadlines, Timer};
use crate::io::transport::{Stream, Transport};
use crate::plan::PoolPlan;
use crate::proxy::headers::{self, FieldSink, Origin};
use crate::worker::Worker;

/// What we let a backend send ahead on a stream. The window of a connection is not the limit: else a
/// few clients that do not read would take it from all the others.
const STREAM_WINDOW: u32 = 128 * 1024;
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// Request bytes that may wait in one stream.
const SEND_BUFFER: usize = 32 * 1024;
const MAX_HEADER_LIST: u32 = 64 * 1024;
/// Streams that we open on one connection at most, whatever the backend allows.
const MAX_STREAMS: usize = 256;
/// Streams that `h2` takes to be allowed before it has seen the backend's SETTINGS.
const FEW_STREAMS: usize = 100;
/// What small DATA frames that wait to be read may cost beyond their bytes: enough for all streams to
/// bring small messages to slow readers, as one that exceeds it ends the others too.
const SMALL_FRAMES: usize = 64 * 1024 * 1024;

/// One worker's HTTP/2 connections to one backend.
#[derive(Debug, Default)]
pub struct H2Links {
    shared: RefCell<Vec<Rc<Shared>>>,
    /// Held while a connection is opened, so that a burst of requests opens one and not many.
    opening: Mutex<()>,
}

#[derive(Debug)]
struct Shared {
    sender: SendRequest<Bytes>,
    transport: Weak<Transport>,
    active: Cell<usize>,
    /// Takes no more streams: it has ended, is about to, or is not trusted any more.
    closed: Rc<Cell<bool>>,
    /// When its last stream ended.
    idle_since_ms: Cell<u64>,
    deadlines: Rc<Deadlines>,
}

impl Shared {
    fn has_room(&self) -> bool {
        !self.closed.get() && self.active.get() < self.sender.current_max_send_streams().min(MAX_STREAMS)
    }

    fn is_stale(&self, now_ms: u64, max_age_ms: u64) -> bool {
        self.active.get() == 0 && now_ms.saturating_sub(self.idle_since_ms.get()) >= max_age_ms
    }

    /// No stream can be opened after a GOAWAY, while those that it spared go on.
    fn note(&self, error: &h2::Error) {
        if error.is_go_away() {
            self.closed.set(true);
        }
    }
}

impl H2Links {
    pub async fn stream(
        &self,
        worker: &Worker,
        backend: &Arc<Backend>,
        plan: &PoolPlan,
        timer: &Timer,
    ) -> Result<(Link, Reused), UpstreamError> {
        if let Some(shared) = self.with_room() {
            return Ok((Link::H2(Box::new(H2Link::new(shared, plan))), Reused::Yes));
        }
        let opening = Box::pin(connect::in_time(backend, plan, timer, self.opening.lock())).await;
        let _opening = opening.map_err(UpstreamError::unsent)?;
        if let Some(shared) = self.with_room() {
            return Ok((Link::H2(Box::new(H2Link::new(shared, plan))), Reused::Yes));
        }
        let shared = Box::pin(open(worker, backend, plan, timer)).await?;
        self.shared.borrow_mut().push(shared.clone());
        Ok((Link::H2(Box::new(H2Link::new(shared, plan))), Reused::No))
    }

    fn with_room(&self) -> Option<Rc<Shared>> {
        self.shared.borrow().iter().find(|s| s.has_room()).cloned()
    }

    /// Forgets closed connections and those without a stream for too long; the latter close with GOAWAY.
    pub fn sweep(&self, now_ms: u64, max_age_ms: u64) {
        self.shared.borrow_mut().retain(|shared| !shared.closed.get() && !shared.is_stale(now_ms, max_age_ms));
    }

    pub fn clear(&self) {
        self.shared.borrow_mut().clear();
    }
}

async fn open(
    worker: &Worker,
    backend: &Arc<Backend>,
    plan: &PoolPlan,
    timer: &Timer,
) -> Result<Rc<Shared>, UpstreamError> {
    let opened = connect::open(worker, backend, plan, timer).await?;
    if plan.pool.config.protocol == Protocol::H2 && !opened.alpn_h2 {
        return Err(UpstreamError::unsent(UpstreamErrorKind::Alpn));
    }
    let closed = Rc::new(Cell::new(false));
    let stream = Stream::new(opened.transport, Vec::new());
    let transport = stream.transport();
    let greeted = connect::in_time(backend, plan, timer, greet(stream, opened.counted, closed.clone())).await;
    let sender = greeted.and_then(|result| result.map_err(of_handshake)).map_err(|kind| {
        backend.live.counters.shard(worker.index).connect_failures.inc();
        UpstreamError::unsent(kind)
    })?;
    let deadlines = worker.deadlines.clone();
    let idle_since_ms = Cell::new(deadlines.now_ms());
    Ok(Rc::new(Shared { sender, transport, active: Cell::new(0), closed, idle_since_ms, deadlines }))
}

/// Begins to speak HTTP/2. The answer to a PING comes after the backend's SETTINGS, which say how many
/// streams it takes; those that come too early would be refused.
async fn greet(stream: Stream, counted: Counted, closed: Rc<Cell<bool>>) -> Result<SendRequest<Bytes>, h2::Error> {
    let handshake = h2::client::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_max_send_streams(FEW_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_send_buffer_size(SEND_BUFFER)
        .data_frame_budget(SMALL_FRAMES)
        .enable_push(false)
        .handshake(stream);
    let (sender, mut connection) = handshake.await?;
    let ping_pong = connection.ping_pong();
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to a backend");
        }
        closed.set(true);
        drop(counted);
    });
    if let Some(mut ping_pong) = ping_pong {
        ping_pong.ping(Ping::opaque()).await?;
    }
    Ok(sender)
}

fn of_handshake(error: h2::Error) -> UpstreamErrorKind {
    match error.into_io() {
        Some(error) => UpstreamErrorKind::Io(error),
        None => UpstreamErrorKind::Closed,
    }
}

/// One stream, from its request to the end of its response.
#[derive(Debug)]
pub struct H2Link {
    shared: Rc<Shared>,
    scheme: &'static str,
    method: crate::head::Method,
    request: Option<Request<()>>,
    ends_with_head: bool,
    sink: StreamSink,
    response: Option<ResponseFuture>,
    source: Option<StreamSource>,
}

impl H2Link {
    fn new(shared: Rc<Shared>, plan: &PoolPlan) -> Self {
        shared.active.set(shared.active.get() + 1);
        let sink = StreamSink::new(shared.transport.clone());
        Self {
            shared,
            scheme: if plan.tls.is_some() { "https" } else { "http" },
            method: crate::head::Method::Get,
            request: None,
            ends_with_head: false,
            sink,
            response: None,
            source: None,
        }
    }

    /// Stages the head of a request. HTTP/1 takes targets that are no URI (RFC 3986), and HTTP/2 does not.
    pub fn begin(&mut self, head: &RequestHead, origin: Origin<'_>, authority: &[u8]) -> Result<(), Reject> {
        let mut fields = HeaderMap::with_capacity(head.block.len() + 6);
        headers::request(head, origin, &mut fields);
        if head.block.has_token(Name::Te, b"trailers") {
            fields.field(b"te", b"trailers");
        }
        if let crate::head::BodyLength::Known(length) = head.body {
            fields.field(b"content-length", itoa::Buffer::new().format(length).as_bytes());
        }
        let request = request_line(head, self.scheme, authority).ok_or(Reject::bad("not to be said in HTTP/2"))?;
        let (mut parts, ()) = request.into_parts();
        parts.headers = fields;
        self.method = head.method;
        self.ends_with_head = head.body.is_none();
        self.request = Some(Request::from_parts(parts, ()));
        Ok(())
    }

    /// Opens the stream with the staged head.
    pub async fn send_head(&mut self) -> Result<(), UpstreamError> {
        let Some(request) = self.request.take() else { return Ok(()) };
        let Ok(mut sender) = self.shared.sender.clone().ready().await else {
            self.shared.closed.set(true);
            return Err(UpstreamError::unsent(UpstreamErrorKind::Closed));
        };
        let opened = sender.send_request(request, self.ends_with_head);
        let (response, stream) = opened.map_err(|e| UpstreamError::h2(&e))?;
        self.response = Some(response);
        self.sink.stream = if self.ends_with_head { None } else { Some(stream) };
        Ok(())
    }

    /// Stops sharing the connection; streams in flight on it go on.
    pub fn distrust(&self) {
        self.shared.closed.set(true);
    }

    pub fn split(&mut self) -> (&mut StreamSink, H2Receiver<'_>) {
        let receiver = H2Receiver {
            shared: &self.shared,
            method: self.method,
            response: &mut self.response,
            source: &mut self.source,
        };
        (&mut self.sink, receiver)
    }
}

fn request_line(head: &RequestHead, scheme: &'static str, authority: &[u8]) -> Option<Request<()>> {
    let target = match head.target() {
        // RFC 9113 section 8.3.1: OPTIONS without a path.
        b"*" => "*",
        target => std::str::from_utf8(target).ok()?,
    };
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(target).build().ok()?;
    let method = Method::from_bytes(head.method_name().as_bytes()).ok()?;
    Request::builder().method(method).uri(uri).body(()).ok()
}

impl Drop for H2Link {
    fn drop(&mut self) {
        self.shared.active.set(self.shared.active.get() - 1);
        self.shared.idle_since_ms.set(self.shared.deadlines.now_ms());
    }
}

/// The receiving side of a stream.
#[derive(Debug)]
pub struct H2Receiver<'a> {
    shared: &'a Shared,
    method: crate::head::Method,
    response: &'a mut Option<ResponseFuture>,
    source: &'a mut Option<StreamSource>,
}

impl H2Receiver<'_> {
    /// The next head: interim ones, then the final one.
    pub async fn head(&mut self, into: &mut ResponseHead) -> Result<(), UpstreamError> {
        let Some(response) = self.response.as_mut() else {
            return Err(UpstreamError::unsent(UpstreamErrorKind::Closed));
        };
        let protocol = |reject| UpstreamError::sent(UpstreamErrorKind::Protocol(reject));
        if let Some(interim) = std::future::poll_fn(|cx| poll_interim(response, cx)).await {
            return head::response(&interim, true, self.method, into).map_err(protocol);
        }
        let response = response.await.map_err(|error| {
            self.shared.note(&error);
            UpstreamError::h2(&error)
        })?;
        *self.response = None;
        head::response(&response, response.body().is_end_stream(), self.method, into).map_err(protocol)?;
        *self.source = Some(StreamSource::new(response.into_body()));
        Ok(())
    }
}

/// An interim head, or `None` once the final one is there (or the stream failed).
fn poll_interim(response: &mut ResponseFuture, cx: &mut Context<'_>) -> Poll<Option<http::Response<()>>> {
    response.poll_informational(cx).map(|interim| interim.and_then(Result::ok))
}

impl Source for H2Receiver<'_> {
    async fn next(&mut self) -> Result<Piece<'_>, SourceError> {
        match self.source {
            Some(source) => source.next().await,
            None => Err(SourceError::Truncated),
        }
    }

    fn trailers(&self) -> Option<&Block> {
        self.source.as_ref().and_then(Source::trailers)
    }

    fn is_done(&self) -> bool {
        self.source.as_ref().is_some_and(Source::is_done)
    }

    fn is_untouched(&self) -> bool {
        self.source.as_ref().is_none_or(Source::is_untouched)
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.source {
            Some(source) => source.poll_closed(cx),
            None => Poll::Pending,
        }
    }
}
