//! The thread that drives the machines, and what stands around it.
//!
//! | file | what it does |
//! |---|---|
//! | `desired.rs` | from the configuration to what this node is to run |
//! | `thread.rs` | the loop: waits, and says what happened |
//! | `node.rs`, `router.rs` | all virtual routers between the kernel and their machines, and one of them |
//! | `slices.rs` | what is to be done with many addresses, a slice at a time |
//! | `kernel.rs`, `host.rs` | what is asked of the kernel, and the kernel itself |
//! | `waiter.rs`, `clock.rs` | sleeping, and the time |
//! | `setup.rs` | what makes the thread punctual |
//! | `letters.rs`, `mailbox.rs` | what passes between the thread and the others, without waiting |
//! | `board.rs` | what it shows |
//! | `journal.rs` | the ordinary thread that logs, and tells those who wait |

mod board;
mod clock;
mod desired;
mod host;
mod journal;
mod kernel;
mod letters;
mod mailbox;
mod node;
mod router;
mod setup;
mod slices;
#[cfg(test)]
mod tests;
mod thread;
mod waiter;

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
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

use self::host::Host;
use self::journal::Registry;
use self::mailbox::Mailbox;
use self::setup::Standing;
use self::thread::{Shared, Thread};
use crate::error::Error;
use crate::report::Outcome;
use crate::routers::RouterId;

/// Commands that may wait: reloads, observations, requests of an operator.
const COMMANDS: usize = 1024;
/// How long it may take to take everything away at once.
const ABANDON: Duration = Duration::from_secs(1);
/// Milliseconds that a command waits for room.
const PATIENCE: u32 = 1000;

/// The thread, and the one that logs for it.
pub struct Driver {
    shared: Arc<Shared>,
    registry: Arc<Registry>,
    /// Closed when the thread has ended.
    ended: Receiver<()>,
    threads: Option<[JoinHandle<()>; 2]>,
    /// Nobody else drives virtual routers of this network namespace.
    _lock: UnixListener,
}

impl Driver {
    /// Without virtual routers, yet. The hook is told of changes of role, on the thread that logs.
    pub fn start(hook: Option<Hook>) -> Result<Self, Error> {
        let lock = lock()?;
        let host = Host::open()?;
        let mailboxes = || io::Result::Ok((Mailbox::new(COMMANDS, false)?, Mailbox::new(journal::SIZE, true)?));
        let (commands, journal) = mailboxes().map_err(Error::Thread)?;
        let shared = Arc::new(Shared { commands, journal: Arc::new(journal), punctuality: Punctuality::default() });
        let registry = Arc::new(Registry::default());
        let thread = Thread::new(host, shared.clone()).map_err(Error::Thread)?;
        let (end, ended) = sync_channel(0);
        let (tell, told) = sync_channel(1);
        let mine = shared.clone();
        let main = spawn("vrrp", move || {
            // Who started us waits for it.
            let _ = tell.send(setup::set_up());
            let rest = thread.live();
            mine.journal.close();
            drop((end, rest));
        })?;
        if let Some(warning) = told.recv().ok().and_then(|standing: Standing| standing.warning()) {
            warn!("the thread of the virtual routers may be late: {warning}");
        }
        let (theirs, names) = (shared.clone(), registry.clone());
        let log = spawn("vrrp-log", move || journal::read(&theirs.journal, &names, hook))?;
        Ok(Self { shared, registry, ended, threads: Some([main, log]), _lock: lock })
    }

    pub fn punctuality(&self) -> &Punctuality {
        &self.shared.punctuality
    }

    /// Whether the thread still runs.
    pub fn is_alive(&self) -> bool {
        self.threads.as_ref().is_some_and(|[main, _]| !main.is_finished())
    }

    /// For logs.
    pub fn name(&self, id: RouterId, name: Arc<str>) {
        self.registry.name(id, name);
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
        let [_, log] = threads;
        // A panic has told of itself.
        let _ = log.join();
        in_time
    }

    fn has_ended(&self, longest: Duration) -> bool {
        matches!(self.ended.recv_timeout(longest), Err(RecvTimeoutError::Disconnected))
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
