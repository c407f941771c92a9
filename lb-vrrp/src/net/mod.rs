//! What touches the kernel. Everything returns at once and logs nothing: errors are values that say what was tried.
//!
//! | file | what it does |
//! |---|---|
//! | `netlink/` | links and addresses: looked at, changed, and followed |
//! | `socket.rs` | adverts, out and in |
//! | `announcer.rs` | gratuitous ARP and neighbour advertisements, out and in |
//! | `virtual_mac.rs` | a MAC address of the virtual router's own |
//! | `barrier.rs`, `nftables/` | what is addressed to an address that accepts nothing |
//! | `sysctl.rs` | what is set for an interface, and put back |
//! | `ledger.rs` | the same on file, for the process after one that was killed |
//! | `wire.rs` | packet sockets: whole Ethernet frames |
//! | `error.rs` | what was tried, on which interface |

mod announcer;
mod barrier;
mod error;
mod ledger;
mod netlink;
mod nftables;
mod socket;
mod sysctl;
mod virtual_mac;
mod wire;

pub use announcer::{Announcer, Eavesdropper};
pub use barrier::Barrier;
pub use error::NetError;
pub use ledger::Ledger;
pub use netlink::{Address, Change, Kind, Link, Netlink, OURS};
pub use socket::{Socket, Spec};
pub use sysctl::Sysctls;
pub use virtual_mac::{VirtualMac, leftovers};
