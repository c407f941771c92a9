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
//!
//! Nothing but [`net`] does I/O, and nothing reads a clock: a driver passes in packets, link changes and the time,
//! and carries out the actions.

pub mod machine;
pub mod net;
pub mod packet;
pub mod priority;
pub mod routers;
pub mod time;
