//! The admin API: HTTP and JSON over a unix socket, for `lb status`, `lb reload` and the like.

mod api;
pub mod client;
pub mod messages;
mod server;
mod socket;

pub use server::{Bound, Server};
