//! How long is waited for what.

use std::time::Duration;

use super::Settings;
use crate::packet::Version;

/// A peer takes over when it has heard nothing for three intervals and its skew; this is the least that can be.
const PEERS_PATIENCE: u32 = 3;
/// How long a node that was away looks before it claims: an active peer sends at least one advert.
const LOOK: u32 = 2;

impl Settings {
    /// Skew_Time: the lower the priority, the later. RFC 9568 section 6.1: a share of the active router's interval;
    /// RFC 3768 section 6.1: of a second.
    pub fn skew(&self, active_interval: Duration) -> Duration {
        let whole = match self.version {
            Version::V2 => Duration::from_secs(1),
            Version::V3 => active_interval,
        };
        whole * (256 - u32::from(self.priority)) / 256
    }

    /// Active_Down_Interval: how long nothing may be heard from the active router.
    pub fn down_interval(&self, active_interval: Duration) -> Duration {
        3 * active_interval + self.skew(active_interval)
    }

    /// After so long without an advert of ours, a peer may have taken over.
    pub(super) fn peers_patience(&self) -> Duration {
        patience(self.interval)
    }

    /// After so long without an advert of ours, some may think that we are gone.
    pub(super) fn gap(&self) -> Duration {
        2 * self.interval
    }

    pub(super) fn look(&self, active_interval: Duration) -> Duration {
        LOOK * active_interval
    }

    /// The same when we stop, where an operator waits: at least the longest skew, at most about a second.
    pub(super) fn stop_patience(&self, told: Duration) -> Duration {
        let longest_skew = match self.version {
            Version::V2 => Duration::from_secs(1),
            Version::V3 => told,
        };
        yield_patience(told).min(Duration::from_secs(1)).max(longest_skew * 5 / 4)
    }

    /// How long a successor gets to add the addresses and announce them while we still forward what comes.
    pub(super) fn linger(&self) -> Duration {
        (2 * self.interval).clamp(Duration::from_millis(20), Duration::from_millis(200))
    }
}

/// How long a successor has to be heard when we yield. Nothing is lost meanwhile: we go on serving. It covers a peer that
/// did not get our priority 0 and has to miss our adverts, of the interval that it was told.
pub(super) fn yield_patience(told: Duration) -> Duration {
    5 * told
}

/// After so long without an advert, a peer that was told this interval may have taken over.
pub(super) fn patience(told: Duration) -> Duration {
    PEERS_PATIENCE * told
}
