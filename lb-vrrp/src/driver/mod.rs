//! The threads that drive the machines.
//!
//! | thread | what it does |
//! |---|---|
//! | `vrrp` | the head: adverts, timers, decisions. Never waits for anybody |
//! | `vrrp-hands` | interfaces and addresses. May be held up by the kernel |
//! | `vrrp-log` | logs, and tells those who wait |
//!
//! | file | what it does |
//! |---|---|
//! | `desired.rs` | from the configuration to what this node is to run |
//! | `head.rs`, `node.rs`, `router.rs` | the head's loop, all virtual routers, and one of them |
//! | `labour.rs`, `hands.rs`, `holding.rs` | the same for the hands |
//! | `slices.rs` | what is to be done with many addresses, a slice at a time |
//! | `kernel.rs` | what both ask of the system |
//! | `outlook.rs`, `host.rs` | the system, for the head and for the hands |
//! | `waiter.rs`, `clock.rs` | sleeping, and the time |
//! | `setup.rs` | what makes the threads punctual |
//! | `letters.rs`, `mailbox.rs` | what passes between threads, without waiting |
//! | `board.rs` | what is shown |
//! | `journal.rs` | the ordinary thread that logs, and tells those who wait |

mod board;
mod clock;
mod desired;
mod hands;
mod head;
mod holding;
mod host;
mod journal;
mod kernel;
mod labour;
mod letters;
mod mailbox;
mod node;
mod outlook;
mod router;
mod setup;
mod slices;
#[cfg(test)]
mod tests;
mod waiter;

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::{error, warn};

pub use board::{Board, Punctuality, Shown};
pub use clock::utc;
pub use desired::{Desired, Place, desired};
pub use journal::{Hook, RoleEvent};
pub use letters::{Assigned, Command};

use self::head::Head;
use self::host::Host;
use self::journal::Registry;
use self::labour::Labour;
use self::letters::{Entry, Finding, Order};
use self::mailbox::Mailbox;
use self::setup::{Rank, Standing};
use crate::error::Error;
use crate::net::{Ledger, Socket};
use crate::report::Outcome;
use crate::routers::RouterId;

/// Commands that may wait: reloads, observations, requests of an operator.
const COMMANDS: usize = 1024;
/// How long it may take to take everything away at once.
const ABANDON: Duration = Duration::from_secs(1);
/// Milliseconds that a command waits for room.
const PATIENCE: u32 = 1000;

/// Orders and findings that may wait: three for each of hundreds of virtual routers.
const LETTERS: usize = 8192;

/// What the threads share.
struct Shared {
    commands: Mailbox<Command>,
    orders: Arc<Mailbox<Order>>,
    findings: Mailbox<Finding<Arc<Socket>>>,
    journal: Arc<Mailbox<Entry>>,
    punctuality: Punctuality,
}

/// The threads.
pub struct Driver {
    shared: Arc<Shared>,
    registry: Arc<Registry>,
    /// Closed when the head has ended.
    ended: Receiver<()>,
    threads: Option<Threads>,
    /// Nobody else drives virtual routers of this network namespace.
    _lock: UnixListener,
}

struct Threads {
    head: JoinHandle<()>,
    log: JoinHandle<()>,
}

impl Driver {
    /// Without virtual routers, yet. The hook is told of changes of role, on the thread that logs. `ledger` is where it
    /// is written down what is set on this host, should this process not be able to undo it.
    pub fn start(hook: Option<Hook>, ledger: &Path) -> Result<Self, Error> {
        let lock = lock()?;
        let ledger = Ledger::open(ledger).unwrap_or_else(|error| {
            warn!(%error, "what virtual routers set on interfaces would not be put back after a crash");
            Ledger::default()
        });
        let host = Host::open(ledger)?;
        let shared = Arc::new(Shared::new().map_err(Error::Thread)?);
        let registry = Arc::new(Registry::default());
        let labour = Labour::new(host, shared.clone()).map_err(Error::Thread)?;
        spawn("vrrp-hands", move || {
            setup::set_up(Rank::Hands);
            labour.live();
        })?;
        let head = Head::new(shared.clone()).map_err(Error::Thread)?;
        let (end, ended) = sync_channel(0);
        let (tell, told) = sync_channel(1);
        let mine = shared.clone();
        let head = spawn("vrrp", move || {
            let _ends = end;
            // Who started us waits for it.
            let _ = tell.send(setup::set_up(Rank::Head));
            head.live();
            let _ = mine.orders.put(Order::End);
            mine.journal.close();
        })?;
        if let Some(warning) = told.recv().ok().and_then(|standing: Standing| standing.warning()) {
            warn!("the thread of the virtual routers may be late: {warning}");
        }
        let (theirs, names) = (shared.clone(), registry.clone());
        let log = spawn("vrrp-log", move || journal::read(&theirs.journal, &names, hook))?;
        Ok(Self { shared, registry, ended, threads: Some(Threads { head, log }), _lock: lock })
    }

    pub fn punctuality(&self) -> &Punctuality {
        &self.shared.punctuality
    }

    /// Whether the thread still runs.
    pub fn is_alive(&self) -> bool {
        self.threads.as_ref().is_some_and(|threads| !threads.head.is_finished())
    }

    /// For logs.
    pub fn name(&self, id: RouterId, desired: &Desired) {
        let tracked = desired.tracking().trackers().iter().map(|tracker| tracker.name.clone()).collect();
        self.registry.name(id, desired.name.clone(), tracked);
    }

    /// Carried out soon, in the order given.
    pub fn command(&self, command: Command) {
        let mut letter = command;
        for _ in 0..PATIENCE {
            match self.shared.commands.put(letter) {
                Ok(()) => return,
                Err(refused) => letter = refused,
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        error!("the thread of the virtual routers does not take commands");
    }

    /// Asks for a handover; what becomes of it is received.
    pub fn yield_role(&self, id: RouterId) -> Receiver<Outcome> {
        let outcome = self.registry.wait_for(id);
        self.command(Command::Yield(id));
        outcome
    }

    /// What ends a [`Driver::stop`] that takes too long.
    pub fn emergency(&self) -> Emergency {
        Emergency(self.shared.clone())
    }

    /// Hands over and takes everything away; `false`: not within `longest`, and then without a successor.
    pub fn stop(mut self, longest: Duration) -> bool {
        self.command(Command::Stop);
        self.end(longest)
    }

    fn end(&mut self, longest: Duration) -> bool {
        let Some(threads) = self.threads.take() else { return true };
        let in_time = self.has_ended(longest);
        if !in_time {
            self.command(Command::Abandon);
            if !self.has_ended(ABANDON) {
                return false;
            }
        }
        // A panic has told of itself.
        let _ = threads.log.join();
        in_time
    }

    fn has_ended(&self, longest: Duration) -> bool {
        matches!(self.ended.recv_timeout(longest), Err(RecvTimeoutError::Disconnected))
    }
}

/// Lets go of everything at once, and says so to the other nodes.
pub struct Emergency(Arc<Shared>);

impl Emergency {
    pub fn call(&self) {
        // Where there is no room, the end is near anyway.
        let _ = self.0.commands.put(Command::Abandon);
    }
}

impl Shared {
    fn new() -> io::Result<Self> {
        Ok(Self {
            commands: Mailbox::new(COMMANDS, false)?,
            orders: Arc::new(Mailbox::new(LETTERS, false)?),
            findings: Mailbox::new(LETTERS, false)?,
            journal: Arc::new(Mailbox::new(journal::SIZE, true)?),
            punctuality: Punctuality::default(),
        })
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if self.threads.is_some() {
            self.command(Command::Abandon);
            self.end(ABANDON);
        }
    }
}

fn spawn(name: &str, task: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    std::thread::Builder::new().name(name.to_owned()).spawn(task).map_err(Error::Thread)
}

/// Two would take each other's addresses for what a dead process has left. The name is one of the network namespace
/// (unix(7)), and gone with the process.
fn lock() -> Result<UnixListener, Error> {
    let name = SocketAddr::from_abstract_name("lb/vrrp").map_err(Error::Thread)?;
    UnixListener::bind_addr(&name).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => Error::Locked,
        _ => Error::Thread(error),
    })
}
