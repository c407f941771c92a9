//! The tier as the supervisor sees it: start, prepare, commit, and what it knows.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use lb_core::snapshot::Snapshot;
use tracing::{error, info, warn};

use crate::clock::JiffyClock;
use crate::control::{self, Control, Planned, SyncGround};
use crate::directory::Directory;
use crate::error::Error;
use crate::explain::{Answer, NoFrontend, Question};
use crate::flows::{self, Listing, Query};
use crate::links;
use crate::report::Report;
use crate::samples::{self, SampleLine};
use crate::sync::record::Record;
use crate::watch::Watch;

/// Cannot be changed by a reload.
#[derive(Debug, Clone)]
pub struct Options {
    /// On a bpf file system; see [`crate::directory::default_path`].
    pub directory: PathBuf,
}

/// Layer 4 of this process. Without layer-4 frontends it does nothing and holds nothing.
pub struct Tier {
    options: Options,
    running: Mutex<Option<Running>>,
    /// Held by the one who takes samples: what the program gives has one reader.
    sampling: Mutex<()>,
}

/// A data plane, and the thread that looks after it.
pub(crate) struct Running {
    pub control: Arc<Mutex<Control>>,
    pub watch: Watch,
}

/// Everything that a reload needs and that could fail, done; see [`Tier::prepare`]. Dropped without a
/// commit it changes nothing that forwards.
pub struct Prepared(Step);

enum Step {
    /// There is no layer 4, before or after.
    Nothing,
    /// The first layer-4 frontend has come.
    Begin(Box<Running>),
    Change(Box<Planned>),
    /// The last one goes.
    End,
}

impl Tier {
    /// Nothing is forwarded before [`Tier::start`].
    pub fn new(options: Options) -> Self {
        Self { options, running: Mutex::new(None), sampling: Mutex::new(()) }
    }

    /// When it returns, packets of layer-4 frontends are forwarded: by what an lb before this one has
    /// left attached, all along.
    pub fn start(&self, snapshot: Arc<Snapshot>) -> Result<(), Error> {
        if has_layer4(&snapshot) {
            *self.lock() = Some(Running::start(&self.options, snapshot)?);
        } else if links_left(&self.options) {
            warn!(
                "an lb before this one has left layer 4 forwarding, of which this configuration has none: `lb detach` ends it"
            );
        }
        Ok(())
    }

    /// Attaches to new interfaces, and finds out whether everything fits. Changes nothing that forwards.
    pub fn prepare(&self, snapshot: Arc<Snapshot>) -> Result<Prepared, Error> {
        let running = self.lock();
        let step = match (running.as_ref(), has_layer4(&snapshot)) {
            (None, false) => Step::Nothing,
            (Some(_), false) => Step::End,
            (None, true) => Step::Begin(Box::new(Running::start(&self.options, snapshot)?)),
            (Some(running), true) => Step::Change(Box::new(running.control().plan(snapshot)?)),
        };
        Ok(Prepared(step))
    }

    /// Forwards by what was prepared. Cannot fail.
    #[expect(clippy::disallowed_methods, reason = "a driver: the grace of rings begins now")]
    pub fn commit(&self, mut prepared: Prepared) {
        let mut running = self.lock();
        match std::mem::replace(&mut prepared.0, Step::Nothing) {
            Step::Nothing => {}
            Step::Begin(new) => *running = Some(*new),
            Step::End => {
                if let Some(old) = running.take() {
                    old.end();
                }
            }
            Step::Change(planned) => {
                if let Some(running) = running.as_ref() {
                    running.control().commit(*planned, Instant::now());
                    running.watch.wake();
                }
            }
        }
    }

    /// Health or an operator's command has changed what some backend may be given.
    #[expect(clippy::disallowed_methods, reason = "a driver: the grace of rings begins now")]
    pub fn health_changed(&self) {
        if let Some(running) = self.lock().as_ref()
            && running.control().refresh(Instant::now())
        {
            running.watch.wake();
        }
    }

    /// This process no longer looks after what it has attached, which goes on forwarding.
    pub fn leave(&self) {
        if let Some(running) = self.lock().take() {
            running.watch.stop();
            info!("layer 4 goes on forwarding without lb; `lb detach` would end it");
        }
    }

    /// `None`: there is no layer 4.
    pub fn report(&self) -> Option<Report> {
        let running = self.lock();
        let running = running.as_ref()?;
        Some(running.control().report(&running.watch.tally()))
    }

    /// What the flow table holds; walking a large one takes a while. `None`: there is no layer 4.
    pub fn flows(&self, query: &Query) -> Option<Result<Listing, Error>> {
        let (maps, names, now) = {
            let running = self.lock();
            let running = running.as_ref()?;
            let control = running.control();
            if let Some(name) = query.frontend.as_ref().filter(|name| control.place_of(name).is_none()) {
                return Some(Err(Error::NoFrontend(name.clone())));
            }
            (control.maps.clone(), control.names(), running.now(&control))
        };
        Some(Ok(flows::list(&maps, &names, now, query)))
    }

    /// `None`: there is no layer 4.
    pub fn explain(&self, question: &Question) -> Option<Result<Answer, NoFrontend>> {
        let running = self.lock();
        let running = running.as_ref()?;
        let control = running.control();
        Some(control.explain(question, running.now(&control)))
    }

    /// The next packets, and what becomes of them; takes some seconds. `None`: there is no layer 4.
    pub fn sample(&self, count: usize, frontend: Option<&str>) -> Option<Result<Vec<SampleLine>, Error>> {
        let (maps, names, data, place) = {
            let running = self.lock();
            let running = running.as_ref()?;
            let control = running.control();
            let place =
                match frontend.map(|name| control.place_of(name).ok_or_else(|| Error::NoFrontend(name.to_owned()))) {
                    Some(Err(error)) => return Some(Err(error)),
                    Some(Ok(place)) => place,
                    None => u32::MAX,
                };
            let data = match control.samples() {
                Ok(data) => data,
                Err(error) => return Some(Err(error)),
            };
            (control.maps.clone(), control.names(), data, place)
        };
        match self.sampling.try_lock() {
            Err(TryLockError::WouldBlock) => Some(Err(Error::Sampling)),
            _alone => Some(samples::take(&maps, data, &names, place, count)),
        }
    }

    /// `None`: there is no layer 4.
    pub(crate) fn sync_ground(&self) -> Option<SyncGround> {
        Some(self.lock().as_ref()?.control().ground())
    }

    /// The destination of each, as another node names it, by place and incarnation; `None`: it is not here.
    pub(crate) fn find_dests(&self, records: &[Record]) -> Vec<Option<(u32, u16)>> {
        let running = self.lock();
        let Some(running) = running.as_ref() else { return vec![None; records.len()] };
        let control = running.control();
        let find = |record: &Record| control.layout.find_dest(&record.vip(), record.backend.0, record.backend.1);
        records.iter().map(find).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    #[expect(clippy::disallowed_methods, reason = "a driver: the grace of rings begins now")]
    fn start(options: &Options, snapshot: Arc<Snapshot>) -> Result<Self, Error> {
        let mut jiffies = JiffyClock::load()?;
        let control = Control::start(&options.directory, snapshot, &mut jiffies, Instant::now())?;
        let control = Arc::new(Mutex::new(control));
        let watch = Watch::start(control.clone(), jiffies)?;
        Ok(Self { control, watch })
    }

    pub(crate) fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self, control: &Control) -> flows::Now {
        flows::Now { jiffies: self.watch.now(), hz: control.clock.hz }
    }

    fn end(self) {
        self.watch.stop();
        let Some(control) = Arc::into_inner(self.control) else { return };
        match control.into_inner().unwrap_or_else(PoisonError::into_inner).remove() {
            Ok(_) => info!("there is no layer-4 frontend any more: the data plane is removed"),
            Err(error) => error!(%error, "cannot remove the data plane"),
        }
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        // `commit` has left nothing behind.
        if let Step::Begin(running) = std::mem::replace(&mut self.0, Step::Nothing) {
            running.end();
        }
    }
}

/// Removes what an lb has left in `directory`, of which none may be running: the interfaces that it was
/// attached to. `None`: nothing was there.
pub fn detach(options: &Options) -> Result<Option<usize>, Error> {
    let Some(directory) = Directory::existing(&options.directory)? else { return Ok(None) };
    control::remove_all(directory).map(|attachments| Some(attachments.len()))
}

/// Does something forward that no lb looks after?
fn links_left(options: &Options) -> bool {
    matches!(Directory::existing(&options.directory), Ok(Some(directory)) if !links::existing(&directory.links()).is_empty())
}

fn has_layer4(snapshot: &Snapshot) -> bool {
    snapshot.forward_frontends().next().is_some()
}
