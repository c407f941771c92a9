//! What tests with several hosts stand on: hosts, the wires between them, servers and clients on them.
//!
//! What the tests of layer 7 stand on comes along as `shared`, by which name a test target has it in its root.

mod chatter;
mod clients;
mod echo;
mod host;
mod running;
#[path = "../e2e/harness/mod.rs"]
pub mod shared;
mod space;
mod switch;
mod web;

pub use chatter::Chatter;
pub use clients::{Asker, Talk};
pub use echo::Echo;
pub use host::Host;
pub use running::Running;
pub use space::{SCRATCH, Space, UNTIL_THE_TEST_ENDS};
pub use switch::{Switch, socket};
pub use web::{Web, first_word};

use nix::sched::{CloneFlags, unshare};

/// Tells why where it is not so.
pub fn may_run() -> bool {
    let made = std::thread::spawn(|| unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)).join().unwrap();
    if let Err(errno) = made {
        assert!(std::env::var_os("LB_TEST_REQUIRE").is_none(), "this test needs root: no network namespace: {errno}");
        eprintln!("skipped: it takes root to make network namespaces ({errno})");
    }
    made.is_ok()
}
