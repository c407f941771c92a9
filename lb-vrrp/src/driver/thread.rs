//! The thread of all virtual routers: waits, and says what happened.
//!
//! It goes before ordinary threads, takes no lock that one of them could hold, and writes no log: what is to be told
//! goes through a mailbox.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tracing::error;

use super::board::Punctuality;
use super::clock;
use super::host::{Host, Ready};
use super::kernel::Door;
use super::letters::{Command, Entry};
use super::mailbox::Mailbox;
use super::node::{Known, Node};
use super::waiter::Wait;
use crate::net::Change;
use crate::routers::RouterId;
use crate::time::Time;

/// Packets of one socket, and commands, between two looks at the timer.
const MOST: usize = 1024;
/// Later than this is worth a word to the machines: the shortest interval of adverts.
const GAP: Duration = Duration::from_millis(10);
/// Larger than any advert, with whatever may stand in front.
const LARGEST: usize = 9216;

/// What the thread shares with the others.
pub struct Shared {
    pub commands: Mailbox<Command>,
    pub journal: Arc<Mailbox<Entry>>,
    pub punctuality: Punctuality,
}

pub struct Thread {
    shared: Arc<Shared>,
    node: Node<Host>,
    ready: Vec<Ready>,
    changes: Vec<Change>,
    buffer: Vec<u8>,
}

impl Thread {
    pub fn new(host: Host, shared: Arc<Shared>) -> io::Result<Self> {
        host.listen_to(&shared.commands)?;
        let node = Node::new(host, shared.journal.clone());
        Ok(Self { shared, node, ready: Vec::new(), changes: Vec::new(), buffer: vec![0; LARGEST] })
    }

    /// Until everything is handed over and taken away. If something goes wrong that should not, the addresses do not
    /// stay behind: another node takes over. What is given back is closed when nobody waits any more.
    pub fn live(mut self) -> Host {
        let lived = catch_unwind(AssertUnwindSafe(|| self.run()));
        match lived {
            Ok(Ok(())) => return self.node.kernel,
            Ok(Err(error)) => error!(%error, "a bug, or a host without memory: the virtual routers end"),
            Err(_) => error!("a bug: the thread of the virtual routers panicked; they end"),
        }
        let _ = catch_unwind(AssertUnwindSafe(|| self.node.abandon()));
        self.node.kernel
    }

    fn run(&mut self) -> io::Result<()> {
        while !self.node.has_ended() {
            self.turn()?;
        }
        Ok(())
    }

    /// What was received comes before any timer, so that none is judged while the advert that would have stopped it lies
    /// in a queue.
    fn turn(&mut self) -> io::Result<()> {
        let due = self.node.next_deadline();
        let wait = match self.node.next_work() {
            Some(work) if work <= self.node.now() => Wait::No,
            work => Wait::Until(due.into_iter().chain(work).min()),
        };
        self.node.kernel.wait(wait, &mut self.ready)?;
        let now = clock::now()?;
        self.node.begin(now);
        self.judge(due, now);
        self.read_all();
        if self.node.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.node.expire();
        }
        self.node.settle();
        Ok(())
    }

    /// How late it is.
    fn judge(&mut self, due: Option<Time>, now: Time) {
        let Some(due) = due.filter(|due| *due <= now) else { return };
        let late = now.since(due);
        self.shared.punctuality.lateness.observe_us(u64::try_from(late.as_micros()).unwrap_or(u64::MAX));
        if late >= GAP {
            self.node.woken(late);
        }
    }

    fn read_all(&mut self) {
        let mut ready = std::mem::take(&mut self.ready);
        for what in ready.drain(..) {
            match what {
                Ready::Adverts(door) => self.receive(door),
                Ready::Announcements(id) => self.listen(id),
                Ready::Changes => self.follow(),
                Ready::Commands => self.obey(),
            }
        }
        self.ready = ready;
    }

    fn receive(&mut self, door: Door) {
        for _ in 0..MOST {
            let Some(received) = self.node.kernel.receive(door, &mut self.buffer) else { return };
            let known = received.map_or(Known::Stranger, |received| self.node.receive(door, &received));
            if known == Known::Stranger {
                self.shared.punctuality.strangers.inc();
            }
        }
    }

    fn follow(&mut self) {
        let mut changes = std::mem::take(&mut self.changes);
        self.node.kernel.changes(&mut changes);
        for change in changes.drain(..) {
            self.node.changed(change);
        }
        self.changes = changes;
    }

    fn listen(&mut self, id: RouterId) {
        for _ in 0..MOST {
            if self.node.kernel.overheard(id).is_none() {
                return;
            }
            self.node.contested(id);
        }
    }

    fn obey(&mut self) {
        self.shared.commands.listen();
        while let Some(command) = self.shared.commands.take() {
            self.node.command(command);
        }
    }
}
