//! What the service manager is told (sd_notify(3)). Without one all of this does nothing.

use std::time::Duration;

use lb_core::snapshot::Snapshot;
use sd_notify::NotifyState;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tracing::warn;

use super::FAR_AWAY;

/// What the process may take to end after its connections have.
const MARGIN: Duration = Duration::from_secs(5);

pub fn ready(serving: &Snapshot) {
    let (frontends, pools) = (serving.frontends.len(), serving.pools.len());
    let text = format!("serving: {frontends} frontends, {pools} pools, generation {}", serving.generation);
    notify(&[NotifyState::Ready, NotifyState::Status(&text)]);
}

/// `Type=notify-reload` wants to know when the reload began (systemd.service(5)).
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => warn!(%error, "cannot read the monotonic clock for the service manager"),
    }
}

pub fn stopping(longest: Duration) {
    let text = format!("draining, at most {} s", longest.as_secs());
    // The service manager's own patience may be shorter than the configured one.
    let patience = u32::try_from((longest + MARGIN).as_micros()).unwrap_or(u32::MAX);
    notify(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(patience), NotifyState::Status(&text)]);
}

pub fn alive() {
    notify(&[NotifyState::Watchdog]);
}

/// When [`alive`] is to be called: after half of what the service manager waits for.
pub fn watchdog() -> Interval {
    let period = sd_notify::watchdog_enabled().map_or(FAR_AWAY, |limit| limit / 2);
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn notify(state: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(%error, "the service manager does not listen");
    }
}
