//! What the virtual routers do, as `lb status`, `lb vrrp status` and the metrics show it.

use std::net::IpAddr;

use lb_core::labelled::Labelled;
use serde::{Deserialize, Serialize};

/// One virtual router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterReport {
    pub name: String,
    pub interface: String,
    pub vrid: u8,
    /// Of the protocol.
    pub version: u8,
    /// Its sync group.
    pub group: Option<String>,
    /// As metrics and logs have it.
    pub role: String,
    /// Handing over, and still serving.
    pub leaving: bool,
    /// Of the file, for this node.
    pub priority: u8,
    pub effective_priority: u8,
    /// Another node that is active, as far as this one knows.
    pub active_router: Option<IpAddr>,
    pub active_priority: Option<u8>,
    /// What adverts are sent from.
    pub source: Option<IpAddr>,
    /// With the length of their prefix.
    pub addresses: Vec<String>,
    /// How long it has had its role; `None`: always.
    pub seconds_in_role: Option<u64>,
    /// Why it has its role.
    pub reason: Option<String>,
    /// It was late, and for so long does not take over from who is active.
    #[serde(default)]
    pub held_back_seconds: Option<u64>,
    pub tracked: Vec<TrackedReport>,
    pub counts: Counts,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackedReport {
    /// `pool web`, `interface eth1`, ...
    pub name: String,
    pub up: bool,
}

/// Since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub adverts_sent: u64,
    pub adverts_received: u64,
    pub send_failures: u64,
    pub announcements: u64,
    /// By the role that was taken up.
    #[serde(with = "lb_core::labelled")]
    pub transitions: Labelled,
    /// By reason.
    #[serde(with = "lb_core::labelled")]
    pub advert_errors: Labelled,
    /// By what was noticed.
    #[serde(with = "lb_core::labelled")]
    pub notices: Labelled,
}

/// What became of `lb vrrp yield`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Yielded {
    pub router: String,
    #[serde(flatten)]
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    HandedOver {
        to: IpAddr,
    },
    /// It went to nobody by name: something else ended the role meanwhile.
    Ended {
        reason: String,
    },
    /// It is still active.
    NobodyTookOver,
    /// There was nothing to hand over.
    NotActive,
}
