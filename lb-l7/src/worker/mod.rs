//! One worker: a thread with a runtime, listeners and upstream connections of its own.

mod accept;
pub mod lanes;
mod tick;
mod view;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{self, Arc};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use lb_core::scheduler::{Key, mix};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{Notify, mpsc, oneshot};

pub use self::view::{PoolView, View};
use crate::access_log::WorkerLog;
use crate::client::Tasks;
use crate::io::deadline::Deadlines;
use crate::plan::{FrontendPlan, Plan};
use crate::upstream::Upstreams;

/// What the control side tells a worker.
#[derive(Debug)]
pub enum Command {
    /// Serve new requests by the plan that was just published.
    NewPlan,
    Listen(TcpListener, SocketAddr),
    /// Stop accepting there; connections that are open learn of it when they are idle.
    Unlisten(SocketAddr),
    /// Stop accepting anywhere, finish what is in flight, tell the number of connections that were cut off.
    Drain(Duration, oneshot::Sender<usize>),
}

/// The control side's end of a worker.
#[derive(Debug)]
pub struct Handle {
    commands: mpsc::UnboundedSender<Command>,
    heartbeat: Arc<AtomicU64>,
    thread: Option<thread::JoinHandle<()>>,
}

/// What the tasks of one worker share.
#[derive(Debug)]
pub struct Worker {
    /// Which shard of every counter is ours.
    pub index: usize,
    plans: Arc<ArcSwap<Plan>>,
    view: RefCell<Rc<View>>,
    pub deadlines: Rc<Deadlines>,
    pub upstreams: Upstreams,
    pub log: RefCell<Option<WorkerLog>>,
    pub tasks: Tasks,
    connections: Cell<usize>,
    draining: Cell<bool>,
    random: Cell<u64>,
    heartbeat: Arc<AtomicU64>,
    /// For whoever waits for what a reload may have changed.
    pub plan_changed: Notify,
}

impl Handle {
    pub fn spawn(index: usize, plans: Arc<ArcSwap<Plan>>) -> io::Result<Self> {
        let (commands, receiver) = mpsc::unbounded_channel();
        let heartbeat = Arc::new(AtomicU64::new(0));
        let beat = heartbeat.clone();
        let (started, starting) = sync::mpsc::sync_channel(1);
        let thread = thread::Builder::new().name(format!("lb-worker-{index}")).spawn(move || match runtime() {
            Ok(runtime) => {
                let _ = started.send(Ok(()));
                runtime.block_on(run(Worker::new(index, plans, beat), receiver));
            }
            Err(error) => drop(started.send(Err(error))),
        })?;
        starting.recv().map_err(io::Error::other)??;
        Ok(Self { commands, heartbeat, thread: Some(thread) })
    }

    /// Commands to a worker that has ended are dropped with it.
    pub fn send(&self, command: Command) {
        let _ = self.commands.send(command);
    }

    /// Grows for as long as the worker's loop turns.
    pub fn heartbeat(&self) -> u64 {
        self.heartbeat.load(Ordering::Relaxed)
    }

    /// Ends the thread and waits for it; what is still open is cut off.
    pub fn stop(mut self) {
        let Some(thread) = self.thread.take() else { return };
        drop(self);
        let _ = thread.join();
    }
}

/// What one look at the sockets may bring, and the tasks that run before the next: what the streams of an HTTP/2
/// connection write in one turn leaves in one record.
const TURN: u32 = 512;

/// One thread, one loop (DESIGN: a shared runtime costs 7 to 8 % more).
fn runtime() -> io::Result<LocalRuntime> {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().max_io_events_per_tick(TURN as usize).event_interval(TURN);
    builder.build_local(LocalOptions::default())
}

async fn run(worker: Rc<Worker>, mut commands: mpsc::UnboundedReceiver<Command>) {
    tokio::task::spawn_local(tick::run(worker.clone()));
    let mut listeners = accept::Listeners::default();
    while let Some(command) = commands.recv().await {
        match command {
            Command::NewPlan => worker.take_plan(),
            Command::Listen(listener, address) => listeners.open(&worker, listener, address),
            Command::Unlisten(address) => {
                listeners.close(&address).await;
                worker.deadlines.wake_all();
            }
            Command::Drain(timeout, done) => {
                listeners.close_all().await;
                let _ = done.send(drain(&worker, timeout).await);
                return;
            }
        }
    }
}

/// Tells idle connections, waits for busy ones; returns how many are left.
async fn drain(worker: &Worker, timeout: Duration) -> usize {
    worker.draining.set(true);
    worker.deadlines.wake_all();
    let emptied = async {
        while worker.connections.get() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let _ = tokio::time::timeout(timeout, emptied).await;
    worker.flush_log();
    worker.connections.get()
}

impl Worker {
    pub fn new(index: usize, plans: Arc<ArcSwap<Plan>>, heartbeat: Arc<AtomicU64>) -> Rc<Self> {
        let plan = plans.load_full();
        let log = plan.access_log.as_ref().map(|log| log.worker());
        Rc::new(Self {
            index,
            view: RefCell::new(Rc::new(View::new(plan, index))),
            plans,
            deadlines: Rc::default(),
            upstreams: Upstreams::default(),
            log: RefCell::new(log),
            tasks: Tasks::default(),
            connections: Cell::new(0),
            draining: Cell::new(false),
            random: Cell::new(mix(index as u64 + 1)),
            heartbeat,
            plan_changed: Notify::new(),
        })
    }

    /// The plan that a request which begins now keeps to its end.
    pub fn view(&self) -> Rc<View> {
        self.view.borrow().clone()
    }

    fn take_plan(&self) {
        let plan = self.plans.load_full();
        let old = self.view.borrow().clone();
        if !same_log(&old.plan, &plan) {
            *self.log.borrow_mut() = plan.access_log.as_ref().map(|log| log.worker());
        }
        let someone_goes = old.plan.frontends.iter().any(|f| plan.continues(f).is_none());
        *self.view.borrow_mut() = Rc::new(View::new(plan, self.index));
        self.plan_changed.notify_waiters();
        if someone_goes {
            self.deadlines.wake_all();
        }
    }

    /// Is the frontend of an older view still there?
    pub fn serves(&self, view: &Rc<View>, frontend: &FrontendPlan) -> bool {
        let current = self.view.borrow();
        Rc::ptr_eq(&current, view) || current.plan.continues(frontend).is_some()
    }

    pub fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// What a scheduler may depend on, for a client whose address hashes to `client`.
    pub fn key(&self, client: u64) -> Key {
        Key { client, random: self.random() }
    }

    /// Fresh random bits (splitmix64: a counter, mixed); good for spreading load, not for secrets.
    fn random(&self) -> u64 {
        let next = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(next);
        mix(next)
    }

    pub fn flush_log(&self) {
        if let Some(log) = &mut *self.log.borrow_mut() {
            log.flush();
        }
    }
}

fn same_log(a: &Plan, b: &Plan) -> bool {
    match (&a.access_log, &b.access_log) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

/// Counts one client connection of a worker while it is open.
#[derive(Debug)]
pub struct OpenConnection(Rc<Worker>);

impl OpenConnection {
    pub fn new(worker: &Rc<Worker>) -> Self {
        worker.connections.set(worker.connections.get() + 1);
        Self(worker.clone())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections.set(self.0.connections.get() - 1);
    }
}
