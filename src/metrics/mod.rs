//! What Prometheus scrapes: lb-core's collector over the live counters, and what only the process
//! knows of itself.

mod process;
mod server;

pub use process::{METRICS as PROCESS, families as process_families};
pub use server::{Bound, Server, Source};
