//! One request on one connection to a backend: the request up, the response down, both at once
//! where the request has a body.

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use super::answer::Answer;
use super::slot::Slot;
use super::trail::Trail;
use super::{After, Client, Responder, Scene};
use crate::access_log::{Fault, Side};
use crate::body::{Patience, PumpError, Sink, SinkError, Source, SourceError, pump};
use crate::h1::Reject;
use crate::head::{RequestHead, ResponseHead, Version};
use crate::io::send_limit::SendLimit;
use crate::upstream::error::UpstreamErrorKind;
use crate::upstream::{Link, Receiver, UpstreamError};
use crate::worker::PoolView;

/// How long a client that has closed its sending side is still answered.
const HALF_CLOSED: Duration = Duration::from_secs(2);
/// Interim responses that one request may bring.
const MAX_INTERIM: usize = 32;

/// How an exchange ended.
#[derive(Debug)]
pub enum Ended {
    /// The client has the whole response.
    Complete { after: After, link_is_clean: bool },
    /// Both sides speak another protocol from here on.
    Switched,
    /// The response had begun and cannot be completed, or the client is gone.
    Broken,
    /// The client failed before a response had begun.
    Client(Answer),
    /// The backend failed before a response had begun.
    Failed(UpstreamError),
}

/// The surroundings of one exchange.
pub struct Stage<'a> {
    pub scene: &'a Scene<'a>,
    pub pool: &'a PoolView,
    pub slot: &'a Slot<'a>,
}

impl Stage<'_> {
    pub async fn exchange<C: Client>(
        &self,
        client: &mut C,
        link: &mut Link,
        response: &mut ResponseHead,
        trail: &mut Trail,
    ) -> Ended {
        let (head, mut source, mut responder) = client.split();
        if let Err(ended) = self.begin(link, head).await {
            return ended;
        }
        let (mut requester, mut receiver) = link.split();
        let progress = Progress::default();
        let ended = {
            let upload = pin!(self.upload(&mut source, &mut requester, &progress));
            let mut upload = Upload { future: upload, progress: &progress, state: UploadState::Running };
            let mut download = Download { stage: self, head, receiver: &mut receiver, responder: &mut responder };
            download.run(&mut upload, response, trail).await
        };
        trail.bytes_in += progress.moved.get();
        trail.bytes_out += responder.sent();
        self.backend_counters().bytes_sent.add(requester.sent());
        if let Ended::Failed(UpstreamError { kind: UpstreamErrorKind::ResponseTimeout, .. }) = ended {
            link.distrust();
        }
        ended
    }

    /// Sends the request with its body, then watches the client: it may leave before it is answered.
    async fn upload(&self, source: &mut impl Source, requester: &mut impl Sink, progress: &Progress) -> PumpError {
        let sent = if source.is_done() {
            let idle = self.pool.plan.pool.config.timeouts.response;
            requester.flush(SendLimit { timer: self.scene.timer, idle }).await.map_err(PumpError::Sink)
        } else {
            Box::pin(self.upload_body(source, requester, progress)).await
        };
        if let Err(error) = sent {
            return error;
        }
        progress.sent_whole.set(true);
        client_left(self.scene, source).await;
        PumpError::Source(SourceError::Left)
    }

    async fn upload_body(
        &self,
        source: &mut impl Source,
        requester: &mut impl Sink,
        progress: &Progress,
    ) -> Result<(), PumpError> {
        let http = &self.scene.frontend.http;
        let patience = Patience { source: http.timeouts.request, sink: self.pool.plan.pool.config.timeouts.response };
        let limit = http.limits.body_bytes.unwrap_or(u64::MAX);
        let timer = self.scene.worker.deadlines.timer();
        loop {
            match pump(source, requester, &timer, patience, &progress.moved, limit).await {
                // Once the response flows, a client may be silent for as long as the backend is not.
                Err(PumpError::SourceTimeout) if progress.answered.get() => {}
                result => return result,
            }
        }
    }

    async fn begin(&self, link: &mut Link, head: &RequestHead) -> Result<(), Ended> {
        let origin = self.scene.origin(self.pool);
        let staged = if head.authority.is_empty() {
            // Only HTTP/1.0 may name no host.
            let address = self.slot.backend().config.address.to_string();
            link.begin(head, origin, address.as_bytes())
        } else {
            link.begin(head, origin, head.authority())
        };
        staged.map_err(|reject| Ended::Client(Answer::rejected(reject)))?;
        let Link::H2(link) = link else { return Ok(()) };
        let timeout = self.pool.plan.pool.config.timeouts.response;
        let opened = self.scene.timer.within(timeout, link.send_head()).await;
        opened.unwrap_or_else(|_| Err(UpstreamError::unsent(UpstreamErrorKind::ResponseTimeout))).map_err(Ended::Failed)
    }

    fn backend_counters(&self) -> &lb_core::pool::BackendCounters {
        self.slot.backend().live.counters.shard(self.scene.worker.index)
    }
}

/// Ready when the client has left. It may have closed its sending side only, and still want the answer: it gets a while.
pub async fn client_left(scene: &Scene<'_>, source: &mut impl Source) {
    poll_fn(|cx| source.poll_closed(cx)).await;
    let timer = scene.worker.deadlines.timer();
    let _ = timer.within(HALF_CLOSED, pending::<()>()).await;
}

/// The request on its way, driven beside the response. Its future ends only in failure.
struct Upload<'p, F> {
    future: Pin<&'p mut F>,
    progress: &'p Progress,
    state: UploadState,
}

/// What both directions know of an exchange.
#[derive(Debug, Default)]
struct Progress {
    /// Bytes of the request's body.
    moved: Cell<u64>,
    /// The request has left as a whole.
    sent_whole: Cell<bool>,
    /// An interim response has come.
    interim: Cell<bool>,
    /// The final response has begun.
    answered: Cell<bool>,
}

#[derive(Debug)]
enum UploadState {
    Running,
    Done,
    /// The backend takes no more of it; it may still answer.
    Refused,
    /// The client failed.
    Failed(PumpError),
}

impl<F: Future<Output = PumpError>> Upload<'_, F> {
    /// Moves on; `true` when the backend has just got all that it will get.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        if !matches!(self.state, UploadState::Running | UploadState::Done) {
            return false;
        }
        let was_running = self.is_running();
        match self.future.as_mut().poll(cx) {
            Poll::Ready(PumpError::Sink(_)) => self.state = UploadState::Refused,
            Poll::Ready(error) => self.state = UploadState::Failed(error),
            Poll::Pending if self.is_done() => self.state = UploadState::Done,
            Poll::Pending => {}
        }
        was_running && !self.is_running()
    }

    fn is_running(&self) -> bool {
        matches!(self.state, UploadState::Running)
    }

    fn is_done(&self) -> bool {
        self.progress.sent_whole.get()
    }

    /// The backend owes an answer: it has the whole request, or its word that the body may come.
    fn is_awaited(&self, head: &RequestHead) -> bool {
        let awaits_word = head.expects_continue && !self.progress.interim.get() && self.progress.moved.get() == 0;
        !self.is_running() || awaits_word
    }
}

/// The response on its way.
struct Download<'a, 'l, R> {
    stage: &'a Stage<'a>,
    head: &'a RequestHead,
    receiver: &'a mut Receiver<'l>,
    responder: &'a mut R,
}

impl<R: Responder> Download<'_, '_, R> {
    async fn run(
        &mut self,
        upload: &mut Upload<'_, impl Future<Output = PumpError>>,
        response: &mut ResponseHead,
        trail: &mut Trail,
    ) -> Ended {
        if let Err(ended) = self.await_head(upload, response).await {
            return self.not_begun(ended, trail);
        }
        trail.status = response.status;
        if trail.logged {
            trail.first_byte = Some(trail.elapsed());
        }
        self.count_response(response);
        let persist = self.head.keep_alive && upload.is_done() && !self.stage.scene.is_last();
        let begun = self.responder.begin(response, persist);
        upload.progress.answered.set(true);
        match begun {
            Ok(_) if response.status == 101 => self.switch().await,
            Ok(persist) => self.body(upload, response, persist, trail).await,
            Err(_) => gone(trail),
        }
    }

    /// Waits for the final head, passing interim ones on, while the request's body goes up.
    async fn await_head(
        &mut self,
        upload: &mut Upload<'_, impl Future<Output = PumpError>>,
        response: &mut ResponseHead,
    ) -> Result<(), NotBegun> {
        let timer = self.stage.scene.timer;
        let timeout = self.stage.pool.plan.pool.config.timeouts.response;
        let (request, scene) = (self.head, self.stage.scene);
        let mut head =
            pin!(final_head(scene, self.receiver, self.responder, request.version, response, upload.progress));
        timer.set(timeout);
        poll_fn(|cx| {
            // The backend's time begins when it has the whole request.
            if upload.poll(cx) {
                timer.set(timeout);
            }
            if let UploadState::Failed(error) = &upload.state {
                return Poll::Ready(Err(NotBegun::of_client(error)));
            }
            if let Poll::Ready(result) = head.as_mut().poll(cx) {
                return Poll::Ready(result);
            }
            if upload.is_awaited(request) && timer.poll_expired(cx) {
                let error = UpstreamError::sent(UpstreamErrorKind::ResponseTimeout);
                return Poll::Ready(Err(NotBegun::Backend(error)));
            }
            Poll::Pending
        })
        .await
    }

    fn not_begun(&self, why: NotBegun, trail: &mut Trail) -> Ended {
        match why {
            NotBegun::Backend(error) => {
                self.stage.backend_counters().response_failures.inc();
                Ended::Failed(error)
            }
            NotBegun::Client(answer) => Ended::Client(answer),
            NotBegun::Gone => gone(trail),
        }
    }

    async fn switch(&mut self) -> Ended {
        match self.responder.flush(self.stage.scene.patience()).await {
            Ok(()) => Ended::Switched,
            Err(_) => Ended::Broken,
        }
    }

    async fn body(
        &mut self,
        upload: &mut Upload<'_, impl Future<Output = PumpError>>,
        response: &ResponseHead,
        persist: bool,
        trail: &mut Trail,
    ) -> Ended {
        let scene = self.stage.scene;
        let patience = Patience {
            source: self.stage.pool.plan.pool.config.timeouts.response,
            sink: scene.frontend.http.timeouts.idle,
        };
        let moved = Cell::new(0);
        let result = {
            let mut download = pin!(pump(self.receiver, self.responder, scene.timer, patience, &moved, u64::MAX));
            poll_fn(|cx| {
                upload.poll(cx);
                match &upload.state {
                    // It still reads, or sending to it will fail.
                    UploadState::Failed(PumpError::Source(SourceError::Left)) => {}
                    // Nothing more can be told to the client.
                    UploadState::Failed(error) => return Poll::Ready(Err(Broken::Request(is_malformed(error)))),
                    _ => {}
                }
                download.as_mut().poll(cx).map_err(Broken::Response)
            })
            .await
        };
        let received = moved.get() + response.block.raw().len() as u64;
        self.stage.backend_counters().bytes_received.add(received);
        match result {
            Ok(()) => {
                let after = match (persist, upload.is_done()) {
                    (true, _) => After::Persist,
                    (false, true) => After::Close,
                    (false, false) => After::Linger,
                };
                Ended::Complete { after, link_is_clean: upload.is_done() }
            }
            Err(error) => self.broken(error, trail),
        }
    }

    /// Says which side broke a response that had begun.
    fn broken(&self, broken: Broken, trail: &mut Trail) -> Ended {
        let backend = |reason| Fault { side: Side::Backend, reason };
        let client = |reason| Fault { side: Side::Client, reason };
        let fault = match broken {
            Broken::Response(PumpError::Source(SourceError::Reset(_))) => backend("reset"),
            Broken::Response(PumpError::Source(SourceError::Reject(_))) => backend("protocol_error"),
            Broken::Response(PumpError::Source(_)) => backend("truncated"),
            Broken::Response(PumpError::SourceTimeout) => backend("response_timeout"),
            Broken::Response(PumpError::Sink(SinkError::Stalled)) => client("client_stalled"),
            Broken::Request(true) => client("bad_request"),
            Broken::Response(PumpError::Sink(_)) | Broken::Request(false) => client("client_closed"),
        };
        trail.malformed |= matches!(broken, Broken::Request(true));
        if fault.side == Side::Backend {
            self.stage.backend_counters().response_failures.inc();
        }
        trail.fault = Some(fault);
        Ended::Broken
    }

    fn count_response(&self, response: &ResponseHead) {
        let class = usize::from(response.status / 100).saturating_sub(1);
        if let Some(counter) = self.stage.backend_counters().responses.get(class) {
            counter.inc();
        }
    }
}

fn gone(trail: &mut Trail) -> Ended {
    trail.client_gone();
    Ended::Broken
}

/// What broke a response that had begun.
enum Broken {
    Response(PumpError),
    /// The request's body; `true`: it was malformed.
    Request(bool),
}

fn is_malformed(error: &PumpError) -> bool {
    matches!(error, PumpError::Source(SourceError::Reject(_)))
}

/// Why no response began.
enum NotBegun {
    Backend(UpstreamError),
    Client(Answer),
    Gone,
}

impl NotBegun {
    fn of_client(error: &PumpError) -> Self {
        match error {
            PumpError::Source(SourceError::Reject(reject)) => NotBegun::Client(Answer::rejected(*reject)),
            PumpError::Source(SourceError::TooLarge) => {
                NotBegun::Client(Answer::client(413, "request body too large", "body_too_large").closing())
            }
            PumpError::SourceTimeout => {
                NotBegun::Client(Answer::client(408, "the request body came too slowly", "request_timeout").closing())
            }
            _ => NotBegun::Gone,
        }
    }
}

/// Receives heads up to the final one; interim ones go to clients that know of them (RFC 9110 section 15.2).
async fn final_head(
    scene: &Scene<'_>,
    receiver: &mut Receiver<'_>,
    responder: &mut impl Responder,
    client: Version,
    response: &mut ResponseHead,
    progress: &Progress,
) -> Result<(), NotBegun> {
    for _ in 0..=MAX_INTERIM {
        receiver.head(response).await.map_err(NotBegun::Backend)?;
        if !response.is_interim() {
            return Ok(());
        }
        progress.interim.set(true);
        if client > Version::Http10 {
            // The scene's own timer is the backend's.
            let timer = scene.worker.deadlines.timer();
            let limit = SendLimit { timer: &timer, ..scene.patience() };
            responder.interim(response, limit).await.map_err(|_| NotBegun::Gone)?;
        }
    }
    let flood = Reject::bad("too many interim responses");
    Err(NotBegun::Backend(UpstreamError::sent(UpstreamErrorKind::Protocol(flood))))
}
