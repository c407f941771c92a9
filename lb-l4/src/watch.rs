//! The thread that looks after a data plane: neighbours, routes and links as they change, the flow table
//! as it ages, and rings that wait for room.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use tracing::{debug, error, warn};

use crate::clock::JiffyClock;
use crate::control::Control;
use crate::error::Error;
use crate::host::Host;
use crate::maps::Maps;
use crate::neighbours::{Asked, Neighbour};
use crate::netlink::{Event, Link, Monitor, Netlink};
use crate::regions::GRACE;
use crate::sweep::{Sweep, Tally};

/// Between two looks at a part of the flow table.
const STEP: Duration = Duration::from_millis(100);
/// In so many steps all of it has been looked at.
const STEPS: u32 = 50;
/// Between two times that the kernel is asked to know the way to every backend and router, and for each backend
/// at least, so that thousands cost no more of a CPU than hundreds.
const RESOLVE: Duration = Duration::from_secs(3);
/// Routes that change all the time (BGP) do not make it look at all of them all the time.
const RESOLVE_SOONEST: Duration = Duration::from_millis(500);
const RESOLVE_EACH: Duration = Duration::from_millis(5);

/// Ends with [`Watch::stop`].
pub struct Watch {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

struct Shared {
    bell: EventFd,
    stop: AtomicBool,
    tally: Mutex<Arc<Tally>>,
    /// The time of the data plane, as it was a moment ago.
    now: AtomicU32,
}

impl Watch {
    pub fn start(control: Arc<Mutex<Control>>, jiffies: JiffyClock) -> Result<Self, Error> {
        let bell = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC);
        let bell = bell.map_err(|errno| Error::Thread(errno.into()))?;
        let shared =
            Arc::new(Shared { bell, stop: AtomicBool::new(false), tally: Mutex::default(), now: AtomicU32::new(0) });
        let monitor = Monitor::open().map_err(Error::Netlink)?;
        let netlink = Netlink::open().map_err(Error::Netlink)?;
        let watcher = Watcher::new(control, jiffies, monitor, netlink, shared.clone());
        let thread = std::thread::Builder::new().name("l4".to_owned()).spawn(move || watcher.run());
        Ok(Self { shared, thread: thread.map_err(Error::Thread)? })
    }

    /// Something has changed that it should look at soon.
    pub fn wake(&self) {
        // A bell that cannot ring more often has rung.
        let _ = self.shared.bell.write(1);
    }

    /// What the latest walk over all of the flow table has found.
    pub fn tally(&self) -> Arc<Tally> {
        lock(&self.shared.tally).clone()
    }

    /// Jiffies, a tenth of a second ago at most.
    pub fn now(&self) -> u32 {
        self.shared.now.load(Ordering::Relaxed)
    }

    pub fn stop(self) {
        self.shared.stop.store(true, Ordering::Release);
        self.wake();
        if self.thread.join().is_err() {
            error!("the thread of layer 4 had panicked");
        }
    }
}

struct Watcher {
    control: Arc<Mutex<Control>>,
    jiffies: JiffyClock,
    monitor: Monitor,
    netlink: Netlink,
    shared: Arc<Shared>,
    maps: Arc<Maps>,
    sweep: Sweep,
    neighbours: HashMap<Neighbour, Option<Vec<u8>>>,
    asked: Asked,
    links: HashMap<u32, Link>,
    next_step: Instant,
    next_resolve: Instant,
    /// The last time.
    resolved: Option<Instant>,
    /// When rings that found no room are tried again.
    retry: Option<Instant>,
}

impl Watcher {
    fn new(
        control: Arc<Mutex<Control>>,
        jiffies: JiffyClock,
        monitor: Monitor,
        netlink: Netlink,
        shared: Arc<Shared>,
    ) -> Self {
        let maps = lock(&control).maps.clone();
        let sweep = Sweep::new(maps.clone(), STEPS);
        let now = clock();
        let (neighbours, links) = (HashMap::new(), HashMap::new());
        Self {
            control,
            jiffies,
            monitor,
            netlink,
            shared,
            maps,
            sweep,
            neighbours,
            asked: Asked::default(),
            links,
            next_step: now,
            next_resolve: now,
            resolved: None,
            retry: None,
        }
    }

    fn run(mut self) {
        // What changed before the monitor was there.
        self.follow_links(&BTreeSet::new());
        while !self.shared.stop.load(Ordering::Acquire) {
            self.wait();
            let _ = self.shared.bell.read();
            self.hear();
            self.step(clock());
        }
    }

    fn wait(&self) {
        let due = [Some(self.next_step), Some(self.next_resolve), self.retry].into_iter().flatten().min();
        let wait = due.map_or(STEP, |due| due.saturating_duration_since(clock()));
        let timeout = PollTimeout::try_from(wait.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        let mut ready = [
            PollFd::new(self.monitor.fd(), PollFlags::POLLIN),
            PollFd::new(self.shared.bell.as_fd(), PollFlags::POLLIN),
        ];
        // EINTR is as good as a timeout.
        let _ = poll(&mut ready, timeout);
    }

    /// What the kernel says about the network since the last time.
    fn hear(&mut self) {
        let events = match self.monitor.events() {
            Ok(events) => events,
            Err(error) => return warn!(%error, "cannot hear of changes of the network"),
        };
        let mut links_changed = false;
        let mut changed = false;
        let mut gone = BTreeSet::new();
        for event in events {
            match event {
                Event::Neighbour { interface, address, mac } => changed |= self.learn(interface, address, mac),
                Event::Link(link) => {
                    if self.links.insert(link.index, link.clone()).as_ref() != Some(&link) {
                        links_changed = true;
                    }
                }
                Event::Gone(index) => links_changed |= gone.insert(index),
                Event::Overrun => links_changed = true,
                Event::Route | Event::Address => changed = true,
            }
        }
        if links_changed || (changed && lock(&self.control).has_lost()) {
            self.follow_links(&gone);
        }
        if changed || links_changed {
            debug!("the network has changed: next hops are looked up anew");
            lock(&self.control).maps.raise_epoch();
            // Routes may lead over other neighbours now.
            let soonest = self.resolved.map_or_else(clock, |resolved| resolved + RESOLVE_SOONEST);
            self.next_resolve = self.next_resolve.min(soonest);
        }
    }

    /// Did a neighbour get another address? States that come and go (reachable, stale) change nothing.
    fn learn(&mut self, interface: u32, address: IpAddr, mac: Option<Vec<u8>>) -> bool {
        let before = self.neighbours.insert((interface, address), mac.clone());
        if mac.is_none() {
            self.neighbours.remove(&(interface, address));
        }
        before.flatten() != mac
    }

    /// Interfaces may have come and gone, and VLANs on top of those that XDP holds.
    fn follow_links(&mut self, gone: &BTreeSet<u32>) {
        self.links.retain(|index, _| !gone.contains(index));
        let mut control = lock(&self.control);
        let done = Host::look().map_err(Error::Netlink).and_then(|host| control.follow(&host, gone));
        if let Err(error) = done {
            warn!(%error, "cannot follow a change of network interfaces");
        }
    }

    fn step(&mut self, now: Instant) {
        if now >= self.next_step {
            self.next_step = now + STEP;
            self.sweep_on();
            self.resolve_asked(now);
        }
        if now >= self.next_resolve {
            self.resolved = Some(now);
            self.next_resolve = now + self.resolve();
        }
        let mut control = lock(&self.control);
        let due = self.retry.is_some_and(|retry| now >= retry);
        if control.deferred && due {
            control.write(now);
        }
        if due || self.retry.is_none() {
            self.retry = control.deferred.then(|| now + GRACE / 4);
        }
    }

    fn sweep_on(&mut self) {
        match self.jiffies.now() {
            Ok(now) => {
                self.shared.now.store(now, Ordering::Relaxed);
                if let Some(tally) = self.sweep.step(now) {
                    lock(&self.control).forget_dests(&tally);
                    *lock(&self.shared.tally) = Arc::new(tally);
                }
            }
            Err(error) => warn!(%error, "cannot read the time of the data plane"),
        }
    }

    /// What packets had no next hop for, and clients on this host's own networks.
    fn resolve_asked(&mut self, now: Instant) {
        let met = match self.maps.take_neighbours() {
            Ok(met) => met,
            Err(error) => return warn!(%error, "cannot tell which neighbours packets wait for"),
        };
        for neighbour in met.into_iter().map(Neighbour::from) {
            let known = self.neighbours.contains_key(&neighbour);
            let (interface, address) = neighbour;
            if self.asked.admits(neighbour, known, now)
                && let Err(error) = self.netlink.use_neighbour(interface, address)
            {
                debug!(interface, %address, %error, "cannot have a neighbour resolved");
            }
        }
    }

    /// A backend or a router whose neighbour entry goes stale while it is idle would cost its next packets; on a standby
    /// node all of them are idle until it takes over. Says when the next time is due.
    fn resolve(&mut self) -> Duration {
        let (backends, interfaces) = {
            let control = lock(&self.control);
            (control.backends(), control.attached.iter().map(|choice| choice.interface).collect())
        };
        let pause = RESOLVE.max(RESOLVE_EACH * backends.len() as u32);
        let done = Host::look().and_then(|host| {
            host.resolve(backends.into_iter());
            host.resolve_gateways(&interfaces)
        });
        if let Err(error) = done {
            warn!(%error, "cannot have the neighbours of backends and routers resolved");
        }
        pause
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::disallowed_methods, reason = "the driver of everything here; rings and sweeps get the time from it")]
fn clock() -> Instant {
    Instant::now()
}
