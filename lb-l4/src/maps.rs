//! The maps, typed: those that are arrays are mapped into memory, the others are asked by system call.

use std::mem::offset_of;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aya::maps::{Array, DevMapHash, HashMap, Map, MapData, MapError, PerCpuArray};

use crate::abi::{
    Addr, Bucket, COUNTERS, Counter, Dest, DestHop, Frontend, Load, MacKey, Neighbour, Settings, Stats, VipKey, Vlan,
    dest_state,
};
use crate::desired::SnatPorts;
use crate::error::Error;
use crate::macs::{Macs, Slots};
use crate::memory::Memory;
use crate::plan::{Capacity, Found, Operation, VipBits, unpack};

/// Every map of the program, in the order of maps.h.
pub const NAMES: [&str; 21] = [
    "settings",
    "flows",
    "shortcuts",
    "marks",
    "vips",
    "frontends",
    "dests",
    "hops",
    "loads",
    "rings",
    "snat",
    "stats",
    "counters",
    "turns",
    "persistence",
    "fragments",
    "egress",
    "vlans",
    "neighbours",
    "macs",
    "samples",
];

/// Shared by everybody who looks; [`Maps::apply`] is called by one.
pub struct Maps {
    pub flows: Memory,
    /// A byte for each bucket of `flows`.
    pub marks: Memory,
    pub loads: Memory,
    pub hops: Memory,
    settings: Memory,
    frontends: Memory,
    dests: Memory,
    rings: Memory,
    vips: Mutex<HashMap<MapData, VipKey, u32>>,
    snat: Mutex<Array<MapData, Addr>>,
    stats: Mutex<PerCpuArray<MapData, Stats>>,
    counters: PerCpuArray<MapData, u64>,
    egress: Mutex<DevMapHash<MapData>>,
    vlans: Mutex<HashMap<MapData, u32, Vlan>>,
    macs: Mutex<HashMap<MapData, MacKey, u32>>,
    neighbours: Mutex<HashMap<MapData, Neighbour, u32>>,
    capacity: Capacity,
}

impl Maps {
    /// As they are pinned in `directory`.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let pinned = |name: &'static str| {
            let data = MapData::from_pin(directory.join(name)).map_err(|source| Error::Map { name, source })?;
            Ok::<_, Error>(data)
        };
        let typed =
            |name: &'static str| Map::from_map_data(pinned(name)?).map_err(|source| Error::Map { name, source });
        let of = |name: &'static str| move |source| Error::Map { name, source };
        let frontends = memory::<Frontend>("frontends", &pinned("frontends")?)?;
        let dests = memory::<Dest>("dests", &pinned("dests")?)?;
        let rings = memory::<u64>("rings", &pinned("rings")?)?;
        let capacity = Capacity {
            frontends: frontends.count(),
            dests: dests.count(),
            ring_entries: rings.count().saturating_mul(2),
            vips: entries("vips", &pinned("vips")?)?,
            snat: entries("snat", &pinned("snat")?)?,
        };
        Ok(Self {
            flows: memory::<Bucket>("flows", &pinned("flows")?)?,
            marks: memory::<u64>("marks", &pinned("marks")?)?,
            loads: memory::<Load>("loads", &pinned("loads")?)?,
            hops: memory::<DestHop>("hops", &pinned("hops")?)?,
            settings: memory::<Settings>("settings", &pinned("settings")?)?,
            frontends,
            dests,
            rings,
            vips: Mutex::new(typed("vips")?.try_into().map_err(of("vips"))?),
            snat: Mutex::new(typed("snat")?.try_into().map_err(of("snat"))?),
            stats: Mutex::new(typed("stats")?.try_into().map_err(of("stats"))?),
            counters: typed("counters")?.try_into().map_err(of("counters"))?,
            egress: Mutex::new(typed("egress")?.try_into().map_err(of("egress"))?),
            vlans: Mutex::new(typed("vlans")?.try_into().map_err(of("vlans"))?),
            macs: Mutex::new(typed("macs")?.try_into().map_err(of("macs"))?),
            neighbours: Mutex::new(typed("neighbours")?.try_into().map_err(of("neighbours"))?),
            capacity,
        })
    }

    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// Everything that a process before this one has written.
    pub fn found(&self) -> Result<Found, Error> {
        let frontends: Vec<_> = (0..self.frontends.count())
            .map(|i| (i, self.frontend(i)))
            .filter(|(_, f)| f.addr != Addr::default())
            .collect();
        let dests =
            (0..self.dests.count()).map(|i| (i, self.dest(i))).filter(|(_, d)| d.incarnation != 0 || d.state != 0);
        let used = frontends.iter().filter(|(_, f)| f.used != 0);
        let rings = used.filter_map(|(i, f)| Some((*i, self.ring(f.ring)?))).collect();
        let of = |name: &'static str| move |source| Error::Map { name, source };
        Ok(Found {
            dests: dests.collect(),
            rings,
            frontends,
            vips: lock(&self.vips).iter().collect::<Result<_, _>>().map_err(of("vips"))?,
            snat: lock(&self.snat).iter().collect::<Result<_, _>>().map_err(of("snat"))?,
            vip_bits: self.settings.read(0, offset_of!(Settings, vip_bits)),
            limits: self.limits(),
        })
    }

    /// `None`: it does not lie within the map.
    fn ring(&self, ring: u64) -> Option<Vec<u32>> {
        let (base, size) = unpack(ring);
        let end = base.checked_add(size).filter(|end| end.div_ceil(2) <= self.rings.count())?;
        Some((base..end).map(|entry| self.ring_entry(entry)).collect())
    }

    /// The index of a destination. `entry` lies within the map.
    pub fn ring_entry(&self, entry: u32) -> u32 {
        let element = self.rings.long(entry / 2, 0).load(Relaxed);
        if entry.is_multiple_of(2) { element as u32 } else { (element >> 32) as u32 }
    }

    pub fn frontend(&self, index: u32) -> Frontend {
        self.frontends.read(index, 0)
    }

    pub fn dest(&self, index: u32) -> Dest {
        self.dests.read(index, 0)
    }

    pub fn settings(&self) -> Settings {
        self.settings.read(0, 0)
    }

    fn limits(&self) -> (SnatPorts, u32) {
        let settings = self.settings();
        (SnatPorts { first: settings.snat_first, last: settings.snat_last }, settings.new_flows)
    }

    pub fn vip(&self, key: &VipKey) -> Option<u32> {
        lock(&self.vips).get(key, 0).ok()
    }

    /// One write of a plan. What has been written is seen by the program at once.
    pub fn apply(&self, operation: &Operation) -> Result<(), Error> {
        match operation {
            Operation::WriteRing { base, entries } => self.write_ring(*base, entries),
            Operation::WriteDest { index, dest } => self.write_dest(*index, dest),
            Operation::ClearDest { index } => return self.clear_dest(*index),
            Operation::WriteFrontend { index, frontend } => self.write_frontend(*index, frontend),
            Operation::SetRing { index, ring } => {
                self.frontends.long(*index, offset_of!(Frontend, ring)).store(*ring, Release);
            }
            Operation::WriteVipBits(bits) => self.write_vip_bits(bits),
            Operation::WriteLimits { ports, new_flows } => self.write_limits(*ports, *new_flows),
            Operation::WriteSnat { index, address } => {
                return lock(&self.snat).set(*index, *address, 0).map_err(|source| Error::Map { name: "snat", source });
            }
            Operation::InsertVip { key, index } => {
                return lock(&self.vips).insert(key, index, 0).map_err(|source| Error::Map { name: "vips", source });
            }
            Operation::RemoveVip { key } => {
                return absent_is_fine(lock(&self.vips).remove(key))
                    .map_err(|source| Error::Map { name: "vips", source });
            }
        }
        Ok(())
    }

    fn write_ring(&self, base: u32, entries: &[u32]) {
        for (element, pair) in (base / 2..).zip(entries.chunks(2)) {
            let high = u64::from(pair.get(1).copied().unwrap_or(0));
            self.rings.long(element, 0).store(high << 32 | u64::from(pair[0]), Relaxed);
        }
    }

    /// A destination that takes flows becomes so last; one that does not, first. Its incarnation changes
    /// before its address: a flow of another one must not follow it there.
    fn write_dest(&self, index: u32, dest: &Dest) {
        let state = self.dests.word(index, offset_of!(Dest, state));
        let now = u32::from_ne_bytes([dest.state, dest.on_down, dest.mode, 0]);
        if dest.state != dest_state::READY {
            state.store(now, Release);
        }
        self.dests.word(index, offset_of!(Dest, port)).store(port_and_incarnation(dest), Relaxed);
        std::sync::atomic::fence(Release);
        self.dests.write(index, offset_of!(Dest, addr), &dest.addr);
        self.dests.write(index, offset_of!(Dest, tunnel_src), &dest.tunnel_src);
        self.dests.word(index, offset_of!(Dest, frontend)).store(dest.frontend, Relaxed);
        self.dests.word(index, offset_of!(Dest, weight)).store(dest.weight, Relaxed);
        state.store(now, Release);
    }

    fn clear_dest(&self, index: u32) -> Result<(), Error> {
        self.loads.long(index, 0).store(0, Relaxed);
        self.hops.write(index, 0, &DestHop::default());
        let mut stats = lock(&self.stats);
        let zero = || {
            let cpus = stats.get(&index, 0)?.len();
            let zeros = vec![Stats::default(); cpus];
            aya::maps::PerCpuValues::try_from(zeros).map_err(MapError::from)
        };
        zero().and_then(|zeros| stats.set(index, zeros, 0)).map_err(|source| Error::Map { name: "stats", source })
    }

    /// All but the ring.
    fn write_frontend(&self, index: u32, frontend: &Frontend) {
        let ring = self.frontends.long(index, offset_of!(Frontend, ring)).load(Relaxed);
        self.frontends.write(index, 0, &Frontend { ring, ..*frontend });
        std::sync::atomic::fence(Release);
    }

    fn write_vip_bits(&self, bits: &VipBits) {
        for (i, word) in bits.iter().enumerate() {
            self.settings.long(0, offset_of!(Settings, vip_bits) + i * 8).store(*word, Release);
        }
    }

    fn write_limits(&self, ports: SnatPorts, new_flows: u32) {
        let both = u32::from(ports.first) | u32::from(ports.last) << 16;
        self.settings.word(0, offset_of!(Settings, snat_first)).store(u32::to_le(both), Relaxed);
        self.settings.word(0, offset_of!(Settings, new_flows)).store(new_flows, Relaxed);
    }

    /// Before the program runs for the first time.
    pub fn initialise(&self, settings: &Settings) {
        self.settings.write(0, 0, settings);
    }

    /// What the program knows of next hops is looked up anew.
    pub fn raise_epoch(&self) {
        self.settings.word(0, offset_of!(Settings, epoch)).fetch_add(1, Release);
    }

    /// ICMP errors and resets of a CPU in a tick.
    pub fn set_answers(&self, most: u32) {
        self.settings.word(0, offset_of!(Settings, answers)).store(most, Relaxed);
    }

    pub fn set_sampling(&self, mask: u32, frontend: u32) {
        self.settings.word(0, offset_of!(Settings, sample_frontend)).store(frontend, Relaxed);
        self.settings.word(0, offset_of!(Settings, sample_mask)).store(mask, Release);
    }

    pub fn load(&self, dest: u32) -> Load {
        let both = self.loads.long(dest, 0).load(Acquire).to_ne_bytes();
        let [a, b, c, d, e, f, g, h] = both;
        Load { active: u32::from_ne_bytes([a, b, c, d]), inactive: u32::from_ne_bytes([e, f, g, h]) }
    }

    /// Over all CPUs, since the destination has its place.
    pub fn stats(&self, dest: u32) -> Stats {
        let mut sum = Stats::default();
        let Ok(values) = lock(&self.stats).get(&dest, 0) else { return sum };
        for value in values.iter() {
            sum.packets_in += value.packets_in;
            sum.bytes_in += value.bytes_in;
            sum.packets_out += value.packets_out;
            sum.bytes_out += value.bytes_out;
            sum.flows += value.flows;
        }
        sum
    }

    /// Over all CPUs, since the maps were made.
    pub fn counters(&self) -> [u64; COUNTERS] {
        let sum = |index: u32| self.counters.get(&index, 0).map_or(0, |values| values.iter().sum());
        std::array::from_fn(|i| sum(i as u32))
    }

    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters.get(&(counter as u32), 0).map_or(0, |values| values.iter().sum())
    }

    /// XDP may send by these interfaces too.
    pub fn add_egress(&self, interfaces: &[u32]) -> Result<(), Error> {
        let mut map = lock(&self.egress);
        interfaces.iter().try_for_each(|index| {
            map.insert(*index, *index, None, 0)
                .map_err(|error| Error::Egress { index: *index, reason: error.to_string() })
        })
    }

    /// By these, and by no other.
    pub fn set_egress(&self, interfaces: &[u32]) -> Result<(), Error> {
        let of = |source| Error::Map { name: "egress", source };
        self.add_egress(interfaces)?;
        let mut map = lock(&self.egress);
        let old: Vec<u32> = map.keys().collect::<Result<_, _>>().map_err(of)?;
        for index in old.into_iter().filter(|index| !interfaces.contains(index)) {
            absent_is_fine(map.remove(index)).map_err(of)?;
        }
        Ok(())
    }

    /// These interfaces stand on top of others.
    pub fn add_vlans(&self, vlans: &[(u32, Vlan)]) -> Result<(), Error> {
        let mut map = lock(&self.vlans);
        vlans
            .iter()
            .try_for_each(|(index, vlan)| map.insert(index, vlan, 0))
            .map_err(|source| Error::Map { name: "vlans", source })
    }

    /// These, and no other.
    pub fn set_vlans(&self, vlans: &[(u32, Vlan)]) -> Result<(), Error> {
        let of = |source| Error::Map { name: "vlans", source };
        self.add_vlans(vlans)?;
        let mut map = lock(&self.vlans);
        let old: Vec<u32> = map.keys().collect::<Result<_, _>>().map_err(of)?;
        for index in old.into_iter().filter(|index| !vlans.iter().any(|(i, _)| i == index)) {
            absent_is_fine(map.remove(&index)).map_err(of)?;
        }
        Ok(())
    }

    /// Frames to these are for this host too.
    pub fn add_macs(&self, macs: &Macs) -> Result<(), Error> {
        let mut map = lock(&self.macs);
        macs.iter()
            .try_for_each(|(key, state)| map.insert(key, state, 0))
            .map_err(|source| Error::Map { name: "macs", source })
    }

    /// To these, and to no other. What is found by its slot is in the map as well.
    pub fn set_macs(&self, macs: &Macs) -> Result<(), Error> {
        let of = |source| Error::Map { name: "macs", source };
        self.add_macs(macs)?;
        self.write_slots(&Slots::of(macs));
        let mut map = lock(&self.macs);
        let old: Vec<MacKey> = map.keys().collect::<Result<_, _>>().map_err(of)?;
        for key in old.into_iter().filter(|key| !macs.contains_key(key)) {
            absent_is_fine(map.remove(&key)).map_err(of)?;
        }
        Ok(())
    }

    /// Next hops that the program has met since the last time, and that the kernel should resolve or verify.
    pub fn take_neighbours(&self) -> Result<Vec<Neighbour>, Error> {
        let of = |source| Error::Map { name: "neighbours", source };
        let mut map = lock(&self.neighbours);
        let asked: Vec<Neighbour> = map.keys().collect::<Result<_, _>>().map_err(of)?;
        asked.iter().try_for_each(|neighbour| absent_is_fine(map.remove(neighbour))).map_err(of)?;
        Ok(asked)
    }

    /// Meanwhile some are not found here, but in the map.
    fn write_slots(&self, slots: &Slots) {
        for (i, word) in slots.words.iter().enumerate() {
            self.settings.long(0, offset_of!(Settings, macs) + i * 8).store(*word, Release);
        }
        self.settings.long(0, offset_of!(Settings, mac_factor)).store(slots.factor, Release);
    }
}

/// They share a word.
fn port_and_incarnation(dest: &Dest) -> u32 {
    let [a, b] = u16::from(dest.port).to_be_bytes();
    let [c, d] = dest.incarnation.to_ne_bytes();
    u32::from_ne_bytes([a, b, c, d])
}

fn memory<T>(name: &'static str, map: &MapData) -> Result<Memory, Error> {
    let count = entries(name, map)?;
    Memory::map(map.fd().as_fd(), size_of::<T>(), count).map_err(|source| Error::Memory { name, source })
}

fn entries(name: &'static str, map: &MapData) -> Result<u32, Error> {
    map.info().map(|info| info.max_entries()).map_err(|source| Error::Map { name, source })
}

fn absent_is_fine(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
