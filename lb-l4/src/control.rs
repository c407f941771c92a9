//! Drives one data plane: what is loaded, what is attached, what the maps hold.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use aya::Ebpf;
use lb_core::config::Attach;
use lb_core::snapshot::Snapshot;
use tracing::{error, info, warn};

use crate::abi::{Port, Settings, Vlan};
use crate::attach::{self, Choice};
use crate::clock::JiffyClock;
use crate::desired::{Clock, Desired};
use crate::directory::Directory;
use crate::error::Error;
use crate::host::Host;
use crate::links::{self, Attachment, How, Refusal};
use crate::loader::{self, Hook, Pinned, Sizes, Variant};
use crate::maps::Maps;
use crate::netlink::Kind;
use crate::plan::{Capacity, Change, Layout, entries_needed};
use crate::samples;
use crate::sweep::Tally;

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
        control.send_where_attached(host)?;
        control.remove_links(host);
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

    /// What a new configuration wants. The program may come to more interfaces, where it lets everything
    /// pass; nothing else changes.
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

    /// Attaches where a new configuration wants it too; where the old one wants it, it stays until the
    /// commit. What it says is how it came out.
    fn extend(&mut self, host: &Host, choices: Vec<Choice>, snapshot: &Snapshot) -> Result<Vec<Choice>, Error> {
        let place = |c: &Choice| (c.interface, c.variant());
        let attached: BTreeSet<_> = self.attached.iter().map(place).collect();
        if choices.iter().all(|choice| attached.contains(&place(choice))) {
            return Ok(choices);
        }
        self.attach(host, choices, snapshot)
    }

    /// Puts the program where it is not yet, and its latest build where it is. Without frontends in the
    /// maps it lets everything pass.
    fn attach(&mut self, host: &Host, choices: Vec<Choice>, snapshot: &Snapshot) -> Result<Vec<Choice>, Error> {
        let before = self.links();
        let Err(failed) = self.attach_all(&choices) else { return Ok(choices) };
        self.undo(host, &before);
        let why = match &failed.refusal {
            Refusal::Unsupported(why) if failed.may_fall_back(snapshot) => {
                format!("{} has no native XDP: {why}", failed.choice.name)
            }
            _ => return Err(failed.into_error()),
        };
        let by_tc: Vec<_> = choices.into_iter().map(|c| Choice { hook: Hook::Tc, why: why.clone(), ..c }).collect();
        match self.attach_all(&by_tc) {
            Ok(()) => Ok(by_tc),
            Err(failed) => {
                self.undo(host, &before);
                Err(failed.into_error())
            }
        }
    }

    fn attach_all(&mut self, choices: &[Choice]) -> Result<(), Failed> {
        for choice in choices {
            self.attach_one(choice).map_err(|refusal| Failed { choice: choice.clone(), refusal })?;
        }
        Ok(())
    }

    fn attach_one(&mut self, choice: &Choice) -> Result<(), Refusal> {
        let refused = |error: Error| Refusal::Other(error.to_string());
        let variant = choice.variant();
        if !self.programs.contains_key(&variant) {
            let program = loader::load(variant, &self.maps_path, self.sizes).map_err(refused)?;
            self.programs.insert(variant, program);
        }
        let attachment = Attachment { how: How::of(choice.hook), interface: choice.interface };
        if let Some(program) = self.programs.get_mut(&variant) {
            links::attach(&self.directory.links(), program, attachment, &choice.name)?;
        }
        if !self.attached.contains(choice) {
            log(choice);
        }
        Ok(())
    }

    /// What this attempt has attached and was not there before.
    fn undo(&self, host: &Host, before: &[Attachment]) {
        let links = self.directory.links();
        links::existing(&links).into_iter().filter(|a| !before.contains(a)).for_each(|a| detach(&links, host, a));
    }

    /// From where nobody wants the program any more.
    fn remove_links(&self, host: &Host) {
        let links = self.directory.links();
        let wanted: Vec<Attachment> =
            self.attached.iter().map(|c| Attachment { how: How::of(c.hook), interface: c.interface }).collect();
        for attachment in self.links().iter().filter(|a| !wanted.contains(a)) {
            info!(
                interface = attachment.interface,
                hook = attachment.how.hook().as_str(),
                "layer 4 leaves an interface"
            );
            detach(&links, host, *attachment);
        }
    }

    fn links(&self) -> Vec<Attachment> {
        links::existing(&self.directory.links())
    }

    /// XDP may send by the interfaces that it holds, and tags for the VLANs on top of them.
    pub fn send_where_attached(&self, host: &Host) -> Result<(), Error> {
        let by_xdp: Vec<u32> = self.attached.iter().filter(|c| c.hook == Hook::Xdp).map(|c| c.interface).collect();
        let vlans = host.links().filter_map(|link| match (link.kind, link.lower) {
            (Kind::Vlan { id }, Some(parent)) if by_xdp.contains(&parent) => {
                Some((link.index, Vlan { parent, tci: Port::from(id), zero: 0 }))
            }
            _ => None,
        });
        self.maps.set_vlans(&vlans.collect::<Vec<_>>())?;
        self.maps.set_egress(&by_xdp)
    }

    /// What was planned becomes what is forwarded by.
    pub fn commit(&mut self, planned: Planned, now: Instant) {
        let Planned { snapshot, mut desired, attached, host } = planned;
        // Health may have changed since it was planned.
        desired.refresh(&snapshot);
        (self.snapshot, self.desired, self.attached) = (snapshot, desired, attached);
        if let Err(error) = self.send_where_attached(&host) {
            error!(%error, "cannot tell the data plane what it may send by");
        }
        self.write(now);
        self.remove_links(&host);
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
    existing.iter().for_each(|attachment| detach(&links, &host, *attachment));
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

/// The interface, and why it did not take the program.
struct Failed {
    choice: Choice,
    refusal: Refusal,
}

impl Failed {
    fn may_fall_back(&self, snapshot: &Snapshot) -> bool {
        self.choice.hook == Hook::Xdp && snapshot.config.l4.attach == Attach::Auto
    }

    fn into_error(self) -> Error {
        let hint = match &self.refusal {
            Refusal::Taken(_) => " (another program is there: `ip link show` names it)",
            _ => "",
        };
        let reason = format!("{}{hint}", self.refusal.reason());
        Error::Attach { interface: self.choice.name, hook: self.choice.hook.as_str(), reason }
    }
}

/// Interfaces and hooks for a configuration on this host.
pub fn choose(snapshot: &Snapshot, host: &Host) -> Result<Vec<Choice>, Error> {
    let l4 = &snapshot.config.l4;
    let links = match &l4.interfaces {
        Some(names) => {
            let named = |name: &String| host.named(name).cloned().ok_or_else(|| Error::NoInterface(name.clone()));
            names.iter().map(named).collect::<Result<Vec<_>, _>>()?
        }
        None => derived(snapshot, host),
    };
    if links.is_empty() {
        return Err(Error::NoInterfaces);
    }
    let facts: Vec<_> = links.iter().map(|link| host.facts(link)).collect();
    attach::choose(l4.attach, &facts).map_err(|unfit| Error::Attach {
        interface: unfit.name,
        hook: "xdp",
        reason: unfit.why,
    })
}

fn derived(snapshot: &Snapshot, host: &Host) -> Vec<crate::netlink::Link> {
    let frontends: Vec<IpAddr> = snapshot.forward_frontends().map(|(f, _)| f.config.listen.ip()).collect();
    let backends: Vec<IpAddr> = backends_of(snapshot).into_iter().collect();
    let found = attach::derive(&mut &*host, &frontends, &backends);
    host.links().filter(|link| found.contains(&link.index)).cloned().collect()
}

/// Of all layer-4 frontends, each address once.
fn backends_of(snapshot: &Snapshot) -> BTreeSet<IpAddr> {
    let pools = snapshot.forward_frontends().filter_map(|(_, forward)| snapshot.pool(&forward.pool));
    pools.flat_map(|pool| pool.backends.iter().chain(&pool.backup)).map(|b| b.config.address.ip()).collect()
}

fn log(choice: &Choice) {
    let (interface, hook) = (&*choice.name, choice.hook.as_str());
    info!(interface, hook, why = choice.why, "layer 4 takes packets of an interface");
    if let Some(warning) = &choice.warning {
        warn!(interface, hook, warning, "layer 4 may lose packets");
    }
}

fn detach(links: &Path, host: &Host, attachment: Attachment) {
    let name = host.links().find(|l| l.index == attachment.interface).map(|l| l.name.as_str());
    if let Err(error) = links::detach(links, attachment, name) {
        error!(interface = attachment.interface, %error, "cannot take the program from an interface");
    }
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
        vip_bits: [0; 64],
    }
}
