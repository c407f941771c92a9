//! The link between the nodes of a file: who is there, whether it runs the same configuration, and a way for the tiers
//! to talk to their like.
//!
//! | module | what it does |
//! |---|---|
//! | [`wire`] | datagrams: header, hello, signature (pure) |
//! | [`window`] | no datagram counts twice (pure) |
//! | [`split`] | both nodes are active (pure) |
//! | [`machine`] | who is there, and what to send when (pure) |
//! | [`link`], `receive` | the socket and its thread |
//! | [`report`] | what people and Prometheus see |
//!
//! A node that starts has a new session. It is believed once it has answered with a number that this node has made up
//! for it (the challenge), so a recorded datagram cannot pass for a restart. Within a session a sequence number counts
//! once. With `sync.secret_file` every datagram is signed; without, it must come from the address of a node and from
//! the same link, which the hop limit tells (RFC 5082).

pub mod link;
pub mod machine;
mod receive;
pub mod report;
pub mod split;
pub mod window;
pub mod wire;

pub use link::{Bound, Link, LinkError, Listener, Speaker};
pub use machine::{Event, PeerId};
pub use report::{LinkReport, PeerReport};
pub use wire::NodeState;
