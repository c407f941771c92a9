//! What is known of the other nodes, for `lb status` and the metrics.

use serde::{Deserialize, Serialize};

use super::machine::{Machine, PeerId};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkReport {
    pub peers: Vec<PeerReport>,
    /// Datagrams that were refused, by reason.
    pub errors: Vec<(&'static str, u64)>,
}

/// Another node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerReport {
    pub node: String,
    pub address: String,
    /// Was it heard in the last three seconds?
    pub up: bool,
    /// What it said last; a node that was never heard runs none.
    pub same_config: bool,
    pub config_sha256: String,
    /// Does it know the flows of all others?
    pub in_sync: bool,
    /// Virtual routers that it has been active for, beside this node, for three seconds.
    pub split: Vec<String>,
    pub sent: u64,
    pub received: u64,
}

impl PeerReport {
    pub fn all(machine: &Machine) -> Vec<Self> {
        (0..machine.peers().len()).map(|id| Self::of(id, machine)).collect()
    }

    fn of(id: PeerId, machine: &Machine) -> Self {
        let peer = &machine.peers()[id];
        let state = &peer.state;
        Self {
            node: peer.config.name.to_string(),
            address: peer.config.address.to_string(),
            up: peer.is_there(),
            same_config: state.config == machine.state().config,
            config_sha256: if state.generation == 0 { String::new() } else { hex(&state.config) },
            in_sync: state.in_sync,
            split: machine.splits().with(id).map(|router| router.to_string()).collect(),
            sent: peer.sent,
            received: peer.received,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
