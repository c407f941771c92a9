//! The layer-7 tier: an HTTP/1.1 and HTTP/2 proxy.
//!
//! | module | what it holds |
//! |---|---|
//! | [`tier`], [`error`] | start, prepare, commit, drain: what the supervisor calls |
//! | [`plan`] | a snapshot and what was compiled of it; the one value that workers serve by |
//! | [`worker`] | one thread: listeners, clock, view of the plan |
//! | [`socket`], [`admission`] | options of sockets; how many connections a frontend takes |
//! | [`client`] | a client's connection: TLS, HTTP/1, HTTP/2 |
//! | [`explain()`] | what would become of a request, through the code that serves |
//! | [`proxy`] | one request: route, backend, exchange, answers |
//! | [`upstream`] | connections to backends |
//! | [`h1`] | the HTTP/1 codec, pure |
//! | [`http2`] | HTTP/2 heads and bodies, joined to ours |
//! | [`head`], [`body`] | a message, whichever version carries it |
//! | [`io`] | sockets, buffers and deadlines of a worker |
//! | `fuzz` | a client's bytes against a connection in memory (feature `fuzz`) |
//! | [`route`], [`tls`], [`access_log`] | what their names say |

pub mod access_log;
mod admission;
mod body;
mod client;
mod error;
mod explain;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod h1;
mod head;
mod http2;
mod io;
mod plan;
mod proxy;
pub mod route;
mod socket;
mod tier;
pub mod tls;
mod upstream;
mod worker;

pub use error::Error;
pub use explain::{BackendView, Decision, ExplainError, ExplainRequest, Explanation, explain};
pub use plan::{FrontendPlan, Plan, PoolPlan};
pub use tier::{Drained, Options, Prepared, Tier};
