//! The thread of all machines: waits, and says what happened.
//!
//! It goes before ordinary threads, takes no lock that one of them could hold, and writes no log: what is to be told, and
//! what is to be done with interfaces, goes through mailboxes.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tracing::error;

use super::Shared;
use super::clock;
use super::node::{Known, Node};
use super::outlook::{Outlook, Ready};
use super::waiter::Wait;
use crate::time::Time;

/// Packets of one socket between two looks at the timer.
const MOST: usize = 1024;
/// Later than this is worth a word to the machines: the shortest interval of adverts.
const GAP: Duration = Duration::from_millis(10);
/// Larger than any advert, with whatever may stand in front.
const LARGEST: usize = 9216;

pub struct Head {
    shared: Arc<Shared>,
    node: Node<Outlook>,
    ready: Vec<Ready>,
    buffer: Vec<u8>,
}

impl Head {
    pub fn new(shared: Arc<Shared>) -> io::Result<Self> {
        let outlook = Outlook::open(&shared.commands, &shared.findings, shared.orders.clone())?;
        let node = Node::new(outlook, shared.journal.clone());
        Ok(Self { shared, node, ready: Vec::new(), buffer: vec![0; LARGEST] })
    }

    /// Until everything is handed over and taken away. If something goes wrong that should not, the addresses do not
    /// stay behind: another node takes over.
    pub fn live(mut self) {
        let lived = catch_unwind(AssertUnwindSafe(|| self.run()));
        match lived {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error!(%error, "the virtual routers end"),
            Err(_) => error!("a bug: the thread of the virtual routers panicked; they end"),
        }
        let _ = catch_unwind(AssertUnwindSafe(|| self.node.abandon()));
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
        self.node.network.wait(Wait::Until(due), &mut self.ready)?;
        let now = clock::now()?;
        self.node.begin(now);
        self.judge(due, now);
        self.read_all()?;
        if self.node.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.node.expire();
        }
        self.node.show();
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

    fn read_all(&mut self) -> io::Result<()> {
        let mut ready = std::mem::take(&mut self.ready);
        // What the hands have found may bear on what else there is: adverts last.
        ready.sort_unstable_by_key(|ready| matches!(ready, Ready::Adverts(_)));
        for what in ready.drain(..) {
            match what {
                Ready::Commands => self.obey(),
                Ready::Findings => self.learn()?,
                Ready::Adverts(door) => self.receive(door),
            }
        }
        self.ready = ready;
        Ok(())
    }

    fn receive(&mut self, door: u32) {
        for _ in 0..MOST {
            let Some(socket) = self.node.socket(door) else { return };
            // An error that the network sent back is told once, and concerns no packet.
            let Ok(Some(received)) = socket.receive(&mut self.buffer) else { return };
            let known = received.map_or(Known::Stranger, |received| self.node.receive(door, &received));
            if known == Known::Stranger {
                self.shared.punctuality.strangers.inc();
            }
        }
    }

    fn obey(&mut self) {
        self.shared.commands.listen();
        while let Some(command) = self.shared.commands.take() {
            self.node.command(command);
        }
    }

    fn learn(&mut self) -> io::Result<()> {
        self.shared.findings.listen();
        let is_last = self.shared.findings.is_closed();
        while let Some(finding) = self.shared.findings.take() {
            self.node.found(finding);
        }
        if is_last { Err(io::Error::other("a bug: nobody looks after the interfaces any more")) } else { Ok(()) }
    }
}
