//! The virtual routers as the supervisor sees them: start, prepare, commit, stop, and what is known of them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lb_core::config::Config;
use lb_core::counters::Durations;
use lb_core::snapshot::Snapshot;
use tracing::{error, info};

use crate::driver::{self, Board, Command, Desired, Driver, Emergency, Hook, Place, RoleEvent, Shown, desired, utc};
use crate::error::Error;
use crate::report::{self, Outcome, RouterReport, Yielded};
use crate::routers::RouterId;

/// On top of what a handover may take by the rules.
const MARGIN: Duration = Duration::from_secs(2);

/// VRRP of this process. Without virtual routers it does nothing and holds nothing.
#[derive(Default)]
pub struct Tier {
    running: Mutex<Option<Running>>,
    on_role: Option<OnRole>,
    /// Written under the lock of `running`, so that virtual routers which begin are told what holds.
    is_unready: AtomicBool,
    stopping: Mutex<Option<Stopping>>,
}

/// What is still known of virtual routers that hand over for the last time.
struct Stopping {
    emergency: Emergency,
    routers: Vec<Known>,
}

/// Told of each change of role, on a thread that nobody waits for.
pub type OnRole = Arc<dyn Fn(&RoleEvent) + Send + Sync>;

/// Everything that a reload needs and that could fail, done; see [`Tier::prepare`]. Dropped without a commit it changes
/// nothing.
pub struct Prepared(Step);

enum Step {
    /// There is no virtual router, before or after.
    Nothing,
    /// The first one has come.
    Begin(Box<Running>, Vec<Desired>),
    Change(Vec<Desired>),
    /// The last one goes.
    End,
}

struct Running {
    driver: Driver,
    routers: Vec<Known>,
    next_id: RouterId,
}

/// A virtual router that runs.
struct Known {
    id: RouterId,
    board: Arc<Board>,
    desired: Desired,
}

impl Tier {
    /// One that tells of changes of role.
    pub fn telling(on_role: OnRole) -> Self {
        Self { on_role: Some(on_role), ..Self::default() }
    }

    /// Reads what has to be read, and starts what has to run. No role changes.
    pub fn prepare(&self, snapshot: &Snapshot) -> Result<Prepared, Error> {
        let desired = desired(&snapshot.config)?;
        let step = match (self.lock().is_some(), desired.is_empty()) {
            (false, true) => Step::Nothing,
            (true, true) => Step::End,
            (false, false) => Step::Begin(Box::new(Running::start(self.hook(), &ledger(&snapshot.config))?), desired),
            (true, false) => Step::Change(desired),
        };
        Ok(Prepared(step))
    }

    /// Runs what was prepared; what stays keeps its role and its timers. Cannot fail.
    pub fn commit(&self, prepared: Prepared) {
        let mut running = self.lock();
        match prepared.0 {
            Step::Nothing => {}
            Step::Begin(mut new, desired) => {
                // Before they begin, or they could preempt in between.
                new.driver.command(Command::Ready(!self.is_unready.load(Ordering::Relaxed)));
                new.apply(desired);
                *running = Some(*new);
            }
            Step::Change(desired) => {
                if let Some(running) = running.as_mut() {
                    running.apply(desired);
                }
            }
            Step::End => {
                if let Some(old) = running.take() {
                    let longest = old.patience();
                    old.stop(longest);
                    info!("there is no virtual router any more");
                }
            }
        }
    }

    /// Whether this node may take over from one that is active: not before it knows that one's flows. It holds for
    /// virtual routers that come later too.
    pub fn set_ready(&self, ready: bool) {
        let running = self.lock();
        self.is_unready.store(!ready, Ordering::Relaxed);
        if let Some(running) = running.as_ref() {
            running.driver.command(Command::Ready(ready));
        }
    }

    /// Something that a virtual router tracks was looked at: `index` counts in the `track` of the file.
    pub fn observe(&self, router: &str, index: usize, is_up: bool) {
        let running = self.lock();
        let Some(running) = running.as_ref() else { return };
        if let Some(known) = running.routers.iter().find(|known| &*known.desired.name == router) {
            running.driver.command(Command::Observe { id: known.id, index, is_up });
        }
    }

    /// Hands over the role of one virtual router, or of all that are active here, and waits for what becomes of it.
    pub fn yield_role(&self, name: Option<&str>) -> Result<Vec<Yielded>, Error> {
        let waits = {
            let running = self.lock();
            let running = running.as_ref().ok_or(Error::NoRouters)?;
            running.begin_yield(name)?
        };
        // Not under the lock: status has to be shown meanwhile.
        waits.into_iter().map(Wait::finish).collect()
    }

    /// Hands over what is active here and takes everything away. Returns when that is done, or has taken too long.
    pub fn stop(&self) {
        let Some(mut running) = self.lock().take() else { return };
        let longest = running.patience();
        let (emergency, routers) = (running.driver.emergency(), std::mem::take(&mut running.routers));
        *self.stopping() = Some(Stopping { emergency, routers });
        running.stop(longest);
    }

    /// Makes [`Tier::stop`], which is under way, let go of everything without waiting for another node.
    pub fn hurry(&self) {
        if let Some(stopping) = &*self.stopping() {
            stopping.emergency.call();
        }
    }

    /// Whether what should run does.
    pub fn is_alive(&self) -> bool {
        self.lock().as_ref().is_none_or(|running| running.driver.is_alive())
    }

    /// In the order of the file.
    pub fn report(&self) -> Vec<RouterReport> {
        let (running, stopping, now) = (self.lock(), self.stopping(), utc());
        let routers = running.iter().flat_map(|running| &running.routers);
        let last = stopping.iter().flat_map(|stopping| &stopping.routers);
        routers.chain(last).map(|known| known.report(now)).collect()
    }

    /// Of the thread, where there is one: how late it woke up, and packets that were nobody's.
    pub(crate) fn with_punctuality<T>(&self, look: impl FnOnce(&Durations, u64) -> T) -> Option<T> {
        let running = self.lock();
        let punctuality = running.as_ref()?.driver.punctuality();
        Some(look(&punctuality.lateness, punctuality.strangers.get()))
    }

    fn hook(&self) -> Option<Hook> {
        let on_role = self.on_role.clone()?;
        Some(Box::new(move |event: &RoleEvent| on_role(event)))
    }

    fn stopping(&self) -> MutexGuard<'_, Option<Stopping>> {
        self.stopping.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody wants to know what becomes of a handover.
struct Wait {
    router: String,
    board: Arc<Board>,
    outcome: std::sync::mpsc::Receiver<Outcome>,
    patience: Duration,
}

impl Wait {
    fn finish(self) -> Result<Yielded, Error> {
        let outcome = match self.outcome.recv_timeout(self.patience) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => self.as_it_is()?,
        };
        Ok(Yielded { router: self.router, outcome })
    }

    /// Nothing was heard, so what does it look like?
    fn as_it_is(&self) -> Result<Outcome, Error> {
        match &*self.board.shown() {
            Shown { role: crate::machine::Role::Active, .. } => Err(Error::NoAnswer),
            Shown { active_router: Some((to, _)), .. } => Ok(Outcome::HandedOver { to: *to }),
            Shown { .. } => Ok(Outcome::NotActive),
        }
    }
}

/// Beside the admin socket, which stands in a directory that is empty after a restart of the host.
fn ledger(config: &Config) -> PathBuf {
    let mut path = config.admin.socket.clone().into_os_string();
    path.push(".sysctls");
    path.into()
}

impl Running {
    fn start(hook: Option<Hook>, ledger: &Path) -> Result<Self, Error> {
        Ok(Self { driver: Driver::start(hook, ledger)?, routers: Vec::new(), next_id: 0 })
    }

    /// What is the same virtual router as before keeps its number.
    fn apply(&mut self, desired: Vec<Desired>) {
        let before = std::mem::take(&mut self.routers);
        let find = |new: &Desired| before.iter().find(|known| known.is(&new.name, &new.place));
        for desired in desired {
            let (id, board) = match find(&desired) {
                Some(known) => (known.id, known.board.clone()),
                None => (self.take_id(), Arc::default()),
            };
            self.driver.name(id, &desired);
            self.routers.push(Known { id, board, desired });
        }
        let all = self.routers.iter().map(|known| driver::Assigned {
            id: known.id,
            desired: known.desired.clone(),
            board: known.board.clone(),
        });
        self.driver.command(Command::Apply(all.collect()));
    }

    fn take_id(&mut self) -> RouterId {
        self.next_id += 1;
        self.next_id
    }

    fn begin_yield(&self, name: Option<&str>) -> Result<Vec<Wait>, Error> {
        let is_meant = |known: &&Known| name.is_none_or(|name| &*known.desired.name == name);
        let meant: Vec<&Known> = self.routers.iter().filter(is_meant).collect();
        if let (true, Some(name)) = (meant.is_empty(), name) {
            return Err(Error::NoRouter(name.to_owned()));
        }
        let waits = meant.into_iter().map(|known| Wait {
            router: known.desired.name.to_string(),
            board: known.board.clone(),
            outcome: self.driver.yield_role(known.id),
            patience: patience(&known.desired),
        });
        Ok(waits.collect())
    }

    /// How long the slowest of them may take to hand over.
    fn patience(&self) -> Duration {
        self.routers.iter().map(|known| patience(&known.desired)).max().unwrap_or(MARGIN)
    }

    fn stop(self, longest: Duration) {
        if !self.driver.stop(longest) {
            error!("the virtual routers were not handed over in time; their addresses may still be there");
        }
    }
}

/// How long a handover may take: a successor's skew, some intervals, and what it takes to announce itself.
fn patience(desired: &Desired) -> Duration {
    desired.settings.interval * 6 + MARGIN
}

impl Known {
    fn is(&self, name: &str, place: &Place) -> bool {
        &*self.desired.name == name && self.desired.place == *place
    }

    fn report(&self, now: Duration) -> RouterReport {
        let (Desired { name, group, place, settings, addresses, .. }, shown) = (&self.desired, self.board.shown());
        let names = self.desired.tracking();
        let tracked = names.trackers().iter().zip(&shown.tracked);
        RouterReport {
            name: name.to_string(),
            interface: place.interface.clone(),
            vrid: place.vrid,
            version: place.version.number(),
            group: group.as_deref().map(str::to_owned),
            role: shown.role.label().to_owned(),
            leaving: shown.is_leaving,
            priority: settings.priority,
            effective_priority: shown.priority,
            active_router: shown.active_router.map(|(address, _)| address),
            active_priority: shown.active_router.map(|(_, priority)| priority),
            source: shown.source,
            addresses: addresses.iter().map(ToString::to_string).collect(),
            seconds_in_role: shown.reason.map(|_| now.saturating_sub(shown.since).as_secs()),
            reason: shown.reason.map(|reason| reason.to_string()),
            held_back_seconds: shown.held_until.and_then(|until| until.checked_sub(now)).map(|left| left.as_secs()),
            tracked: tracked
                .map(|(tracker, up)| report::TrackedReport { name: tracker.name.clone(), up: *up })
                .collect(),
            counts: self.board.counters.report(),
        }
    }
}
