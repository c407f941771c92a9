//! The task that checks every backend of the current snapshot, and the handle by which to steer it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::{self, JoinError, JoinSet};

use super::Outcome;
use super::checked::{Checked, Now};
use super::probe::{Doing, Network, Prober};
use super::schedule::{Timers, first_wait, next_wait};
use super::target::{CheckTls, Target};
use crate::config::AdminState;
use crate::pool::{Backend, BackendLive, Health, Pool};
use crate::scheduler::{mix, name_hash};
use crate::snapshot::Snapshot;

/// Probes under way at once. Beyond it checks are late, never lost.
const RUNNING: usize = 1024;

/// Checks go on until it is dropped.
#[derive(Debug)]
pub struct Checker(mpsc::UnboundedSender<Command>);

#[derive(Debug)]
enum Command {
    Apply(Arc<Snapshot>),
    Force(Arc<BackendLive>),
}

impl Checker {
    /// Starts checking on the current tokio runtime.
    pub fn start(snapshot: Arc<Snapshot>) -> Self {
        Self::with_prober(snapshot, Network)
    }

    pub(super) fn with_prober(snapshot: Arc<Snapshot>, prober: impl Prober) -> Self {
        let (sender, commands) = mpsc::unbounded_channel();
        tokio::spawn(Supervisor::new(prober).run(commands));
        let checker = Self(sender);
        checker.apply(snapshot);
        checker
    }

    /// After a reload. Backends whose check is the same keep their results and their timers.
    pub fn apply(&self, snapshot: Arc<Snapshot>) {
        self.send(Command::Apply(snapshot));
    }

    /// Looks at one backend at once: an operator has changed its state.
    pub fn force(&self, backend: &Backend) {
        self.send(Command::Force(backend.live.clone()));
    }

    fn send(&self, command: Command) {
        // The task ends before this handle only with its runtime; then there is nobody to check for.
        let _ = self.0.send(command);
    }
}

struct Supervisor<P> {
    prober: P,
    checked: HashMap<Id, Checked>,
    timers: Timers<(Id, Ticket)>,
    probes: JoinSet<(Outcome, Duration)>,
    started: HashMap<task::Id, Started>,
    tickets: Ticket,
    /// The latest probe could not be made for want of something on this machine.
    lacking: bool,
}

/// The address of a backend's live state, which lives as long as its entry does.
type Id = usize;

/// A wait or a probe holds the ticket of its backend; one that comes back with an old ticket is ignored.
type Ticket = u64;

struct Started {
    id: Id,
    ticket: Ticket,
    at: Instant,
}

impl<P: Prober> Supervisor<P> {
    fn new(prober: P) -> Self {
        Self {
            prober,
            checked: HashMap::new(),
            timers: Timers::default(),
            probes: JoinSet::new(),
            started: HashMap::new(),
            tickets: 0,
            lacking: false,
        }
    }

    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        loop {
            let deadline = self.timers.next_deadline();
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    None => return,
                    Some(Command::Apply(snapshot)) => self.apply(&snapshot, Now::read()),
                    Some(Command::Force(live)) => self.schedule(id(&live), Duration::ZERO, Now::read()),
                },
                Some(ended) = self.probes.join_next_with_id() => self.ended(ended, Now::read()),
                () = sleep_until(deadline), if self.probes.len() < RUNNING => self.start_due(Now::read()),
            }
        }
    }

    fn apply(&mut self, snapshot: &Snapshot, now: Now) {
        let mut before = std::mem::take(&mut self.checked);
        for pool in &snapshot.pools {
            let tls = Arc::new(CheckTls::default());
            for backend in pool.backends.iter().chain(&pool.backup) {
                let Some(check) = pool.config.check.clone() else {
                    unchecked(pool, backend);
                    continue;
                };
                let target = Target { pool: pool.clone(), backend: backend.clone(), check, tls: tls.clone() };
                let known = before.remove(&id(&backend.live));
                self.join(known, Arc::new(target), now);
            }
        }
    }

    /// A backend of the new snapshot, with what is `known` of it from the old one.
    fn join(&mut self, known: Option<Checked>, target: Arc<Target>, now: Now) {
        let id = id(&target.backend.live);
        let first = first_wait(target.check.interval, name_hash(&target.backend.id(), 0));
        let maint = target.backend.admin_state() == AdminState::Maint;
        let (checked, wait) = match known {
            None => (Checked::new(target, now), Some(first)),
            Some(mut known) => {
                let wait = if known.retarget(target) { Some(first) } else { None };
                let wait = if known.held == maint { wait } else { Some(Duration::ZERO) };
                (known, wait)
            }
        };
        self.checked.insert(id, checked);
        if let Some(wait) = wait {
            self.schedule(id, wait, now);
        }
    }

    /// The next check is due after `wait`; whatever was planned or is under way no longer counts.
    fn schedule(&mut self, id: Id, wait: Duration, now: Now) {
        let Some(checked) = self.checked.get_mut(&id) else { return };
        self.tickets += 1;
        checked.ticket = self.tickets;
        self.timers.set(now.instant + wait, (id, self.tickets));
    }

    fn start_due(&mut self, now: Now) {
        while self.probes.len() < RUNNING {
            let Some((id, ticket)) = self.timers.pop_due(now.instant) else { return };
            self.start(id, ticket, now);
        }
    }

    fn start(&mut self, id: Id, ticket: Ticket, now: Now) {
        let Some(checked) = self.checked.get_mut(&id).filter(|checked| checked.ticket == ticket) else { return };
        if checked.target.backend.admin_state() == AdminState::Maint {
            checked.hold(now);
            let wait = next_wait(checked.target.check.interval, mix(ticket));
            return self.schedule(id, wait, now);
        }
        checked.held = false;
        let task = self.probes.spawn(timed(self.prober.clone(), checked.target.clone()));
        self.started.insert(task.id(), Started { id, ticket, at: now.instant });
    }

    fn ended(&mut self, ended: Result<(task::Id, (Outcome, Duration)), JoinError>, now: Now) {
        let (task, result) = match ended {
            Ok((task, result)) => (task, Ok(result)),
            Err(error) => (error.id(), Err(error)),
        };
        let Some(Started { id, ticket, at }) = self.started.remove(&task) else { return };
        let Some(checked) = self.checked.get_mut(&id).filter(|checked| checked.ticket == ticket) else { return };
        let took = now.instant.saturating_duration_since(at);
        let (outcome, took) = result.unwrap_or_else(|error| (broken_probe(&error), took));
        checked.record(&outcome, took, now);
        let wait = next_wait(checked.target.check.interval, mix(ticket)).saturating_sub(took);
        self.note_lack(&outcome);
        self.schedule(id, wait, now);
    }

    /// Says once that checks cannot be made, and once that they can again.
    fn note_lack(&mut self, outcome: &Outcome) {
        let lacking = matches!(outcome, Outcome::Inconclusive(_));
        match (std::mem::replace(&mut self.lacking, lacking), lacking) {
            (false, true) => {
                tracing::error!(reason = outcome.text(), "health checks cannot be made; health stays as it is")
            }
            (true, false) => tracing::info!("health checks can be made again"),
            _ => {}
        }
    }
}

async fn timed(prober: impl Prober, target: Arc<Target>) -> (Outcome, Duration) {
    let limit = target.check.timeout;
    let doing = Doing::default();
    let start = tokio::time::Instant::now();
    let outcome = tokio::time::timeout(limit, prober.probe(&target, &doing)).await;
    (outcome.unwrap_or_else(|_| Outcome::timeout(doing.get(), limit)), start.elapsed())
}

/// A bug in a probe must neither stop the others nor take a backend out.
fn broken_probe(error: &JoinError) -> Outcome {
    Outcome::Inconclusive(format!("the probe broke: {error}").into())
}

/// A pool that has no check any more takes its backends for usable.
fn unchecked(pool: &Pool, backend: &Backend) {
    if backend.live.health() != Health::Unknown {
        backend.live.set_health(Health::Unknown);
        pool.live.availability_changed();
        tracing::info!(pool = &*backend.pool, backend = &*backend.config.name, "no longer checked: health is unknown");
    }
}

fn id(live: &Arc<BackendLive>) -> Id {
    Arc::as_ptr(live) as Id
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
