//! What the tests stand on: one lb process, origins, clients, certificates, and helpers in Python.

mod certs;
mod client;
mod config;
mod curl;
pub mod h2;
mod http1;
mod lb;
mod metrics;
mod origin;
mod peer;
mod ports;

pub use certs::{Authority, Leaf};
pub use client::{Client, get};
pub use config::{ONE, over};
pub use curl::{Curl, curl};
pub use http1::{Response, read_request, read_request_body, read_request_head};
pub use lb::Lb;
pub use metrics::Samples;
pub use origin::{Origin, Reply, free_listener};
pub use peer::{Nginx, Peer, Speaks};
pub use ports::Port;

use std::time::{Duration, Instant};

/// How long anything that ought to happen may take before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// In a guest whose CPU is emulated (tests/kernels), where everything takes many times as long.
pub fn emulated() -> bool {
    std::env::var_os("LB_TEST_EMULATED").is_some()
}

/// Asks again until there is an answer; fails the test when there is none in time.
pub fn poll<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let patience = if emulated() { 8 * PATIENCE } else { PATIENCE };
    let end = Instant::now() + patience;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "waited {patience:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until `condition` holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    poll(what, || condition().then_some(()));
}
