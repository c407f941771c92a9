//! The other nodes, in `lb status`.

use std::fmt::{self, Display};

use lb_core::peer::PeerReport;
use lb_l4::sync::SyncReport;

use crate::supervisor::PeersStatus;
use crate::verbs::table::Table;

/// One line each, and how flow sync does.
pub struct Peers<'p>(pub &'p PeersStatus);

impl Display for Peers<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["NODE", "ADDRESS", "STATE", "CONFIG", ">SENT", ">RECEIVED"]);
        for peer in &self.0.nodes {
            let state = if peer.up { "up" } else { "not heard" };
            table.row([
                peer.node.clone(),
                peer.address.clone(),
                state.to_owned(),
                config(peer),
                peer.sent.to_string(),
                peer.received.to_string(),
            ]);
        }
        write!(out, "{table}")?;
        for peer in self.0.nodes.iter().filter(|peer| peer.up && !peer.same_config) {
            writeln!(out, "  peer {} runs a different config", peer.node)?;
        }
        for (peer, router) in self.0.nodes.iter().flat_map(|peer| peer.split.iter().map(move |router| (peer, router))) {
            writeln!(out, "  SPLIT BRAIN: peer {} is active for {router} as well (see lb doctor)", peer.node)?;
        }
        self.0.flow_sync.as_ref().map_or(Ok(()), |sync| write_sync(out, sync))
    }
}

fn config(peer: &PeerReport) -> String {
    match peer.config_sha256.get(..12) {
        None => "-".to_owned(),
        Some(_) if peer.same_config => "same".to_owned(),
        Some(sha256) => format!("sha256 {sha256}"),
    }
}

fn write_sync(out: &mut fmt::Formatter<'_>, sync: &SyncReport) -> fmt::Result {
    let ready = if sync.ready { "ready" } else { "catching up" };
    writeln!(out, "  flow sync: {ready}, {} flows sent, {} received", sync.flows_sent, sync.flows_received)?;
    let errors: Vec<_> = sync.errors.iter().filter(|(_, n)| *n > 0).map(|(why, n)| format!("{why} {n}")).collect();
    if errors.is_empty() { Ok(()) } else { writeln!(out, "  flow sync errors: {}", errors.join(", ")) }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn peers() -> PeersStatus {
        let node = |node: &str, up: bool| PeerReport {
            node: node.to_owned(),
            address: "10.0.0.3:9619".to_owned(),
            up,
            same_config: false,
            config_sha256: if up { "fedcba9876543210".to_owned() } else { String::new() },
            in_sync: up,
            split: if up { vec!["public".to_owned()] } else { vec![] },
            sent: 120,
            received: 119,
        };
        let errors = vec![("lost".to_owned(), 3), ("malformed".to_owned(), 0)];
        let flow_sync = Some(SyncReport { ready: true, flows_sent: 4711, flows_received: 12, errors });
        PeersStatus { nodes: vec![node("lb-b", true), node("lb-c", false)], flow_sync }
    }
}
