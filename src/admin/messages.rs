//! What passes over the admin socket; both sides use these types.

use lb_core::config::AdminState;
use lb_core::pool::Health;
use serde::{Deserialize, Serialize};

use crate::supervisor::PeersStatus;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub pid: u32,
    pub phase: Phase,
    pub uptime_seconds: u64,
    pub config: ConfigStatus,
    pub frontends: Vec<FrontendStatus>,
    pub pools: Vec<PoolStatus>,
    /// `None`: there is no layer-4 frontend.
    pub layer4: Option<lb_l4::Report>,
    /// In the order of the file.
    pub virtual_routers: Vec<lb_vrrp::RouterReport>,
    /// `None`: there is no other node.
    pub peers: Option<PeersStatus>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Phase {
    Starting = 0,
    Serving = 1,
    Draining = 2,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConfigStatus {
    pub path: String,
    pub sha256: String,
    /// 1 at start, one more with each applied reload.
    pub generation: u64,
    /// `None` before the first reload.
    pub last_reload: Option<LastReload>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LastReload {
    pub result: ReloadResult,
    pub seconds_ago: u64,
    /// Of a refused one: the diagnostics.
    pub errors: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FrontendStatus {
    pub name: String,
    /// As the file writes it, with `*` and `/udp`.
    pub listen: String,
    /// As the file writes it.
    pub mode: String,
    #[serde(flatten)]
    pub served: Served,
}

/// By the layer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Served {
    Http(HttpStatus),
    Forward(ForwardStatus),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HttpStatus {
    pub tls: bool,
    pub connections_active: u64,
    pub connections_total: u64,
    pub connections_refused: u64,
    pub requests_total: u64,
    /// Answered with 5xx.
    pub errors_total: u64,
    pub bad_requests_total: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ForwardStatus {
    pub pool: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PoolStatus {
    pub name: String,
    pub scheduler: String,
    pub available: usize,
    pub queued: usize,
    pub backends: Vec<BackendStatus>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BackendStatus {
    pub name: String,
    /// Without port where it is the frontend's.
    pub address: String,
    pub backup: bool,
    pub weight: u16,
    pub health: Health,
    /// What holds: the override, else what the file says.
    pub state: AdminState,
    /// Set by `lb backend`, against the file.
    pub overridden: bool,
    /// May it be given new requests?
    pub available: bool,
    /// Is there a check, and is the backend not in Maint?
    pub checked: bool,
    /// Established flows of layer 4.
    pub flows_active: u64,
    /// Flows of layer 4 that it was given.
    pub flows_total: u64,
    pub requests_active: u64,
    pub requests_total: u64,
    pub connections_active: u64,
    /// Connections that could not be made, and requests that it failed.
    pub failures_total: u64,
    pub last_check: Option<LastCheck>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LastCheck {
    /// `None`: lb itself could not make the check.
    pub ok: Option<bool>,
    /// What was found, in a few words.
    pub text: String,
    pub took_ms: f64,
    pub ms_ago: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReloadReport {
    pub result: ReloadResult,
    /// Of the configuration that serves now.
    pub generation: u64,
    pub sha256: String,
    /// What the diff named; empty when only files that the configuration names were read again.
    pub changes: Vec<String>,
    pub warnings: String,
    /// Why it was refused, as it should be shown.
    pub errors: String,
    pub duration_ms: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReloadResult {
    Applied,
    Refused,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct BackendCommand {
    /// `POOL/BACKEND`
    pub backend: String,
    pub state: AdminState,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct SampleRequest {
    pub packets: usize,
    /// `None`: of all.
    pub frontend: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct DiffRequest {
    /// Shown in diagnostics.
    pub origin: String,
    pub text: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct DiffReport {
    /// One line for each; empty: nothing would change.
    pub changes: String,
    pub warnings: String,
    /// Not empty: a reload would refuse the file, for this.
    pub errors: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct YieldRequest {
    /// `None`: all that are active here.
    pub router: Option<String>,
}

/// Every answer that is not 200.
#[derive(Debug, Serialize, Deserialize)]
pub struct Failure {
    pub error: String,
}

impl ReloadResult {
    pub fn as_str(self) -> &'static str {
        match self {
            ReloadResult::Applied => "applied",
            ReloadResult::Refused => "refused",
        }
    }
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Serving => "serving",
            Phase::Draining => "draining",
        }
    }
}

/// As the file and the command line write it.
pub fn state_word(state: AdminState) -> &'static str {
    match state {
        AdminState::Ready => "ready",
        AdminState::Drain => "drain",
        AdminState::Maint => "maint",
    }
}

pub fn health_word(health: Health) -> &'static str {
    match health {
        Health::Unknown => "unknown",
        Health::Up => "up",
        Health::Down => "down",
    }
}
