//! The order in which lb starts, and what the control tasks share from then on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use lb_core::config::{self, Config, Identity, LoadError, Loaded};
use lb_core::health::Checker;
use lb_core::snapshot::Snapshot;
use lb_l7::{Plan, Tier};
use lb_vrrp::driver::RoleEvent;
use lb_vrrp::notify::Hooks;
use lb_vrrp::track::{Observe, Trackers};
use prometheus::Registry;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Notify};
use tracing::{error, info, warn};

use super::clock::{now, wall_clock};
use super::endpoints::{BoundEndpoints, Endpoints};
use super::peers::Peers;
use super::reload::Reloads;
use super::voice::Voice;
use super::watch::FileWatch;
use super::{host, own_metrics, service};
use crate::admin::messages::Phase;
use crate::exit::Silent;
use crate::identity::require_node;
use crate::journal;
use crate::logging::Logging;

/// A serving lb, as its control tasks see it.
pub struct Supervisor {
    /// The configuration file.
    pub(super) path: PathBuf,
    /// Which of its nodes this is.
    pub identity: Identity,
    pub(super) started: Instant,
    pub(super) plans: Arc<ArcSwap<Plan>>,
    pub(super) logging: Arc<Logging>,
    pub(super) reloads: Arc<Reloads>,
    pub(super) registry: Registry,
    pub(super) forwarder: Arc<lb_l4::Tier>,
    pub(super) vrrp: Arc<lb_vrrp::Tier>,
    pub(super) hooks: Arc<Hooks>,
    pub(super) peers: Arc<Peers>,
    /// Raised by the file watcher.
    pub(super) changed: Arc<Notify>,
    /// What a reload changes; whoever holds it is alone. `None`: draining.
    pub(super) stack: Arc<Mutex<Option<Stack>>>,
    phase: AtomicU8,
}

/// Everything that runs.
pub(super) struct Stack {
    pub tier: Tier,
    pub checker: Checker,
    pub trackers: Trackers,
    pub endpoints: Endpoints,
    pub watch: Option<FileWatch>,
}

/// Reads the file; what is wrong with it goes to standard error.
pub(super) fn load(path: &Path, identity: &Identity) -> Result<Loaded> {
    match config::load_file(path, identity) {
        Ok(loaded) => require_node(&loaded.config, identity).map(|()| loaded),
        Err(LoadError::Invalid(diagnostics)) => {
            journal::error(diagnostics);
            Err(Silent(2).into())
        }
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

impl Supervisor {
    /// Nothing is reachable before everything that can fail has succeeded.
    pub(super) async fn start(
        path: PathBuf,
        identity: Identity,
        loaded: Loaded,
        logging: Arc<Logging>,
    ) -> Result<Arc<Self>> {
        let config = Arc::new(loaded.config);
        for warning in loaded.warnings.iter() {
            warn!(line = warning.line, "{}", warning.message);
        }
        for missing in host::missing(&config) {
            warn!("{missing}");
        }
        // First, since it tells whether another lb serves this very file: the listeners could not,
        // as several processes may share a port.
        let endpoints = BoundEndpoints::bind(&config)?;
        let workers = workers(&config);
        let snapshot = Arc::new(Snapshot::build(config.clone(), loaded.sha256, workers, None));
        let tier = Tier::start(lb_l7::Options { workers }, snapshot.clone())?;
        let changed = Arc::new(Notify::new());
        let watch = FileWatch::wanted(&config.reload, &path, &changed)?;
        let forwarder = Arc::new(lb_l4::Tier::new(host::layer4_options()));
        let supervisor = Arc::new(Self::new(path, identity, tier.plan_source(), forwarder, logging, changed)?);
        let vrrp = supervisor.vrrp.prepare(&snapshot)?;
        let peers = supervisor.peers.prepare(&config)?;
        // Last of what can fail: from here on packets are forwarded.
        supervisor.forwarder.start(snapshot.clone())?;
        let endpoints = endpoints.serve(&supervisor);
        // Before the first check: no change is missed.
        supervisor.follow_changes(&snapshot);
        let checker = Checker::start(snapshot.clone());
        supervisor.peers.commit(peers, &snapshot);
        // Now that everything behind them works, the addresses may come here.
        supervisor.hooks.apply(&config);
        supervisor.vrrp.commit(vrrp);
        let trackers = Trackers::start(&snapshot, supervisor.observer());
        *supervisor.stack.lock().await = Some(Stack { tier, checker, trackers, endpoints, watch });
        supervisor.enter(Phase::Serving);
        info!(
            version = env!("CARGO_PKG_VERSION"),
            config = %supervisor.path.display(),
            sha256 = %snapshot.config_sha256,
            frontends = snapshot.frontends.len(),
            pools = snapshot.pools.len(),
            workers,
            "serving"
        );
        service::ready(&snapshot);
        Ok(supervisor)
    }

    fn new(
        path: PathBuf,
        identity: Identity,
        plans: Arc<ArcSwap<Plan>>,
        forwarder: Arc<lb_l4::Tier>,
        logging: Arc<Logging>,
        changed: Arc<Notify>,
    ) -> Result<Self> {
        let hooks = Arc::new(Hooks::new(Handle::current()));
        let voice = Arc::new(Voice::default());
        let (told, says) = (hooks.clone(), voice.clone());
        let on_role = move |event: &RoleEvent| {
            says.tell(event);
            told.tell(&event.router, event.change, event.priority);
        };
        let vrrp = Arc::new(lb_vrrp::Tier::telling(Arc::new(on_role)));
        let peers = Arc::new(Peers::new(forwarder.clone(), vrrp.clone(), voice));
        let reloads = Arc::new(Reloads::none(wall_clock()));
        let registry = own_metrics::registry(&plans, &forwarder, &vrrp, &peers, &logging, &reloads)?;
        let phase = AtomicU8::new(Phase::Starting as u8);
        let stack = Arc::default();
        Ok(Self {
            path,
            identity,
            started: now(),
            plans,
            forwarder,
            vrrp,
            hooks,
            peers,
            logging,
            reloads,
            registry,
            changed,
            stack,
            phase,
        })
    }

    /// What is tracked for virtual routers goes to them.
    fn observer(&self) -> Observe {
        let vrrp = self.vrrp.clone();
        Arc::new(move |router, index, is_up| vrrp.observe(router, index, is_up))
    }

    /// Layer 4 computes ahead by what is available, so it is told of changes at once.
    fn follow_changes(&self, snapshot: &Snapshot) {
        let (mut changes, forwarder) = (snapshot.changes.listen(), self.forwarder.clone());
        tokio::spawn(async move {
            loop {
                changes.heard().await;
                let forwarder = forwarder.clone();
                // A ring of tens of thousands of entries takes a while.
                let done = tokio::task::spawn_blocking(move || forwarder.health_changed()).await;
                if let Err(error) = done {
                    error!(%error, "a bug: layer 4 did not take up a change of health");
                }
            }
        });
    }

    /// Returns when the watched file changed.
    pub(super) async fn file_changed(&self) {
        self.changed.notified().await;
    }

    /// Layer 4.
    pub fn forwarder(&self) -> &lb_l4::Tier {
        &self.forwarder
    }

    /// Virtual routers.
    pub fn vrrp(&self) -> &Arc<lb_vrrp::Tier> {
        &self.vrrp
    }

    /// The other nodes.
    pub fn peers(&self) -> &Arc<Peers> {
        &self.peers
    }

    /// What serves now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.plans.load().snapshot.clone()
    }

    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            _ => Phase::Draining,
        }
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }
}

/// How many the configuration asks for: one per core where it does not say.
pub fn workers(config: &Config) -> usize {
    config.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}
