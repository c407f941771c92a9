//! The other nodes of the file: the link to them, and flow sync over it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use lb_core::config::{Config, Node};
use lb_core::metrics::{Metric, alone, family, names, scraped};
use lb_core::peer::{Bound, Link, LinkReport, NodeState, PeerReport};
use lb_core::snapshot::Snapshot;
use lb_l4::sync::{self, FlowSync, Readiness, SyncReport};
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use super::voice::Voice;

/// How long other nodes may take to say that they know all flows.
const FLUSH: Duration = Duration::from_millis(500);

/// Of this process. Without other nodes it does nothing and holds nothing.
pub struct Peers {
    forwarder: Arc<lb_l4::Tier>,
    vrrp: Arc<lb_vrrp::Tier>,
    voice: Arc<Voice>,
    running: Mutex<Option<Running>>,
}

/// What `lb status` says about the other nodes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PeersStatus {
    /// In the order of the file.
    pub nodes: Vec<PeerReport>,
    /// `None`: flows are not synchronised.
    pub flow_sync: Option<SyncReport>,
}

struct Running {
    link: Link,
    sync: Option<FlowSync>,
    made_of: MadeOf,
}

/// A link with the same goes on through a reload.
#[derive(PartialEq)]
struct MadeOf {
    nodes: Vec<Node>,
    sync: lb_core::config::Sync,
    secret: Option<Vec<u8>>,
}

/// Everything that can fail, done. Dropped without a commit it changes nothing.
pub struct Prepared(Step);

enum Step {
    Stay,
    /// `None`: there is nobody to talk to any more.
    Change(Option<Box<(Bound, MadeOf)>>),
}

impl Peers {
    pub fn new(forwarder: Arc<lb_l4::Tier>, vrrp: Arc<lb_vrrp::Tier>, voice: Arc<Voice>) -> Self {
        Self { forwarder, vrrp, voice, running: Mutex::default() }
    }

    pub fn prepare(&self, config: &Config) -> Result<Prepared> {
        let made_of = MadeOf::of(config)?;
        if self.lock().as_ref().is_some_and(|running| running.made_of == made_of) {
            return Ok(Prepared(Step::Stay));
        }
        let bound = Bound::bind(config).context("cannot talk to the other nodes")?;
        Ok(Prepared(Step::Change(bound.map(|bound| Box::new((bound, made_of))))))
    }

    pub fn commit(&self, prepared: Prepared, snapshot: &Snapshot) {
        let mut running = self.lock();
        if let Step::Change(new) = prepared.0 {
            if let Some(old) = running.take() {
                self.voice.end();
                old.stop();
            }
            // Until flow sync says otherwise, if there is one.
            self.vrrp.set_ready(false);
            *running = new.and_then(|new| self.start(new.0, new.1, snapshot));
            if running.as_ref().is_none_or(|running| running.sync.is_none()) {
                self.vrrp.set_ready(true);
            }
        }
        if let Some(running) = running.as_ref() {
            running.link.speaker().set_state(|state| describe(state, snapshot));
        }
    }

    fn start(&self, bound: Bound, made_of: MadeOf, snapshot: &Snapshot) -> Option<Running> {
        let mut state = NodeState::default();
        describe(&mut state, snapshot);
        let (ear, inbox) = sync::ear();
        let link = bound.start(state, Box::new(move |event| ear.hear(&event)));
        let link = link.inspect_err(|error| error!(%error, "nothing is heard of the other nodes")).ok()?;
        self.voice.begin(link.speaker());
        let sync = made_of.sync.flows.then(|| self.start_sync(&link, inbox, made_of.nodes.len() - 1)).flatten();
        Some(Running { link, sync, made_of })
    }

    fn start_sync(&self, link: &Link, inbox: sync::Inbox, peers: usize) -> Option<FlowSync> {
        let (speaker, vrrp) = (link.speaker(), self.vrrp.clone());
        let on_change = move |now: Readiness| {
            vrrp.set_ready(now.ready);
            speaker.set_state(|state| (state.syncs_flows, state.in_sync) = (now.syncs, now.ready));
        };
        let sync = FlowSync::start(self.forwarder.clone(), link.speaker(), inbox, peers, Box::new(on_change));
        sync.inspect_err(|error| error!(%error, "flows are not synchronised")).ok()
    }

    /// Before another node takes over: it should know what this one knows. Takes a while.
    pub fn flush(&self) {
        let running = self.lock();
        let Some(Running { sync: Some(sync), link, .. }) = running.as_ref() else { return };
        if link.report().peers.iter().any(|peer| peer.up) && !sync.flush(FLUSH) {
            warn!("the other nodes did not say in time that they know all flows");
        }
    }

    /// The last flows are told, then nothing more.
    pub fn stop(&self) {
        self.flush();
        if let Some(running) = self.lock().take() {
            self.voice.end();
            running.stop();
        }
    }

    /// `None`: there is no other node.
    pub fn status(&self) -> Option<PeersStatus> {
        let running = self.lock();
        let running = running.as_ref()?;
        let flow_sync = running.sync.as_ref().map(FlowSync::report);
        Some(PeersStatus { nodes: running.link.report().peers, flow_sync })
    }

    fn report(&self) -> Option<(LinkReport, Option<SyncReport>)> {
        let running = self.lock();
        let running = running.as_ref()?;
        Some((running.link.report(), running.sync.as_ref().map(FlowSync::report)))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn stop(self) {
        if let Some(sync) = self.sync {
            sync.stop();
        }
        self.link.stop();
    }
}

impl MadeOf {
    fn of(config: &Config) -> Result<Self> {
        let secret = config.sync.secret.as_ref().map(|secret| secret.read().context("cannot read `sync.secret_file`"));
        // This node first: the file may be the same, and say that this is another one.
        let nodes = config.node().into_iter().chain(config.other_nodes()).cloned().collect();
        Ok(Self { nodes, sync: config.sync.clone(), secret: secret.transpose()? })
    }
}

/// What this node tells the others of its configuration.
fn describe(state: &mut NodeState, snapshot: &Snapshot) {
    let digits = snapshot.config_sha256.as_bytes().as_chunks::<2>().0;
    for (byte, digits) in state.config.iter_mut().zip(digits) {
        let text = std::str::from_utf8(digits).unwrap_or_default();
        *byte = u8::from_str_radix(text, 16).unwrap_or_default();
    }
    state.generation = snapshot.generation;
}

const METRICS: &[Metric] = &[
    names::PEER_UP,
    names::PEER_CONFIG_MATCHES,
    names::PEER_SPLIT_BRAIN,
    names::PEER_MESSAGES_SENT,
    names::PEER_MESSAGES_RECEIVED,
    names::PEER_ERRORS,
    names::L4_SYNC_FLOWS_SENT,
    names::L4_SYNC_FLOWS_RECEIVED,
    names::L4_SYNC_ERRORS,
    names::L4_SYNC_READY,
];

/// Yields nothing while there is no other node.
pub fn collector(peers: Arc<Peers>) -> prometheus::Result<Box<dyn Collector>> {
    scraped(METRICS, move || {
        let Some((link, sync)) = peers.report() else { return vec![] };
        link_families(&link).into_iter().chain(sync.iter().flat_map(sync_families)).collect()
    })
}

fn link_families(link: &LinkReport) -> Vec<MetricFamily> {
    let by_node = |metric: &Metric, value: fn(&PeerReport) -> u64| {
        family(metric, link.peers.iter().map(|peer| ([peer.node.clone()], value(peer))))
    };
    let errors = link.errors.iter().map(|(reason, n)| ([(*reason).to_owned()], *n));
    vec![
        by_node(&names::PEER_UP, |peer| u64::from(peer.up)),
        by_node(&names::PEER_CONFIG_MATCHES, |peer| u64::from(peer.same_config)),
        by_node(&names::PEER_SPLIT_BRAIN, |peer| peer.split.len() as u64),
        by_node(&names::PEER_MESSAGES_SENT, |peer| peer.sent),
        by_node(&names::PEER_MESSAGES_RECEIVED, |peer| peer.received),
        family(&names::PEER_ERRORS, errors),
    ]
}

fn sync_families(sync: &SyncReport) -> Vec<MetricFamily> {
    let errors = sync.errors.iter().map(|(reason, n)| ([reason.clone()], *n));
    vec![
        alone(&names::L4_SYNC_FLOWS_SENT, sync.flows_sent),
        alone(&names::L4_SYNC_FLOWS_RECEIVED, sync.flows_received),
        family(&names::L4_SYNC_ERRORS, errors),
        alone(&names::L4_SYNC_READY, sync.ready),
    ]
}
