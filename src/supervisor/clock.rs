//! The supervisor is a driver: here it reads the clocks.
#![expect(clippy::disallowed_methods, reason = "only drivers read the clock, and this is one")]

use std::time::{Instant, SystemTime};

pub fn now() -> Instant {
    Instant::now()
}

pub fn wall_clock() -> SystemTime {
    SystemTime::now()
}
