//! Drives one data plane: what is loaded, what is attached, what the maps hold.

mod interfaces;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use aya::Ebpf;
use lb_core::snapshot::Snapshot;
use tracing::{error, info, warn};

use crate::abi::{MAC_SLOTS, Settings};
use crate::attach::Choice;
use crate::clock::JiffyClock;
use crate::desired::{Clock, Desired};
use crate::directory::Directory;
use crate::error::Error;
use crate::host::Host;
use crate::links::{self, Attachment};
use crate::loader::{self, Pinned, Sizes, Variant};
use crate::maps::Maps;
use crate::plan::{Capacity, Change, Layout, entries_needed};
use crate::samples;
use crate::sweep::Tally;

pub use interfaces::choose;

/// The same on every node, so that each finds the same backend for a client.
const RING_SEED: u64 = 0x6c62_2d72_696e_6773;
/// ICMP errors and resets that strangers can make a CPU send in a tick.
const ANSWERS: u32 = 10_000;

pub struct Control {
    directory: Directory,
    pub maps: Arc<Maps>,
    pub clock: Clock,
    pub snapshot: Arc<Snapshot>,
    pub desired: Desired,
    pub layout: Layout,
    pub attached: Vec<Choice>,
    /// Names of interfaces that went while the program was on them.
    lost: BTreeSet<String>,
    sizes: Sizes,
    maps_path: PathBuf,
    programs: BTreeMap<Variant, Ebpf>,
    /// Destinations that were retired when the flow table was walked last.
    retired: HashSet<u32>,
    /// Some ring waits for room: see [`Change::deferred`].
    pub deferred: bool,
}

impl Control {
    /// Goes on from what is pinned in `path`, or starts afresh. When it returns packets are forwarded.
    pub fn start(path: &Path, snapshot: Arc<Snapshot>, jiffies: &mut JiffyClock, now: Instant) -> Result<Self, Error> {
        let directory = Directory::open(path)?;
        let host = Host::look().map_err(Error::Netlink)?;
        // The kernel finds the neighbours while the programs are verified.
        host.resolve(backends_of(&snapshot).into_iter());
        let ground = Ground::prepare(&directory, &snapshot, &host, jiffies)?;
        let choices = choose(&snapshot, &host)?;
        let result = Self::build(directory, snapshot, &host, &ground, choices, now);
        if ground.fresh && result.is_err() {
            loader::discard(&ground.path);
        }
        result
    }

    fn build(
        directory: Directory,
        snapshot: Arc<Snapshot>,
        host: &Host,
        ground: &Ground,
        choices: Vec<Choice>,
        now: Instant,
    ) -> Result<Self, Error> {
        let mut programs = BTreeMap::new();
        for variant in choices.iter().map(Choice::variant) {
            if let std::collections::btree_map::Entry::Vacant(entry) = programs.entry(variant) {
                entry.insert(loader::load(variant, &ground.path, ground.sizes)?);
            }
        }
        let maps = Arc::new(Maps::open(&ground.path)?);
        if ground.fresh {
            maps.initialise(&settings(ground.clock));
        }
        let layout = Layout::restore(maps.capacity(), maps.found()?);
        let desired = Desired::of(&snapshot, host, ground.clock, &[]);
        layout.check(&desired)?;
        let mut control = Self {
            directory,
            maps,
            clock: ground.clock,
            snapshot,
            desired,
            layout,
            attached: vec![],
            lost: BTreeSet::new(),
            sizes: ground.sizes,
            maps_path: ground.path.clone(),
            programs,
            retired: HashSet::new(),
            deferred: false,
        };
        // The lb before may have died while somebody took samples, and may have had another limit.
        control.maps.set_sampling(u32::MAX, u32::MAX);
        control.maps.set_answers(ANSWERS);
        control.write(now);
        let snapshot = control.snapshot.clone();
        control.attached = control.attach(host, choices, &snapshot)?;
        control.leave_others(host)?;
        if ground.fresh {
            control.settle(ground)?;
        }
        Ok(control)
    }

    /// New maps take their place.
    fn settle(&mut self, ground: &Ground) -> Result<(), Error> {
        let path = self.directory.maps();
        self.directory.adopt_new_maps().map_err(|source| Error::Directory { path: path.clone(), source })?;
        self.maps_path = path;
        match &ground.lost {
            Some(reason) => warn!(reason, "the maps of the lb before could not be gone on with: flows start afresh"),
            None => info!(entries = u64::from(self.maps.flows.count()) * 8, hz = self.clock.hz, "flow table made"),
        }
        Ok(())
    }

    /// What a new configuration wants. The program may come to more interfaces, where it forwards by the old
    /// one; nothing else changes.
    pub fn plan(&mut self, snapshot: Arc<Snapshot>) -> Result<Planned, Error> {
        let host = Host::look().map_err(Error::Netlink)?;
        if Sizes::new(snapshot.config.l4.flows, Capacity::default()).buckets != self.sizes.buckets {
            return Err(Error::FlowsChanged);
        }
        let desired = Desired::of(&snapshot, &host, self.clock, &self.desired.frontends);
        self.layout.check(&desired)?;
        host.resolve(backends_of(&snapshot).into_iter());
        let attached = self.extend(&host, choose(&snapshot, &host)?, &snapshot)?;
        Ok(Planned { snapshot, desired, attached, host })
    }

    /// What was planned becomes what is forwarded by.
    pub fn commit(&mut self, planned: Planned, now: Instant) {
        let Planned { snapshot, mut desired, attached, host } = planned;
        // Health may have changed since it was planned.
        desired.refresh(&snapshot);
        (self.snapshot, self.desired, self.attached) = (snapshot, desired, attached);
        self.write(now);
        // Links may have changed as well, and whoever follows them has waited for this or is done.
        let host = Host::look().unwrap_or(host);
        if let Err(error) = self.leave_others(&host) {
            error!(%error, "cannot tell the data plane what it may send by");
        }
    }

    /// Takes up the health of every pool. `true`: something changed.
    pub fn refresh(&mut self, now: Instant) -> bool {
        let changed = self.desired.refresh(&self.snapshot);
        if changed {
            self.write(now);
        }
        changed
    }

    /// Brings the maps to what is desired.
    pub fn write(&mut self, now: Instant) {
        let Change { operations, deferred } = self.layout.change(&self.desired, now);
        self.deferred = deferred;
        for operation in &operations {
            if let Err(error) = self.maps.apply(operation) {
                error!(%error, "cannot write a map of layer 4");
            }
        }
    }

    /// What flow sync stands on.
    pub fn ground(&self) -> SyncGround {
        SyncGround { maps: self.maps.clone(), path: self.maps_path.clone(), sizes: self.sizes, hz: self.clock.hz }
    }

    /// The place of the frontend with that name.
    pub fn place_of(&self, name: &str) -> Option<u32> {
        let frontend = self.desired.frontends.iter().find(|f| &*f.name == name)?;
        self.layout.frontend_place_of(&frontend.key)
    }

    pub fn samples(&self) -> Result<aya::maps::MapData, Error> {
        samples::open(&self.maps_path).map_err(|source| Error::Map { name: "samples", source })
    }

    /// Destinations that are gone and that no flow names any more give their places back.
    pub fn forget_dests(&mut self, tally: &Tally) {
        let retired: HashSet<u32> = self.layout.retired_dests().into_iter().collect();
        // Those that were retired before that walk began: it may have missed the last flow of others.
        for index in self.retired.intersection(&retired).filter(|index| !tally.dests.contains_key(index)) {
            self.layout.forget_dest(*index);
        }
        self.retired = retired;
    }

    /// Each once.
    pub fn backends(&self) -> BTreeSet<IpAddr> {
        self.desired.frontends.iter().flat_map(|f| f.dests.iter().map(|d| IpAddr::from(d.addr))).collect()
    }

    /// Nothing is forwarded any more, and nothing stays.
    pub fn remove(self) -> Result<Vec<Attachment>, Error> {
        let Self { directory, .. } = self;
        remove_all(directory)
    }
}

/// Detaches every program and removes every map in the directory.
pub fn remove_all(directory: Directory) -> Result<Vec<Attachment>, Error> {
    let host = Host::look().map_err(Error::Netlink)?;
    let links = directory.links();
    let existing = links::existing(&links);
    existing.iter().for_each(|attachment| interfaces::detach(&links, &host, *attachment));
    directory.remove()?;
    Ok(existing)
}

/// The maps of a data plane, for flow sync.
pub struct SyncGround {
    pub maps: Arc<Maps>,
    pub path: PathBuf,
    pub sizes: Sizes,
    pub hz: u32,
}

/// All that a commit needs.
pub struct Planned {
    snapshot: Arc<Snapshot>,
    desired: Desired,
    attached: Vec<Choice>,
    host: Host,
}

/// On what the data plane will stand: maps of a size, old or new.
struct Ground {
    path: PathBuf,
    sizes: Sizes,
    clock: Clock,
    /// They are to be filled before anything is attached.
    fresh: bool,
    /// Why flows are lost, where there were some.
    lost: Option<String>,
}

impl Ground {
    fn prepare(
        directory: &Directory,
        snapshot: &Snapshot,
        host: &Host,
        jiffies: &mut JiffyClock,
    ) -> Result<Self, Error> {
        // How much is needed does not depend on time.
        let needed = entries_needed(&Desired::of(snapshot, host, Clock { hz: 1 }, &[]));
        let wanted = Sizes::new(snapshot.config.l4.flows, needed);
        // What a start that was killed has left.
        loader::discard(&directory.new_maps());
        let lost = match loader::inspect(directory, wanted) {
            Pinned::Usable(sizes) if sizes.hold(needed) => {
                let clock = Clock { hz: Maps::open(&directory.maps())?.settings().hz };
                return Ok(Self { path: directory.maps(), sizes, clock, fresh: false, lost: None });
            }
            Pinned::Usable(_) => Some("they are too small for this configuration".to_owned()),
            Pinned::Unusable(reason) => Some(reason),
            Pinned::Absent => None,
        };
        let clock = Clock { hz: jiffies.measure_hz()? };
        Ok(Self { path: directory.new_maps(), sizes: wanted, clock, fresh: true, lost })
    }
}

/// Of all layer-4 frontends, each address once.
fn backends_of(snapshot: &Snapshot) -> BTreeSet<IpAddr> {
    let pools = snapshot.forward_frontends().filter_map(|(_, forward)| snapshot.pool(&forward.pool));
    pools.flat_map(|pool| pool.backends.iter().chain(&pool.backup)).map(|b| b.config.address.ip()).collect()
}

fn settings(clock: Clock) -> Settings {
    Settings {
        flow_seed: RandomState::new().build_hasher().finish(),
        ring_seed: RING_SEED,
        hz: clock.hz,
        tick_shift: clock.tick_shift(),
        epoch: 1,
        new_flows: 0,
        sample_mask: u32::MAX,
        sample_frontend: u32::MAX,
        snat_first: 0,
        snat_last: 0,
        answers: ANSWERS,
        mac_factor: 1,
        macs: [0; MAC_SLOTS],
        vip_bits: [0; 64],
    }
}
