//! HTTP/1.0 and HTTP/1.1 with a client: one request after the other (RFC 9112 section 9).

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use super::{Connection, heads};
use crate::body::{Data, Sink, SinkError};
use crate::h1::scan::HeadScan;
use crate::h1::{HeadLimits, Reject, encode, parse};
use crate::head::{Block, BodyLength, Method, Name, RequestHead, ResponseHead, Version};
use crate::io::message::{BodyState, Framing, HeadError, Inbox, MessageSink, MessageSource, receive_head};
use crate::io::send_limit::SendLimit;
use crate::io::splice::Direct;
use crate::io::transport::Transport;
use crate::proxy::answer::Answer;
use crate::proxy::trail::Trail;
use crate::proxy::{self, After, Client, Heads, Responder, Scene, headers};

/// How long, and for how many bytes, a connection is read on after our last word, so that the
/// client gets to read it (RFC 9112 section 9.6).
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1024 * 1024;

pub async fn serve(mut connection: Connection, transport: Transport, mut inbox: Inbox) {
    let mut first = true;
    loop {
        if !await_request(&mut connection, &transport, &mut inbox, first).await {
            break;
        }
        first = false;
        match request(&connection, &transport, &mut inbox).await {
            After::Persist => {}
            After::Close => break,
            After::Linger => return linger(&connection, &transport, &mut inbox).await,
            After::Abort => return,
        }
        connection.timer.set(connection.frontend.http.timeouts.idle);
    }
    if transport.is_tls() {
        let _ = connection.timer.within(LINGER, transport.shutdown()).await;
    }
}

/// Waits for the first byte of a request, for as long as the timer says; `false` when none will come.
async fn await_request(connection: &mut Connection, transport: &Transport, inbox: &mut Inbox, first: bool) -> bool {
    let arrived = poll_fn(|cx| {
        loop {
            skip_empty_lines(inbox);
            if !inbox.is_empty() {
                return Poll::Ready(true);
            }
            match inbox.poll_fill(transport, cx, false) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(false),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        // The timer also wakes us when a drain begins or a reload takes the frontend away.
        let stays = if first {
            connection.hurry_unasked();
            true
        } else {
            connection.renew()
        };
        if stays && !connection.timer.poll_expired(cx) { Poll::Pending } else { Poll::Ready(false) }
    })
    .await;
    // A request that has arrived is served even if it is the last one; a frontend that is gone keeps its old plan.
    let _ = connection.renew();
    arrived
}

/// Clients may send a few (RFC 9112 section 2.2).
fn skip_empty_lines(inbox: &mut Inbox) {
    while inbox.filled().starts_with(b"\r\n") {
        inbox.consume(2);
    }
    inbox.settle();
}

/// One request and its response.
async fn request(connection: &Connection, transport: &Transport, inbox: &mut Inbox) -> After {
    let mut heads = heads::lend();
    let after = exchange(connection, transport, inbox, &mut heads).await;
    let version = heads.request.version;
    // Whoever asks for the end says no more (RFC 9112 section 9.6), save for the line break that some put behind a body.
    let is_last = !heads.request.keep_alive && heads.request.body.is_none();
    heads::give_back(heads);
    inbox.settle();
    if after == After::Abort && version == Version::Http10 {
        // Without chunks, only a reset tells a body cut short from a whole one (RFC 9112 section 8).
        transport.reset_on_close();
    }
    let unread = !inbox.is_empty() || (after == After::Close && !is_last && transport.has_news());
    // Closing with unread bytes resets the connection, and can take our answer with it.
    if after == After::Close && unread { After::Linger } else { after }
}

async fn exchange(connection: &Connection, transport: &Transport, inbox: &mut Inbox, heads: &mut Heads) -> After {
    let mut trail = Trail::start(&connection.worker);
    let Heads { request, response, out } = heads;
    out.clear();
    let received = receive_request(connection, transport, inbox, request).await;
    let limits = connection.frontend.head_limits;
    let body = if received.is_ok() { request.body } else { BodyLength::None };
    let mut client = H1Client {
        transport,
        inbox,
        head: request,
        state: BodyState::new(body, &limits),
        untouched: true,
        trailers: Block::default(),
        out,
        limits,
    };
    let scene = Scene {
        worker: &connection.worker,
        view: connection.view.clone(),
        frontend: &connection.frontend,
        peer: &connection.peer,
        timer: &connection.timer,
    };
    let after = match received {
        Ok(()) => proxy::serve(&scene, &mut client, response, &mut trail).await,
        Err(Some(answer)) => Box::pin(proxy::respond(&scene, &mut client, response, &mut trail, answer)).await,
        Err(None) => return After::Abort,
    };
    trail.bytes_in += request.block.raw().len() as u64;
    trail.finish(&connection.worker, &connection.frontend, &connection.peer, request);
    after
}

/// A whole head, or the answer to what was wrong with it; `None` where there is nobody to answer.
async fn receive_request(
    connection: &Connection,
    transport: &Transport,
    inbox: &mut Inbox,
    head: &mut RequestHead,
) -> Result<(), Option<Answer>> {
    head.clear();
    let limits = connection.frontend.head_limits;
    let mut scan = HeadScan::default();
    let receiving = receive_head(transport, inbox, &mut scan, &limits);
    let received = connection.timer.within(connection.frontend.http.timeouts.header, receiving).await;
    let rejected = |reject: Reject| Some(Answer::rejected(reject));
    let end = match received {
        Ok(Ok(end)) => end,
        Ok(Err(HeadError::Reject(reject))) => return Err(rejected(reject)),
        Ok(Err(HeadError::Closed | HeadError::Io(_))) => return Err(None),
        Err(_) => return Err(Some(Answer::client(408, "the request came too slowly", "header_timeout").closing())),
    };
    let parsed = parse::request(&inbox.filled()[..end], &limits, head);
    inbox.consume(end);
    inbox.settle();
    parsed.map_err(rejected)
}

/// Ends a connection whose client may still be sending.
async fn linger(connection: &Connection, transport: &Transport, inbox: &mut Inbox) {
    let shut = connection.timer.within(LINGER, transport.shutdown()).await;
    if !matches!(shut, Ok(Ok(()))) {
        return;
    }
    // Closing with unread bytes would make the kernel send a reset, which can overtake our answer.
    let mut read = 0;
    inbox.consume(inbox.filled().len());
    let draining = async {
        while read < LINGER_BYTES {
            match poll_fn(|cx| inbox.poll_fill(transport, cx, false)).await {
                Ok(0) | Err(_) => return,
                Ok(n) => read += n,
            }
            inbox.consume(inbox.filled().len());
        }
    };
    let _ = connection.timer.within(LINGER, draining).await;
}

/// One request's client.
struct H1Client<'c> {
    transport: &'c Transport,
    inbox: &'c mut Inbox,
    head: &'c RequestHead,
    state: BodyState,
    untouched: bool,
    trailers: Block,
    out: &'c mut Vec<u8>,
    limits: HeadLimits,
}

impl Client for H1Client<'_> {
    type Source<'a>
        = MessageSource<'a>
    where
        Self: 'a;
    type Responder<'a>
        = H1Responder<'a>
    where
        Self: 'a;

    fn split(&mut self) -> (&RequestHead, MessageSource<'_>, H1Responder<'_>) {
        let source = MessageSource {
            transport: self.transport,
            inbox: self.inbox,
            state: &mut self.state,
            trailers: &mut self.trailers,
            limits: self.limits,
            untouched: &mut self.untouched,
        };
        let sink = MessageSink { transport: self.transport, out: self.out, framing: Framing::Raw, sent: 0 };
        (self.head, source, H1Responder { head: self.head, sink })
    }

    fn raw(&mut self) -> Option<(&Transport, &mut Inbox)> {
        Some((self.transport, self.inbox))
    }
}

/// The way back to an HTTP/1 client.
pub struct H1Responder<'a> {
    head: &'a RequestHead,
    sink: MessageSink<'a>,
}

impl H1Responder<'_> {
    /// The framing of RFC 9112 section 6, and the field that says so.
    fn frame(&mut self, response: &ResponseHead) -> bool {
        let headless = self.head.method == Method::Head || matches!(response.status, 204 | 304);
        if headless {
            self.sink.framing = Framing::Headless;
            self.keep_length(response);
            return true;
        }
        match response.body {
            BodyLength::None => self.sink.framing = Framing::Headless,
            BodyLength::Known(length) => {
                self.sink.framing = Framing::Raw;
                encode::content_length(self.sink.out, length);
            }
            // HTTP/1.0 and its early end know no chunks: the connection's end is the body's.
            BodyLength::Streamed | BodyLength::UntilClose if self.head.version == Version::Http10 => {
                self.sink.framing = Framing::Raw;
                return false;
            }
            BodyLength::Streamed | BodyLength::UntilClose => {
                self.sink.framing = Framing::Chunked;
                encode::framing(self.sink.out, BodyLength::Streamed);
            }
        }
        true
    }

    /// Without a body, Content-Length tells what it would have been (RFC 9110 section 8.6).
    fn keep_length(&mut self, response: &ResponseHead) {
        if response.status == 204 {
            return;
        }
        match (response.block.get(Name::ContentLength), response.body) {
            (Some(length), _) => encode::field(self.sink.out, b"Content-Length", length),
            (None, BodyLength::Known(length)) => encode::content_length(self.sink.out, length),
            (None, _) => {}
        }
    }

    fn connection_option(&mut self, response: &ResponseHead, persist: bool) {
        if response.status == 101 {
            self.sink.out.extend_from_slice(b"Connection: Upgrade\r\n");
            let protocol = response.block.get(Name::Upgrade).unwrap_or_default();
            encode::field(self.sink.out, b"Upgrade", protocol);
        } else if !persist {
            self.sink.out.extend_from_slice(b"Connection: close\r\n");
        } else if self.head.version == Version::Http10 {
            self.sink.out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
    }
}

impl Responder for H1Responder<'_> {
    fn begin(&mut self, response: &ResponseHead, persist: bool) -> Result<bool, SinkError> {
        self.sink.out.reserve(response.block.raw().len() + 128);
        encode::status_line(self.sink.out, response.status, response.block.bytes(response.reason));
        headers::response(response, self.sink.out);
        let persist = self.frame(response) && persist;
        self.connection_option(response, persist);
        encode::end_of_head(self.sink.out);
        Ok(persist)
    }

    async fn interim(&mut self, response: &ResponseHead, limit: SendLimit<'_>) -> Result<(), SinkError> {
        encode::status_line(self.sink.out, response.status, response.block.bytes(response.reason));
        headers::response(response, self.sink.out);
        encode::end_of_head(self.sink.out);
        self.sink.flush(limit).await
    }

    fn sent(&self) -> u64 {
        self.sink.sent
    }
}

impl Sink for H1Responder<'_> {
    fn direct(&mut self) -> Option<Direct<'_>> {
        self.sink.direct()
    }

    async fn data(&mut self, data: Data<'_>, end: bool, limit: SendLimit<'_>) -> Result<(), SinkError> {
        self.sink.data(data, end, limit).await
    }

    async fn finish(&mut self, trailers: Option<&Block>, limit: SendLimit<'_>) -> Result<(), SinkError> {
        self.sink.finish(trailers, limit).await
    }

    async fn flush(&mut self, limit: SendLimit<'_>) -> Result<(), SinkError> {
        self.sink.flush(limit).await
    }
}
