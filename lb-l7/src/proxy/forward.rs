//! A request on its way to a pool: a backend is chosen, and another one if that fails.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use lb_core::pool::Backend;
use smallvec::SmallVec;

use super::answer::Answer;
use super::exchange::{Ended, Stage, client_left};
use super::slot::{NoSlot, Slot, Turn, acquire};
use super::trail::Trail;
use super::{After, Client, Scene, respond, tunnel};
use crate::access_log::{Fault, Side};
use crate::body::Source;
use crate::head::ResponseHead;
use crate::upstream::error::UpstreamErrorKind;
use crate::upstream::{Link, Processed, Reused, UpstreamError};
use crate::worker::{PoolView, View};

/// Places in the pool that this request has failed at.
type Tried = SmallVec<[usize; 4]>;

pub async fn forward<C: Client>(
    scene: &Scene<'_>,
    client: &mut C,
    pool: usize,
    response: &mut ResponseHead,
    trail: &mut Trail,
) -> After {
    begin(scene, scene.view.pool(pool), trail);
    let mut retries = Retries::default();
    // Where the request is that waited during a reload.
    let mut newer: Option<(Rc<View>, usize)> = None;
    loop {
        let pool = newer.as_ref().map_or_else(|| scene.view.pool(pool), |(view, place)| view.pool(*place));
        let failure = match attempt(scene, client, pool, &mut retries, response, trail).await {
            Attempt::Over(after) => return after,
            Attempt::Outdated => {
                newer = newest(scene, pool).or(newer);
                retries.tried.clear();
                continue;
            }
            Attempt::Answer(answer) => return Box::pin(respond(scene, client, response, trail, answer)).await,
            Attempt::Failed(failure) => failure,
        };
        tracing::debug!(backend = failure.backend.id(), error = %failure.error, "attempt failed");
        if !retries.allow(scene, client, pool, &failure) {
            return Box::pin(respond(scene, client, response, trail, failure.answer())).await;
        }
        trail.retries += 1;
    }
}

fn begin(scene: &Scene<'_>, pool: &PoolView, trail: &mut Trail) {
    if trail.logged {
        trail.pool = Some(pool.plan.pool.config.name.clone());
    }
    pool.plan.pool.live.counters.shard(scene.worker.index).requests.inc();
    pool.earn_retry();
}

/// The pool of that name as it is now.
fn newest(scene: &Scene<'_>, pool: &PoolView) -> Option<(Rc<View>, usize)> {
    let view = scene.worker.view();
    let place = view.pool_position(&pool.plan.pool.config.name)?;
    Some((view, place))
}

enum Attempt {
    Over(After),
    /// A reload came while the request waited for a slot.
    Outdated,
    /// Nothing was sent to the client yet, and no other backend would help.
    Answer(Answer),
    Failed(Failure),
}

/// A backend failed before its response began.
struct Failure {
    error: UpstreamError,
    backend: Arc<Backend>,
    index: usize,
    reused: Reused,
}

impl Failure {
    fn answer(&self) -> Answer {
        let text = match self.error.kind {
            UpstreamErrorKind::Connect(_) | UpstreamErrorKind::Tls(_) | UpstreamErrorKind::Alpn => {
                "the backend could not be reached"
            }
            UpstreamErrorKind::ConnectTimeout => "the backend could not be reached in time",
            UpstreamErrorKind::WentAway => "the backend went down",
            UpstreamErrorKind::Closed | UpstreamErrorKind::Io(_) | UpstreamErrorKind::Reset(_) => {
                "the backend closed the connection"
            }
            UpstreamErrorKind::Protocol(_) => "the backend sent an invalid response",
            UpstreamErrorKind::ResponseTimeout => "the backend did not answer in time",
        };
        if self.error.is_ours() {
            return Answer::lb(503, "out of descriptors or ports", "exhausted");
        }
        Answer {
            fault: Fault { side: Side::Backend, reason: self.error.reason() },
            ..Answer::backend(self.error.status(), text, "")
        }
    }
}

/// What came of the attempts so far.
#[derive(Default)]
struct Retries {
    tried: Tried,
    made: u32,
    stale: bool,
    turn: Turn,
}

impl Retries {
    /// May the request be sent again (RFC 9110 section 9.2.2), and is there a retry left for it?
    fn allow(&mut self, scene: &Scene<'_>, client: &mut impl Client, pool: &PoolView, failure: &Failure) -> bool {
        if failure.error.is_ours() || !is_repeatable(client, &failure.error) {
            return false;
        }
        let lost = matches!(failure.error.kind, UpstreamErrorKind::Closed | UpstreamErrorKind::Io(_));
        if failure.reused == Reused::Yes && lost && !self.stale {
            // The backend closed an idle connection just as we took it: nobody's failure.
            self.stale = true;
            return true;
        }
        self.tried.push(failure.index);
        self.made += 1;
        let counters = pool.plan.pool.live.counters.shard(scene.worker.index);
        if self.made > pool.plan.pool.config.retry.attempts {
            return false;
        }
        if !pool.spend_retry() {
            counters.retries_refused.inc();
            return false;
        }
        counters.retries.inc();
        true
    }
}

fn is_repeatable(client: &mut impl Client, error: &UpstreamError) -> bool {
    let (head, source, _) = client.split();
    if !source.is_untouched() {
        return false;
    }
    use UpstreamErrorKind::{Closed, Io, Reset};
    match error.processed {
        Processed::No => true,
        Processed::Maybe => head.is_idempotent() && matches!(error.kind, Closed | Io(_) | Reset(_)),
    }
}

async fn attempt<C: Client>(
    scene: &Scene<'_>,
    client: &mut C,
    pool: &PoolView,
    retries: &mut Retries,
    response: &mut ResponseHead,
    trail: &mut Trail,
) -> Attempt {
    let (_, mut source, _) = client.split();
    let slot =
        match while_present(scene, &mut source, acquire(scene, pool, &retries.tried, &mut retries.turn, trail)).await {
            Some(Ok(slot)) => slot,
            Some(Err(NoSlot::Answer(answer))) => return Attempt::Answer(answer),
            Some(Err(NoSlot::Outdated)) => return Attempt::Outdated,
            None => return left(trail),
        };
    if trail.logged {
        trail.backend = Some(slot.backend().clone());
    }
    let failed =
        |error, reused| Attempt::Failed(Failure { error, backend: slot.backend().clone(), index: slot.index, reused });
    let (mut link, reused) = match while_present(scene, &mut source, connect(scene, pool, &slot, trail)).await {
        Some(Ok(link)) => link,
        Some(Err(error)) => return failed(error, Reused::No),
        None => return left(trail),
    };
    drop(source);
    let stage = Stage { scene, pool, slot: &slot };
    match stage.exchange(client, &mut link, response, trail).await {
        Ended::Complete { after, link_is_clean } => {
            if link_is_clean {
                keep(scene, pool, &slot, link, response);
            }
            Attempt::Over(after)
        }
        Ended::Switched => {
            let (sent, received) = Box::pin(tunnel::run(scene, client, &mut link, trail)).await;
            let counters = slot.backend().live.counters.shard(scene.worker.index);
            counters.bytes_sent.add(sent);
            counters.bytes_received.add(received);
            Attempt::Over(After::Abort)
        }
        Ended::Broken => Attempt::Over(After::Abort),
        Ended::Client(answer) => Attempt::Answer(answer),
        Ended::Failed(error) => failed(error, reused),
    }
}

fn left(trail: &mut Trail) -> Attempt {
    trail.client_gone();
    Attempt::Over(After::Abort)
}

/// Waits for `future`, but not for a client that has left: nobody would take the answer.
async fn while_present<F: Future>(scene: &Scene<'_>, source: &mut impl Source, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = pin!(client_left(scene, source));
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        left.as_mut().poll(cx).map(|()| None)
    })
    .await
}

async fn connect(
    scene: &Scene<'_>,
    pool: &PoolView,
    slot: &Slot<'_>,
    trail: &mut Trail,
) -> Result<(Link, Reused), UpstreamError> {
    let before = trail.logged.then(|| trail.elapsed());
    let linked = slot.upstream.link(scene.worker, &pool.plan, scene.timer).await;
    if let (Some(before), Ok((_, Reused::No))) = (before, &linked) {
        trail.connect = Some(trail.elapsed().saturating_sub(before));
    }
    linked
}

fn keep(scene: &Scene<'_>, pool: &PoolView, slot: &Slot<'_>, link: Link, response: &ResponseHead) {
    if let Link::H1(mut link) = link
        && link.is_reusable(response)
    {
        slot.upstream.keep(link, scene.worker.deadlines.now_ms(), pool.plan.pool.config.max_idle);
    }
}
