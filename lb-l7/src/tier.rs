//! The tier as the supervisor sees it: start, prepare, commit, drain.

use std::collections::HashSet;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use lb_core::snapshot::Snapshot;
use tokio::sync::oneshot;

use crate::error::Error;
use crate::plan::{FrontendPlan, Plan};
use crate::socket;
use crate::worker::{Command, Handle};

/// Cannot be changed by a reload.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Threads; at least one.
    pub workers: usize,
}

/// The running tier.
#[derive(Debug)]
pub struct Tier {
    plans: Arc<ArcSwap<Plan>>,
    workers: Vec<Handle>,
}

/// Everything that a reload needs and that could fail, done; see [`Tier::prepare`].
#[derive(Debug)]
pub struct Prepared {
    plan: Arc<Plan>,
    /// New addresses, with a listener for each worker.
    listeners: Vec<(SocketAddr, Vec<TcpListener>)>,
}

/// The end of a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were cut off because the time was up.
    pub forced: usize,
}

impl Tier {
    /// Compiles the snapshot, opens its listeners and starts the workers.
    pub fn start(options: Options, snapshot: Arc<Snapshot>) -> Result<Self, Error> {
        let count = options.workers.max(1);
        let plan = Arc::new(Plan::compile(snapshot, None)?);
        let listeners = open_listeners(&plan, &HashSet::new(), count)?;
        let plans = Arc::new(ArcSwap::new(plan));
        let spawn = |worker| Handle::spawn(worker, plans.clone()).map_err(|source| Error::Worker { worker, source });
        let workers = (0..count).map(spawn).collect::<Result<Vec<_>, _>>()?;
        let tier = Self { plans, workers };
        tier.listen(listeners);
        Ok(tier)
    }

    /// What is served now.
    pub fn plan(&self) -> Arc<Plan> {
        self.plans.load_full()
    }

    /// Where the plan is published.
    pub fn plan_source(&self) -> Arc<ArcSwap<Plan>> {
        self.plans.clone()
    }

    /// Loads certificates, compiles routes and binds new listeners. Changes nothing that serves.
    pub fn prepare(&self, snapshot: Arc<Snapshot>) -> Result<Prepared, Error> {
        let current = self.plan();
        let plan = Arc::new(Plan::compile(snapshot, Some(&current))?);
        let open: HashSet<_> = current.listen_addresses().collect();
        let listeners = open_listeners(&plan, &open, self.workers.len())?;
        Ok(Prepared { plan, listeners })
    }

    /// Serves new requests by what was prepared. Cannot fail.
    pub fn commit(&mut self, prepared: Prepared) {
        let Prepared { plan, listeners } = prepared;
        let old = self.plans.swap(plan.clone());
        self.tell(|| Command::NewPlan);
        self.listen(listeners);
        let kept: HashSet<_> = plan.listen_addresses().collect();
        for address in old.listen_addresses().filter(|a| !kept.contains(a)) {
            self.tell(|| Command::Unlisten(address));
        }
    }

    /// Opens the access log anew, after it was moved away.
    pub fn reopen_access_log(&self) {
        if let Some(log) = &self.plan().access_log {
            log.reopen();
        }
    }

    /// One number per worker that grows for as long as its loop turns, about 20 times a second.
    pub fn heartbeats(&self) -> Vec<u64> {
        self.workers.iter().map(Handle::heartbeat).collect()
    }

    /// Closes the listeners, finishes what is in flight, tells idle connections, and cuts off what
    /// is left after `timeout`.
    pub async fn drain(self, timeout: Duration) -> Drained {
        let mut reports = Vec::new();
        for worker in &self.workers {
            let (done, report) = oneshot::channel();
            worker.send(Command::Drain(timeout, done));
            reports.push(report);
        }
        let mut forced = 0;
        for report in reports {
            forced += report.await.unwrap_or(0);
        }
        let plan = self.plan();
        let workers = self.workers;
        let _ = tokio::task::spawn_blocking(move || {
            workers.into_iter().for_each(Handle::stop);
            if let Some(log) = &plan.access_log {
                log.finish(Duration::from_secs(1));
            }
        })
        .await;
        Drained { forced }
    }

    fn listen(&self, listeners: Vec<(SocketAddr, Vec<TcpListener>)>) {
        for (address, sockets) in listeners {
            for (worker, socket) in self.workers.iter().zip(sockets) {
                worker.send(Command::Listen(socket, address));
            }
        }
    }

    fn tell(&self, command: impl Fn() -> Command) {
        self.workers.iter().for_each(|worker| worker.send(command()));
    }
}

/// Listeners for every address of the plan that is not open yet.
fn open_listeners(
    plan: &Plan,
    open: &HashSet<SocketAddr>,
    workers: usize,
) -> Result<Vec<(SocketAddr, Vec<TcpListener>)>, Error> {
    let new: Vec<_> = plan.frontends.iter().filter(|f| !open.contains(&f.frontend.config.listen)).collect();
    // All are looked at before the first is opened: our own do not stand in each other's way.
    for frontend in &new {
        let address = frontend.frontend.config.listen;
        if !is_ours(open, address) {
            socket::check_free(address).map_err(|source| listen_error(frontend, source))?;
        }
    }
    let open = |frontend: &&Arc<FrontendPlan>| {
        let address = frontend.frontend.config.listen;
        let sockets = (0..workers).map(|_| socket::listener(address)).collect::<Result<Vec<_>, _>>();
        Ok((address, sockets.map_err(|source| listen_error(frontend, source))?))
    };
    new.iter().map(open).collect()
}

/// Do we listen on the same port, and one of the two on all addresses? Then the port is taken, but by us.
fn is_ours(open: &HashSet<SocketAddr>, address: SocketAddr) -> bool {
    open.iter().any(|o| {
        let overlap = o.ip().is_unspecified() || address.ip().is_unspecified();
        o.port() == address.port() && o.is_ipv4() == address.is_ipv4() && overlap
    })
}

fn listen_error(frontend: &FrontendPlan, source: std::io::Error) -> Error {
    let config = &frontend.frontend.config;
    Error::Listen { frontend: config.name.to_string(), address: config.listen, source }
}
