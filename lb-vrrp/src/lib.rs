//! VRRP: which of several nodes holds the virtual addresses.
//!
//! | module | what it does |
//! |---|---|
//! | [`time`] | a clock reading, as the machines see it |
//! | [`packet`] | adverts, gratuitous ARP and neighbour advertisements: bytes in, bytes out |
//! | [`machine`] | one virtual router (RFC 9568 section 6): events in, actions out |
//! | [`priority`] | the effective priority, from what is tracked |
//! | [`routers`] | all machines of a node, and the sync groups that tie some of them together |
//! | [`net`] | what touches the kernel: links and addresses, sockets, virtual MACs |
//! | [`driver`] | the thread that drives the machines |
//! | [`track`] | pools and scripts that are tracked |
//! | [`notify`] | hooks: programs that are told of changes of role |
//! | [`report`], [`mod@collector`] | what people and Prometheus see |
//! | [`tier`], [`error`] | what the supervisor sees |
//!
//! The first five do no I/O and read no clock: the driver passes in packets, link changes and the time, and carries
//! out the actions.

pub mod collector;
pub mod driver;
pub mod error;
pub mod machine;
pub mod net;
pub mod notify;
pub mod packet;
pub mod priority;
pub mod report;
pub mod routers;
pub mod tier;
pub mod time;
pub mod track;

pub use collector::collector;
pub use error::Error;
pub use report::{RouterReport, Yielded};
pub use tier::{Prepared, Tier};
