//! What the tests stand on: hosts and wires, servers and clients on them.

mod chatter;
mod clients;
mod net;
pub mod packets;
mod programs;
mod servers;
mod service;
mod space;

pub use chatter::Chatter;
pub use clients::{Asker, Talk};
pub use net::{CLIENT, Hook, Net, Place, VIP};
pub use programs::Program;
pub use servers::{Dns, Echo, Running, Web, ask_who, first_word};
pub use service::{Service, Way, url, vip};
pub use space::{Space, UNTIL_THE_TEST_ENDS};

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
