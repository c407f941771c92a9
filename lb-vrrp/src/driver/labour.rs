//! The thread of the hands: waits, and says what happened. It may be held up by the kernel.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tracing::error;

use super::Shared;
use super::clock;
use super::hands::Hands;
use super::host::{Host, Ready};
use super::waiter::Wait;
use crate::net::Change;

/// Announcements of others between two looks at anything else.
const MOST: usize = 64;
/// How long findings wait for room.
const PATIENCE: Duration = Duration::from_millis(1);

pub struct Labour {
    shared: Arc<Shared>,
    hands: Hands<Host>,
    ready: Vec<Ready>,
    changes: Vec<Change>,
}

impl Labour {
    pub fn new(host: Host, shared: Arc<Shared>) -> io::Result<Self> {
        host.listen_to(&*shared.orders)?;
        let hands = Hands::new(host, shared.journal.clone());
        Ok(Self { shared, hands, ready: Vec::new(), changes: Vec::new() })
    }

    /// Until it is told to end. If something goes wrong that should not, no address stays behind.
    pub fn live(mut self) {
        let lived = catch_unwind(AssertUnwindSafe(|| self.run()));
        match lived {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error!(%error, "interfaces are not looked after any more"),
            Err(_) => error!("a bug: the thread that looks after interfaces panicked"),
        }
        let _ = catch_unwind(AssertUnwindSafe(|| self.hands.abandon()));
        self.shared.findings.close();
    }

    fn run(&mut self) -> io::Result<()> {
        while !self.hands.has_ended() {
            self.turn()?;
        }
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        let wait = match self.hands.next_work() {
            Some(work) if work <= self.hands.now() => Wait::No,
            work => Wait::Until(work),
        };
        self.hands.kernel.wait(wait, &mut self.ready)?;
        self.hands.begin(clock::now()?);
        self.read_all();
        self.hands.settle();
        self.tell();
        Ok(())
    }

    fn read_all(&mut self) {
        let mut ready = std::mem::take(&mut self.ready);
        for what in ready.drain(..) {
            match what {
                Ready::Orders => self.obey(),
                Ready::Changes => self.follow(),
                Ready::Announcements(id) => self.overhear(id),
            }
        }
        self.ready = ready;
    }

    fn obey(&mut self) {
        self.shared.orders.listen();
        while let Some(order) = self.shared.orders.take() {
            self.hands.obey(order);
        }
    }

    fn follow(&mut self) {
        let mut changes = std::mem::take(&mut self.changes);
        self.hands.kernel.changes(&mut changes);
        for change in changes.drain(..) {
            self.hands.changed(change);
        }
        self.changes = changes;
    }

    fn overhear(&mut self, id: crate::routers::RouterId) {
        for _ in 0..MOST {
            if !self.hands.kernel.overhears(id) {
                return;
            }
            self.hands.contested(id);
        }
    }

    /// The head takes what there is within a moment.
    fn tell(&mut self) {
        for mut finding in self.hands.findings.drain(..) {
            while let Err(refused) = self.shared.findings.put(finding) {
                finding = refused;
                std::thread::sleep(PATIENCE);
            }
        }
    }
}
