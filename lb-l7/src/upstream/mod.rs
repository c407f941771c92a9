//! Connections to backends: opened, kept while idle, taken again. Each worker has its own.

mod connect;
pub mod error;
mod http1;
mod http2;
mod link;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use lb_core::config::{self, Protocol};
use lb_core::pool::{Backend, BackendLive};
use lb_core::snapshot::Snapshot;

pub use self::error::{Processed, UpstreamError};
use self::http1::H1Link;
use self::http2::H2Links;
pub use self::link::{Link, Receiver};
use crate::io::deadline::Timer;
use crate::plan::PoolPlan;
use crate::worker::Worker;

/// All backends that this worker has connected to.
#[derive(Debug, Default)]
pub struct Upstreams {
    all: RefCell<HashMap<*const BackendLive, Rc<Upstream>>>,
    /// The generation whose backends are the only ones left.
    purged: Cell<u64>,
}

/// One worker's connections to one backend.
#[derive(Debug)]
pub struct Upstream {
    pub backend: Arc<Backend>,
    way: Way,
    /// Of the plan that it was made for.
    generation: u64,
    idle: RefCell<Vec<Idle>>,
    h2: H2Links,
    /// No longer used: a reload removed the backend, or changed how it is spoken to.
    retired: Cell<bool>,
}

/// How a pool's backends are spoken to. A reload that changes it makes old connections useless.
#[derive(Debug, PartialEq)]
struct Way {
    protocol: Protocol,
    tls: Option<config::PoolTls>,
}

#[derive(Debug)]
struct Idle {
    link: Box<H1Link>,
    since_ms: u64,
}

impl Upstreams {
    /// `generation` is that of the plan: a request which began under an older one does not undo what a reload changed.
    pub fn of(&self, backend: &Arc<Backend>, plan: &PoolPlan, generation: u64) -> Rc<Upstream> {
        let way = Way { protocol: plan.pool.config.protocol, tls: plan.pool.config.tls.clone() };
        let mut all = self.all.borrow_mut();
        let key = Arc::as_ptr(&backend.live);
        let known = all.get(&key);
        if let Some(known) = known.filter(|u| u.way == way) {
            return known.clone();
        }
        let is_outdated = known.is_some_and(|u| u.generation > generation);
        let new = Rc::new(Upstream::new(backend.clone(), way, generation));
        if is_outdated {
            new.retired.set(true);
        } else if let Some(old) = all.insert(key, new.clone()) {
            old.retire();
        }
        new
    }

    /// Closes what has been idle for too long, was closed by its backend, or belongs to a backend that is gone.
    pub fn sweep(&self, now_ms: u64, snapshot: &Snapshot) {
        if self.purged.replace(snapshot.generation) != snapshot.generation {
            self.purge(snapshot);
        }
        for upstream in self.all.borrow().values() {
            if let Some(pool) = snapshot.pool(&upstream.backend.pool) {
                upstream.sweep(now_ms, pool.config.timeouts.idle.as_millis() as u64);
            }
        }
    }

    fn purge(&self, snapshot: &Snapshot) {
        let there: HashSet<_> = snapshot.backends().map(|(_, b)| Arc::as_ptr(&b.live)).collect();
        self.all.borrow_mut().retain(|live, upstream| {
            let stays = there.contains(live);
            if !stays {
                upstream.retire();
            }
            stays
        });
    }
}

impl Upstream {
    fn new(backend: Arc<Backend>, way: Way, generation: u64) -> Self {
        Self { backend, way, generation, idle: RefCell::default(), h2: H2Links::default(), retired: Cell::new(false) }
    }

    /// A connection for one request: an idle one if there is one, else a new one.
    pub async fn link(&self, worker: &Worker, plan: &PoolPlan, timer: &Timer) -> Result<(Link, Reused), UpstreamError> {
        if self.way.protocol != Protocol::Http1 {
            return self.h2.stream(worker, &self.backend, plan, timer).await;
        }
        if let Some(link) = self.take_idle() {
            return Ok((Link::H1(link), Reused::Yes));
        }
        // Boxed, as are all rare waits: the future of a request is small without them.
        let opened = Box::pin(connect::open(worker, &self.backend, plan, timer)).await?;
        Ok((Link::H1(Box::new(H1Link::new(opened))), Reused::No))
    }

    /// The one that was used last; the others get the chance to grow old.
    fn take_idle(&self) -> Option<Box<H1Link>> {
        let mut idle = self.idle.borrow_mut();
        while let Some(last) = idle.pop() {
            if !last.link.has_news() {
                return Some(last.link);
            }
        }
        None
    }

    /// Keeps a connection whose response has ended for the next request.
    pub fn keep(&self, link: Box<H1Link>, now_ms: u64, max_idle: usize) {
        let mut idle = self.idle.borrow_mut();
        if !self.retired.get() && idle.len() < max_idle {
            idle.push(Idle { link, since_ms: now_ms });
        }
    }

    fn sweep(&self, now_ms: u64, max_age_ms: u64) {
        self.idle.borrow_mut().retain(|i| now_ms.saturating_sub(i.since_ms) < max_age_ms && !i.link.has_news());
        self.h2.sweep(now_ms, max_age_ms);
    }

    fn retire(&self) {
        self.retired.set(true);
        self.idle.borrow_mut().clear();
        self.h2.clear();
    }
}

/// A connection that was idle may turn out to be closed by the backend; a new one may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reused {
    Yes,
    /// It took a new connection.
    No,
}
