use std::time::Duration;

use super::Action;
use crate::packet::{Addresses, Advert, Family, Version};

/// The configuration of one virtual router on this node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Settings {
    pub version: Version,
    pub family: Family,
    pub vrid: u8,
    /// Effective priority (see [`crate::priority`]), 1 to 255; 255 owns the addresses.
    pub priority: u8,
    /// Between two of our adverts. v3: 10 ms to 40.95 s, a multiple of 10 ms; v2: whole seconds, 1 to 255.
    pub interval: Duration,
    pub preempt: Preempt,
    pub garp: Garp,
    /// What the adverts list, in this order: addresses of `family` only.
    pub addresses: Addresses,
}

/// What a backup does about an active router of lower priority (RFC 9568 section 6.1, Preempt_Mode).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Preempt {
    /// Takes over when it has heard nothing else for so long; zero is what the RFC calls preemption.
    After(Duration),
    Never,
}

/// How the addresses are announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Garp {
    /// Frames per address at once.
    pub repeat: u8,
    /// As many again after this, for those who missed the first.
    pub again: Option<Duration>,
    /// One frame per address, ever so often.
    pub refresh: Option<Duration>,
}

impl Default for Garp {
    fn default() -> Self {
        Self { repeat: 5, again: Some(Duration::from_secs(5)), refresh: None }
    }
}

impl Settings {
    /// What [`Action::Advertise`] asks for.
    pub fn advert(&self, priority: u8, interval: Duration) -> Advert {
        let Self { version, vrid, ref addresses, .. } = *self;
        Advert { version, vrid, priority, interval, addresses: addresses.clone() }
    }

    pub(super) fn advertise(&self, priority: u8) -> Action {
        Action::Advertise { priority, interval: self.interval }
    }

    /// RFC 9568 section 1.5: the router whose real addresses these are.
    pub fn is_owner(&self) -> bool {
        self.priority == 255
    }
}
