//! Flow sync: the nodes of a file tell each other of their established flows, so that each can go on with them.
//!
//! | module | what it does |
//! |---|---|
//! | [`record`], [`message`] | what is said (pure) |
//! | [`machine`] | when it is said, and how nothing gets lost (pure) |
//! | [`table`] | the flow table as the protocol wants it |
//! | [`entry`] | runs the program that enters flows (bpf/sync.c) |
//!
//! Here is the thread that joins them to the link between the nodes.
//!
//! Not told are flows that are half open (the client sends its SYN again), and those whose backend knows the client by
//! an address of this node (`snat: auto`), which no other node can receive replies for.

pub mod entry;
pub mod machine;
pub mod message;
pub mod record;
mod table;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lb_core::labelled::Labelled;
use lb_core::peer::{Event, PeerId, Speaker, wire};
use serde::{Deserialize, Serialize};
use tracing::{debug, error, info, warn};

use crate::abi::imported;
use crate::clock::JiffyClock;
use crate::error::Error;
use crate::maps::Maps;
use crate::tier::Tier;
use entry::Entry;
use machine::{Counts, Machine, TURN};
use table::{Entered, FlowTable, View};

/// Messages that wait to be read; more are lost, and told again.
const INBOX: usize = 4096;
/// Messages between two looks at the time.
const AT_ONCE: usize = 256;
/// Where it could not begin, it is tried again after so long.
const RETRY: Duration = Duration::from_secs(5);
/// Between two looks at a flush that is not answered yet.
const FLUSH: Duration = Duration::from_millis(5);

/// What the link brings.
enum Input {
    Joined(PeerId),
    Changed(PeerId),
    Lost(PeerId),
    Message(PeerId, Vec<u8>),
    /// Answered when all others know what this node knows.
    Flush(SyncSender<()>),
}

/// Takes what the link hears; to be given to it before there is a [`FlowSync`].
pub struct Ear(SyncSender<Input>);

/// The other end of an [`Ear`].
pub struct Inbox(Receiver<Input>, SyncSender<Input>);

/// What other tiers and nodes want to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readiness {
    /// Is there layer 4, which wants to know flows?
    pub syncs: bool,
    /// Does this node know what the others know?
    pub ready: bool,
}

/// Flow sync as people and Prometheus see it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncReport {
    pub ready: bool,
    pub flows_sent: u64,
    pub flows_received: u64,
    /// By reason.
    #[serde(with = "lb_core::labelled")]
    pub errors: Labelled,
}

/// Ends with [`FlowSync::stop`].
pub struct FlowSync {
    shared: Arc<Shared>,
    inbox: SyncSender<Input>,
    thread: JoinHandle<()>,
}

struct Shared {
    stop: AtomicBool,
    report: Mutex<SyncReport>,
}

pub fn ear() -> (Ear, Inbox) {
    let (sender, receiver) = sync_channel(INBOX);
    (Ear(sender.clone()), Inbox(receiver, sender))
}

impl Ear {
    /// On the thread of the link.
    pub fn hear(&self, event: &Event<'_>) {
        let sent = match event {
            Event::Flows(id, content) => self.0.try_send(Input::Message(*id, content.to_vec())).is_ok(),
            Event::Joined(id) => self.0.send(Input::Joined(*id)).is_ok(),
            Event::Changed(id) => self.0.send(Input::Changed(*id)).is_ok(),
            Event::Lost(id) => self.0.send(Input::Lost(*id)).is_ok(),
            Event::Alive(_) | Event::Begins(_) => true,
        };
        if !sent {
            debug!("flow sync has ended, or cannot keep up: a message of another node is lost");
        }
    }
}

impl FlowSync {
    /// `peers` is how many other nodes there are; `on_change` is told when readiness changes, and once at the start.
    pub fn start(
        tier: Arc<Tier>,
        speaker: Speaker,
        inbox: Inbox,
        peers: usize,
        on_change: Box<dyn Fn(Readiness) + Send>,
    ) -> Result<Self, Error> {
        let Inbox(receiver, sender) = inbox;
        let shared = Arc::new(Shared { stop: AtomicBool::new(false), report: Mutex::default() });
        let syncer = Syncer {
            tier,
            speaker,
            inbox: receiver,
            shared: shared.clone(),
            on_change,
            told: None,
            listening: vec![false; peers],
            work: None,
            sequence: 0,
            flushes: vec![],
            failed: None,
        };
        let thread = std::thread::Builder::new().name("l4-sync".to_owned()).spawn(move || syncer.run());
        Ok(Self { shared, inbox: sender, thread: thread.map_err(Error::Thread)? })
    }

    /// Waits until the other nodes know what this one knows. `false`: they did not say so in time.
    pub fn flush(&self, longest: Duration) -> bool {
        let (sender, done) = sync_channel(1);
        self.inbox.try_send(Input::Flush(sender)).is_ok() && done.recv_timeout(longest).is_ok()
    }

    pub fn report(&self) -> SyncReport {
        lock(&self.shared.report).clone()
    }

    pub fn stop(self) {
        self.shared.stop.store(true, Ordering::Release);
        if self.thread.join().is_err() {
            error!("the thread of flow sync had panicked");
        }
    }
}

/// The thread.
struct Syncer {
    tier: Arc<Tier>,
    speaker: Speaker,
    inbox: Receiver<Input>,
    shared: Arc<Shared>,
    on_change: Box<dyn Fn(Readiness) + Send>,
    told: Option<Readiness>,
    /// By node: is it there, and does it want to know flows?
    listening: Vec<bool>,
    /// While there is layer 4.
    work: Option<Work>,
    /// From which the next machine goes on.
    sequence: u64,
    flushes: Vec<SyncSender<()>>,
    failed: Option<Failure>,
}

/// With these maps it did not work.
struct Failure {
    maps: Arc<Maps>,
    retry: Instant,
}

struct Work {
    maps: Arc<Maps>,
    jiffies: JiffyClock,
    table: FlowTable,
    machine: Machine,
    /// Dumps that had failed when that was last logged.
    failed: u64,
}

impl Syncer {
    fn run(mut self) {
        let mut next = clock();
        while !self.shared.stop.load(Ordering::Acquire) {
            match self.inbox.recv_timeout(next.saturating_duration_since(clock())) {
                Ok(input) => self.take_all(input),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = clock();
            if now >= next {
                self.turn(now);
                next = now + if self.flushes.is_empty() { TURN } else { FLUSH };
            }
            self.speak();
        }
    }

    fn take_all(&mut self, first: Input) {
        self.take(first);
        for _ in 0..AT_ONCE {
            let Ok(input) = self.inbox.try_recv() else { return };
            self.take(input);
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Joined(id) => self.meet(id),
            Input::Changed(id) if self.listening.get(id) != Some(&self.speaker.syncs_flows(id)) => self.meet(id),
            Input::Changed(_) => {}
            Input::Lost(id) => self.set_listening(id, false),
            Input::Message(id, content) => {
                if let Some(Work { table, machine, .. }) = &mut self.work {
                    machine.handle_message(id, &content, &mut View { table, tier: &self.tier }, clock());
                }
            }
            Input::Flush(done) => self.flushes.push(done),
        }
    }

    fn meet(&mut self, id: PeerId) {
        self.set_listening(id, self.speaker.syncs_flows(id));
    }

    fn set_listening(&mut self, id: PeerId, listens: bool) {
        let Some(listening) = self.listening.get_mut(id) else { return };
        *listening = listens;
        if let Some(work) = &mut self.work {
            work.machine.handle_peer(id, listens, clock());
        }
    }

    fn turn(&mut self, now: Instant) {
        self.follow_tier(now);
        let mut flushed = true;
        if let Some(Work { table, machine, jiffies, maps, .. }) = &mut self.work {
            match jiffies.now() {
                Ok(jiffies) => table.set_now(jiffies),
                Err(error) => {
                    let maps = maps.clone();
                    self.fail(maps, &error, now);
                    return self.tell(now);
                }
            }
            machine.handle_turn(&mut View { table, tier: &self.tier }, !self.flushes.is_empty(), now);
            flushed = machine.is_acked();
        }
        if flushed {
            // Who asked may have gone.
            for done in self.flushes.drain(..) {
                let _ = done.try_send(());
            }
        }
        self.tell(now);
    }

    /// Layer 4 comes and goes with reloads.
    fn follow_tier(&mut self, now: Instant) {
        let Some(ground) = self.tier.sync_ground() else {
            self.end();
            self.failed = None;
            return;
        };
        let is_same = |maps: &Arc<Maps>| Arc::ptr_eq(maps, &ground.maps);
        let works = self.work.as_ref().is_some_and(|work| is_same(&work.maps));
        if works || self.failed.as_ref().is_some_and(|failed| is_same(&failed.maps) && now < failed.retry) {
            return;
        }
        self.end();
        let programs = Entry::open(&ground.path, ground.sizes).and_then(|entry| Ok((entry, JiffyClock::load()?)));
        let (entry, jiffies) = match programs {
            Ok(programs) => programs,
            Err(error) => return self.fail(ground.maps, &error, now),
        };
        let mut machine = Machine::new(self.listening.len(), wire::ROOM, self.sequence, now);
        for (id, listens) in self.listening.iter().enumerate() {
            machine.handle_peer(id, *listens, now);
        }
        let table = FlowTable::new(ground.maps.clone(), entry, ground.hz, 0);
        self.failed = None;
        self.work = Some(Work { maps: ground.maps, jiffies, table, machine, failed: 0 });
    }

    fn end(&mut self) {
        if let Some(work) = self.work.take() {
            self.sequence = work.machine.sequence() + 1;
        }
    }

    /// Logged once for each layer 4.
    fn fail(&mut self, maps: Arc<Maps>, error: &Error, now: Instant) {
        self.end();
        let is_new = self.failed.as_ref().is_none_or(|failed| !Arc::ptr_eq(&failed.maps, &maps));
        if is_new {
            let why = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            error!(%error, why, "flow sync does not work, and is tried again every few seconds");
        }
        self.failed = Some(Failure { maps, retry: now + RETRY });
    }

    /// Without layer 4 there is nothing to know; where sync does not work, this node does not know it.
    fn is_ready(&self, now: Instant) -> bool {
        match &self.work {
            Some(work) => work.machine.is_ready(now),
            None => self.failed.is_none(),
        }
    }

    fn tell(&mut self, now: Instant) {
        let syncs = self.work.is_some();
        let ready = self.is_ready(now);
        *lock(&self.shared.report) = self.report(ready);
        self.complain();
        let readiness = Readiness { syncs, ready };
        if self.told == Some(readiness) {
            return;
        }
        match (self.told.is_some_and(|told| told.ready), ready) {
            (false, true) if syncs => info!("this node knows the flows of the others, and may take over"),
            (true, false) => warn!("this node catches up with the flows of the others before it takes over from them"),
            _ => {}
        }
        self.told = Some(readiness);
        (self.on_change)(readiness);
    }

    fn complain(&mut self) {
        let Some(Work { machine, failed, .. }) = &mut self.work else { return };
        let now = machine.counts().dumps_failed;
        if std::mem::replace(failed, now) < now {
            warn!("a node is there and does not tell its flows: this node asks on, and does not take over from it");
        }
    }

    fn report(&self, ready: bool) -> SyncReport {
        let Some(work) = &self.work else { return SyncReport { ready, ..SyncReport::default() } };
        let (counts, entered) = (work.machine.counts(), work.table.entered());
        let result = |result: u8| entered.results[usize::from(result)];
        SyncReport {
            ready,
            flows_sent: counts.sent,
            flows_received: result(imported::MADE) + result(imported::CHANGED),
            errors: errors(&counts, &entered),
        }
    }

    fn speak(&mut self) {
        let Some(work) = &mut self.work else { return };
        while let Some((id, content)) = work.machine.poll_output() {
            self.speaker.flows(id, &content);
        }
    }
}

fn errors(counts: &Counts, entered: &Entered) -> Labelled {
    let result = |result: u8| entered.results[usize::from(result)];
    let all = [
        ("lost", counts.lost),
        ("malformed", counts.malformed),
        ("dump_failed", counts.dumps_failed),
        ("unknown_backend", entered.unknown + result(imported::GONE)),
        ("address_taken", result(imported::TAKEN)),
        ("table_full", result(imported::FULL)),
        ("not_entered", entered.failed),
    ];
    all.map(|(reason, n)| (reason.to_owned(), n)).into()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::disallowed_methods, reason = "the driver of the machine, which gets the time from it")]
fn clock() -> Instant {
    Instant::now()
}
