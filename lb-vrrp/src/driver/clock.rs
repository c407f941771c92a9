//! The clocks of the thread. A node must learn that its host was suspended, so the one for timers counts meanwhile.

use std::io;
use std::time::Duration;

use nix::sys::timerfd;
use nix::time::{ClockId, clock_gettime};

use crate::time::Time;

/// What timers run by.
pub const TIMERS: timerfd::ClockId = timerfd::ClockId::CLOCK_BOOTTIME;

pub fn now() -> io::Result<Time> {
    let since_boot = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME)?);
    Ok(Time::ZERO + since_boot)
}

/// Since 1970.
pub fn utc() -> Duration {
    clock_gettime(ClockId::CLOCK_REALTIME).map(Duration::from).unwrap_or_default()
}
