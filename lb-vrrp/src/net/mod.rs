//! What touches the kernel. Everything returns at once and logs nothing: errors are values that say what was tried.
//!
//! | file | what it does |
//! |---|---|
//! | `netlink/` | links and addresses: looked at, changed, and followed |
//! | `error.rs` | what was tried, on which interface |

mod error;
mod netlink;

pub use error::NetError;
pub use netlink::{Address, Change, Kind, Link, Netlink, OURS};
