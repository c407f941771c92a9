//! The compiled program in the kernel, its maps, and BPF_PROG_TEST_RUN.

use std::mem::offset_of;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use aya::maps::{Array, DevMapHash, HashMap, Map, MapData, RingBuf};
use aya::programs::{SchedClassifier, TestRun, TestRunOptions, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader, Pod};
use lb_l4::abi::{
    Addr, Bucket, Dest, DestHop, Flow, Frag, FragKey, Frontend, Import, Load, MacKey, Neighbour, Persist, PersistKey,
    SHORTCUT_LINES, SHORTCUT_WAYS, Settings, Shortcut, ShortcutLine, Stats, VipKey, Vlan, WAYS, imported,
};
use lb_l4::directory::Directory;
use lb_l4::loader::Sizes;
use lb_l4::maps::NAMES;
use lb_l4::memory::Memory;
use lb_l4::object;
use lb_l4::plan::Capacity;
use lb_l4::sync::entry::Entry;

use super::net;
use super::values::Values;
use crate::model::{Config, Hook};

const LARGEST: usize = 9216;
/// xdp_md: six words.
const XDP_CONTEXT: usize = 24;
/// __sk_buff, and where in it the interface stands.
const SKB_CONTEXT: usize = 192;
const SKB_IFINDEX: usize = 40;
const SKB_GSO_SIZE: usize = 176;

pub struct Program {
    hook: Hook,
    ebpf: Ebpf,
    /// Enters flows of other nodes into the same maps.
    entry: Entry,
    pub maps: Maps,
    /// As of `Model`.
    pub segment: u32,
}

pub struct Maps {
    settings: Array<MapData, Settings>,
    frontends: Array<MapData, Frontend>,
    dests: Array<MapData, Dest>,
    rings: Array<MapData, u64>,
    snat: Array<MapData, Addr>,
    vips: HashMap<MapData, VipKey, u32>,
    egress: DevMapHash<MapData>,
    vlans: HashMap<MapData, u32, Vlan>,
    macs: HashMap<MapData, MacKey, u32>,
    pub flows: Values<Bucket>,
    shortcuts: Memory,
    pub hops: Values<DestHop>,
    pub loads: Values<Load>,
    pub stats: Values<Stats>,
    pub counters: Values<u64>,
    pub turns: Values<u32>,
    pub persistence: HashMap<MapData, PersistKey, Persist>,
    pub fragments: HashMap<MapData, FragKey, Frag>,
    pub neighbours: HashMap<MapData, Neighbour, u32>,
    pub samples: RingBuf<MapData>,
    written: Option<Config>,
}

/// What a run gives: the program's return value, and the frame as it left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    pub code: i32,
    pub frame: Vec<u8>,
}

impl Program {
    /// Into this thread's namespace, with a table of so many buckets.
    pub fn load(hook: Hook, config: &Config, buckets: u32) -> Self {
        let shared = Directory::open(&shared_maps()).expect("a bpf file system");
        let mut loader = EbpfLoader::new();
        for name in NAMES {
            loader.map_pin_path(name, shared.path().join(name));
        }
        let entries = [
            ("flows", buckets),
            ("frontends", config.frontends.len() as u32),
            ("turns", config.frontends.len() as u32),
            ("rings", 4096),
            // To read a hash map is to walk through all of its buckets.
            ("persistence", 1024),
            ("fragments", 1024),
        ];
        let mask = buckets - 1;
        loader.override_global("bucket_mask", &mask, true);
        for (map, size) in entries {
            loader.map_max_entries(map, size);
        }
        for map in ["dests", "hops", "loads", "stats"] {
            loader.map_max_entries(map, config.dests.len() as u32);
        }
        let mut ebpf = loader.load(if hook == Hook::Xdp { object::XDP } else { object::TC }).expect("a sound object");
        let maps = Maps::take(&mut ebpf);
        load_program(hook, &mut ebpf);
        let sizes = Sizes { buckets, ..Sizes::new(buckets, Capacity::default()) };
        let entry = Entry::open(shared.path(), sizes).expect("the verifier takes the entry of flows");
        shared.remove().expect("to take the maps out of the file system");
        Self { hook, ebpf, entry, maps, segment: 0 }
    }

    /// What became of a flow of another node.
    pub fn enter(&mut self, flow: &Import) -> u8 {
        let mut results = [0; imported::COUNT];
        self.entry.run(&[*flow], &mut results).expect("BPF_PROG_TEST_RUN");
        results.iter().position(|count| *count == 1).expect("one result") as u8
    }

    /// BPF_PROG_TEST_RUN accepts an interface for XDP once a program is attached there.
    pub fn attach(&mut self) {
        if self.hook == Hook::Xdp {
            let program: &mut Xdp =
                self.ebpf.program_mut(object::PROGRAM).expect("the program").try_into().expect("XDP");
            for name in net::names() {
                program.attach(name, XdpMode::Driver).expect("to attach");
            }
        }
    }

    /// `None`: the kernel does not let the program see the frame.
    pub fn run(&mut self, ingress: u32, frame: &[u8]) -> Option<Ran> {
        let context = match self.hook {
            Hook::Xdp => xdp_context(ingress, frame.len()),
            Hook::Tc => skb_context(ingress, self.segment),
        };
        let mut out = vec![0; LARGEST];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        };
        let program = self.ebpf.program_mut(object::PROGRAM).expect("the program");
        let result = match self.hook {
            Hook::Xdp => <&mut Xdp>::try_from(program).expect("XDP").test_run(options),
            Hook::Tc => <&mut SchedClassifier>::try_from(program).expect("tc").test_run(options),
        };
        let result = match result {
            Err(_) if self.hook == Hook::Tc && is_short(frame) => return None,
            result => result.expect("BPF_PROG_TEST_RUN"),
        };
        out.truncate(result.data_size_out as usize);
        Some(Ran { code: result.return_value as i32, frame: out })
    }
}

/// net/bpf/test_run.c refuses packets without a whole IP header.
fn is_short(frame: &[u8]) -> bool {
    frame.len() < if frame[12..14] == [0x86, 0xDD] { 54 } else { 34 }
}

/// Where the maps are for a moment, so that two programs may have them; of each test.
fn shared_maps() -> PathBuf {
    static TESTS: AtomicU64 = AtomicU64::new(0);
    let (process, nth) = (std::process::id(), TESTS.fetch_add(1, Relaxed));
    PathBuf::from(format!("/sys/fs/bpf/lb-packets-{process}-{nth}"))
}

fn load_program(hook: Hook, ebpf: &mut Ebpf) {
    let program = ebpf.program_mut(object::PROGRAM).expect("the program");
    let loaded = match hook {
        Hook::Xdp => <&mut Xdp>::try_from(program).expect("XDP").load(),
        Hook::Tc => <&mut SchedClassifier>::try_from(program).expect("tc").load(),
    };
    loaded.unwrap_or_else(|error| panic!("the verifier refuses the program for {hook:?}: {error}"));
}

fn xdp_context(ingress: u32, length: usize) -> Vec<u8> {
    let words: [u32; XDP_CONTEXT / 4] = [0, length as u32, 0, ingress, 0, 0];
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn skb_context(ingress: u32, segment: u32) -> Vec<u8> {
    let mut context = vec![0; SKB_CONTEXT];
    context[SKB_GSO_SIZE..SKB_GSO_SIZE + 4].copy_from_slice(&segment.to_ne_bytes());
    context[SKB_IFINDEX..SKB_IFINDEX + 4].copy_from_slice(&ingress.to_ne_bytes());
    context
}

impl Maps {
    fn take(ebpf: &mut Ebpf) -> Self {
        fn typed<T: TryFrom<Map, Error: std::fmt::Debug>>(ebpf: &mut Ebpf, name: &str) -> T {
            ebpf.take_map(name).unwrap_or_else(|| panic!("a map {name}")).try_into().expect("a map of that type")
        }
        fn values<T: Pod>(ebpf: &Ebpf, name: &str) -> Values<T> {
            Values::of(ebpf.map(name).unwrap_or_else(|| panic!("a map {name}")))
        }
        Self {
            settings: typed(ebpf, "settings"),
            frontends: typed(ebpf, "frontends"),
            dests: typed(ebpf, "dests"),
            rings: typed(ebpf, "rings"),
            snat: typed(ebpf, "snat"),
            vips: typed(ebpf, "vips"),
            egress: typed(ebpf, "egress"),
            vlans: typed(ebpf, "vlans"),
            macs: typed(ebpf, "macs"),
            flows: values(ebpf, "flows"),
            shortcuts: shortcuts(ebpf),
            hops: values(ebpf, "hops"),
            loads: values(ebpf, "loads"),
            stats: values(ebpf, "stats"),
            counters: values(ebpf, "counters"),
            turns: values(ebpf, "turns"),
            persistence: typed(ebpf, "persistence"),
            fragments: typed(ebpf, "fragments"),
            neighbours: typed(ebpf, "neighbours"),
            samples: typed(ebpf, "samples"),
            written: None,
        }
    }

    /// As the control plane would, but only what differs from the last time.
    pub fn write(&mut self, config: &Config) {
        let old = self.written.replace(config.clone());
        let old = old.as_ref();
        self.settings.set(0, config.settings, 0).expect("to write settings");
        write_array(&mut self.frontends, old.map(|old| old.frontends.as_slice()), &config.frontends);
        write_array(&mut self.dests, old.map(|old| old.dests.as_slice()), &config.dests);
        write_array(&mut self.snat, old.map(|old| old.snat.as_slice()), &config.snat);
        let pairs: Vec<u64> = config.rings.chunks(2).map(pair).collect();
        let old_pairs: Option<Vec<u64>> = old.map(|old| old.rings.chunks(2).map(pair).collect());
        write_array(&mut self.rings, old_pairs.as_deref(), &pairs);
        if old.is_none_or(|old| old.vips != config.vips) {
            let stale: Vec<VipKey> = self.vips.keys().map(|key| key.expect("a key")).collect();
            stale.iter().for_each(|key| self.vips.remove(key).expect("to remove a VIP"));
            config.vips.iter().for_each(|(key, id)| self.vips.insert(key, id, 0).expect("to add a VIP"));
        }
        if old.is_none_or(|old| old.macs != config.macs) {
            let stale: Vec<MacKey> = self.macs.keys().map(|key| key.expect("a key")).collect();
            stale.iter().for_each(|key| self.macs.remove(key).expect("to remove an address"));
            config.macs.iter().for_each(|(key, state)| self.macs.insert(key, state, 0).expect("to add an address"));
        }
        if old.is_none() {
            config.egress.iter().for_each(|&index| self.egress.insert(index, index, None, 0).expect("an interface"));
            config.vlans.iter().for_each(|(index, vlan)| self.vlans.insert(index, vlan, 0).expect("an interface"));
        }
    }

    /// Forgets everything that packets have written.
    pub fn clear(&mut self) {
        self.clear_flows();
        self.clear_shortcuts();
        self.hops.fill(DestHop::default());
        self.loads.fill(Load::default());
        self.stats.fill(Stats::default());
        self.turns.fill(0);
        self.counters.fill(0);
        let keys: Vec<PersistKey> = self.persistence.keys().map(|key| key.expect("a key")).collect();
        keys.iter().for_each(|key| self.persistence.remove(key).expect("to remove a client"));
        let keys: Vec<FragKey> = self.fragments.keys().map(|key| key.expect("a key")).collect();
        keys.iter().for_each(|key| self.fragments.remove(key).expect("to remove a fragment"));
        let keys: Vec<Neighbour> = self.neighbours.keys().map(|key| key.expect("a key")).collect();
        keys.iter().for_each(|key| self.neighbours.remove(key).expect("to remove a neighbour"));
    }

    pub fn clear_flows(&mut self) {
        self.flows.fill(empty_bucket());
    }

    fn clear_shortcuts(&self) {
        self.all_shortcuts().for_each(|rest| rest.store(0, Relaxed));
    }

    /// How many there are, of this term or another.
    pub fn count_shortcuts(&self) -> usize {
        self.all_shortcuts().filter(|rest| rest.load(Relaxed) != 0).count()
    }

    fn all_shortcuts(&self) -> impl Iterator<Item = &AtomicU64> {
        let of_way = |way| offset_of!(ShortcutLine, ways) + way * size_of::<Shortcut>() + offset_of!(Shortcut, rest);
        let places = (0..SHORTCUT_LINES).flat_map(|line| (0..SHORTCUT_WAYS).map(move |way| (line, way)));
        places.map(move |(line, way)| self.shortcuts.long(line, of_way(way)))
    }

    /// Takes this many jiffies off every time. What is good for a fixed time is over.
    pub fn age(&mut self, jiffies: u32) {
        self.clear_shortcuts();
        let mut buckets = self.flows.read();
        for flow in buckets.iter_mut().filter(|bucket| bucket.tags != [0; WAYS]).flat_map(|bucket| &mut bucket.ways) {
            flow.expires = flow.expires.wrapping_sub(jiffies);
            flow.renew = flow.renew.wrapping_sub(jiffies);
        }
        self.flows.write(&buckets);
        let mut hops = self.hops.read();
        hops.iter_mut().for_each(|hop| hop.path_mtu_until = hop.path_mtu_until.wrapping_sub(jiffies));
        self.hops.write(&hops);
        let clients: Vec<(PersistKey, Persist)> = self.persistence.iter().map(|pair| pair.expect("a client")).collect();
        for (key, value) in clients {
            let expires = value.expires.wrapping_sub(jiffies);
            self.persistence.insert(key, Persist { expires, ..value }, 0).expect("to age a client");
        }
    }

    /// To explain a difference.
    pub fn nonzero_counters(&self) -> Vec<(usize, u64)> {
        let sums = self.counters.sums(|cpus| cpus.iter().sum());
        sums.into_iter().enumerate().filter(|(_, count)| *count > 0).collect()
    }
}

fn shortcuts(ebpf: &mut Ebpf) -> Memory {
    let Some(Map::Array(map)) = ebpf.map("shortcuts") else { panic!("an array of short cuts") };
    Memory::map(map.fd().as_fd(), size_of::<ShortcutLine>(), SHORTCUT_LINES).expect("its memory")
}

fn empty_bucket() -> Bucket {
    Bucket { lock: 0, overflow: 0, tags: [0; WAYS], zero: [0; 6], ways: [Flow::default(); WAYS] }
}

fn pair(entries: &[u32]) -> u64 {
    u64::from(entries[0]) | u64::from(entries.get(1).copied().unwrap_or(0)) << 32
}

fn write_array<T: Pod + PartialEq>(map: &mut Array<MapData, T>, old: Option<&[T]>, new: &[T]) {
    for (index, value) in new.iter().enumerate() {
        if old.and_then(|old| old.get(index)) != Some(value) {
            map.set(index as u32, value, 0).expect("to write a map");
        }
    }
}
