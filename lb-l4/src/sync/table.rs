//! The flow table as the protocol wants it: what is new in it, and how flows of others come into it.

use std::mem::offset_of;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use tracing::error;

use super::entry::Entry;
use super::machine::{Place, Table};
use super::record::{Record, is_told};
use crate::abi::{Addr, Bucket, Dest, Flow, Import, WAYS, dest_state, flow_flag, flow_state, imported, mode};
use crate::maps::Maps;
use crate::sweep::is_past;
use crate::tier::Tier;

/// In so many turns all of the table has been looked at, whether something is marked in it or not.
const WALK: u32 = 250;
/// Buckets that a slice of a dump looks at in any case.
const SLICE: u32 = 1 << 14;
/// What was told of a place: nothing, or whatever there is now.
const NOTHING: u64 = 0;
const ANYTHING: u64 = 1;

/// What became of flows of others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Entered {
    /// By `enum imported`.
    pub results: [u64; imported::COUNT],
    /// Frontend or backend is not in this node's configuration.
    pub unknown: u64,
    /// The program could not be run.
    pub failed: u64,
}

pub struct FlowTable {
    maps: Arc<Maps>,
    entry: Entry,
    hz: u32,
    /// Jiffies.
    now: u32,
    /// By place: what was told of it last, and when it would expire by that.
    told: Vec<u64>,
    /// Where to look for marks next, in eights of buckets.
    next_mark: u32,
    /// The bucket from which the walk over all of the table goes on.
    next_walk: u32,
    entered: Entered,
}

impl FlowTable {
    /// `now` in jiffies.
    pub fn new(maps: Arc<Maps>, entry: Entry, hz: u32, now: u32) -> Self {
        let told = vec![NOTHING; maps.flows.count() as usize * WAYS];
        let entered = Entered::default();
        Self { maps, entry, hz: hz.max(1), now, told, next_mark: 0, next_walk: 0, entered }
    }

    pub fn set_now(&mut self, now: u32) {
        self.now = now;
    }

    pub fn entered(&self) -> Entered {
        self.entered
    }

    /// Flows of others become those of this node, as far as it has their backends. `false`: the program could not be run.
    pub fn enter_by(&mut self, tier: &Tier, records: &[Record]) -> bool {
        let dests = tier.find_dests(records);
        let known = records.iter().zip(dests).filter_map(|(record, dest)| Some(self.import(record, dest?)));
        let known: Vec<Import> = known.collect();
        self.entered.unknown += (records.len() - known.len()) as u64;
        let Err(error) = self.entry.run(&known, &mut self.entered.results) else { return true };
        self.entered.failed += 1;
        if self.entered.failed == 1 {
            error!(%error, "cannot enter flows of other nodes; others like it are counted");
        }
        false
    }

    fn import(&self, record: &Record, (dest, incarnation): (u32, u16)) -> Import {
        let (snat, snat_port) = record.snat.unwrap_or_default();
        Import {
            key: record.key,
            snat,
            snat_port,
            incarnation,
            dest,
            age: self.jiffies(record.age_ms),
            lived: self.jiffies(record.lived_ms),
            state: record.state,
            flags: record.closed | if record.hearsay { flow_flag::SYNCED } else { 0 },
            ..Import::default()
        }
    }

    fn jiffies(&self, ms: u32) -> u32 {
        (u64::from(ms) * u64::from(self.hz) / 1000).min(u64::from(u32::MAX >> 1)) as u32
    }

    fn ms(&self, jiffies: u32) -> u32 {
        (u64::from(jiffies) * 1000 / u64::from(self.hz)).min(u64::from(u32::MAX)) as u32
    }

    fn take_marks(&mut self, most: usize, out: &mut Vec<(Place, Record)>) {
        let count = self.maps.marks.count();
        for _ in 0..count {
            let eight = self.next_mark;
            if out.len() >= most {
                return;
            }
            self.next_mark = (eight + 1) % count;
            let marks = self.maps.marks.long(eight, 0);
            if marks.load(Relaxed) == 0 {
                continue;
            }
            let marks = marks.swap(0, AcqRel).to_ne_bytes();
            for (bucket, mark) in (eight * 8..).zip(marks) {
                if mark != 0 && bucket < self.maps.flows.count() {
                    self.look(bucket, out);
                }
            }
        }
    }

    fn walk_on(&mut self, most: usize, out: &mut Vec<(Place, Record)>) {
        let count = self.maps.flows.count();
        for _ in 0..count.div_ceil(WALK) {
            if out.len() >= most {
                return;
            }
            self.look(self.next_walk, out);
            self.next_walk = (self.next_walk + 1) % count;
        }
    }

    /// What of a bucket others do not know.
    fn look(&mut self, bucket: u32, out: &mut Vec<(Place, Record)>) {
        for way in 0..WAYS {
            let place = bucket * WAYS as u32 + way as u32;
            let Some(glance) = Glance::at(&self.maps, bucket, way) else { continue };
            if !glance.is_ours() || is_past(self.now, glance.expires) {
                // Another node has the word; when it is this one's turn again, that is news.
                self.told[place as usize] = NOTHING;
                continue;
            }
            if !glance.is_news(self.told[place as usize]) {
                continue;
            }
            let Some(record) = self.read(bucket, way) else { continue };
            self.told[place as usize] = glance.told();
            out.push((place, record));
        }
    }

    /// `None`: it has changed meanwhile, or cannot go on at another node.
    fn read(&self, bucket: u32, way: usize) -> Option<Record> {
        let tag = self.maps.flows.word(bucket, offset_of!(Bucket, tags) + way * 4);
        let before = tag.load(Acquire);
        let flow: Flow = self.maps.flows.read(bucket, offset_of!(Bucket, ways) + way * size_of::<Flow>());
        if before == 0 || tag.load(Acquire) != before {
            return None;
        }
        let dest = self.dest_of(&flow)?;
        let every_port = u16::from(self.maps.frontend(dest.frontend).port) == 0;
        let age = self.now.wrapping_sub(touched(&flow)) as i32;
        let lived = self.now.wrapping_sub(flow.created) as i32;
        Some(Record {
            key: flow.key,
            every_port,
            backend: (dest.addr, dest.port),
            snat: (flow.flags & flow_flag::SNAT != 0).then_some((flow.new_src, flow.new_sport)),
            state: flow.state,
            hearsay: flow.flags & flow_flag::SYNCED != 0,
            closed: flow.flags & (flow_flag::FIN_FWD | flow_flag::FIN_BACK),
            age_ms: self.ms(age.max(0) as u32),
            lived_ms: self.ms(lived.max(0) as u32),
        })
    }

    /// Its backend. `None`: that is gone, or it knows the client by an address of this node (`snat: auto`).
    fn dest_of(&self, flow: &Flow) -> Option<Dest> {
        let capacity = self.maps.capacity();
        let dest = (flow.dest < capacity.dests).then(|| self.maps.dest(flow.dest))?;
        let is_same = dest.incarnation == flow.incarnation && dest.state != dest_state::UNUSED;
        let is_own = dest.mode == mode::NAT && dest.tunnel_src != Addr::default();
        (is_same && !is_own && dest.frontend < capacity.frontends).then_some(dest)
    }
}

/// The protocol's view of a table, for one call.
pub struct View<'a> {
    pub table: &'a mut FlowTable,
    pub tier: &'a Tier,
}

impl Table for View<'_> {
    fn changed(&mut self, most: usize) -> Vec<(Place, Record)> {
        let mut out = vec![];
        self.table.take_marks(most, &mut out);
        self.table.walk_on(most, &mut out);
        out
    }

    fn untell(&mut self, places: &[Place]) {
        for place in places {
            let Some(told) = self.table.told.get_mut(*place as usize) else { continue };
            *told = ANYTHING;
            let bucket = place / WAYS as u32;
            let mut mark = [0; 8];
            mark[bucket as usize % 8] = 1;
            self.table.maps.marks.long(bucket / 8, 0).fetch_or(u64::from_ne_bytes(mark), AcqRel);
        }
    }

    fn slice(&mut self, bucket: u32, most: usize, to_all: bool) -> (Vec<Record>, Option<u32>) {
        let table = &mut *self.table;
        let (count, mut records) = (table.maps.flows.count(), vec![]);
        for bucket in bucket..count.min(bucket.saturating_add(SLICE)) {
            if records.len() >= most {
                return (records, Some(bucket));
            }
            for way in 0..WAYS {
                let Some(glance) = Glance::at(&table.maps, bucket, way) else { continue };
                if !glance.is_alive() || is_past(table.now, glance.expires) {
                    continue;
                }
                let Some(record) = table.read(bucket, way) else { continue };
                records.push(record);
                if to_all && glance.is_ours() {
                    table.told[bucket as usize * WAYS + way] = glance.told();
                }
            }
        }
        let next = bucket.saturating_add(SLICE);
        (records, (next < count).then_some(next))
    }

    fn enter(&mut self, records: &[Record]) -> bool {
        self.table.enter_by(self.tier, records)
    }
}

/// As much of an entry as tells whether it is news; most are not.
struct Glance {
    tag: u32,
    expires: u32,
    renew: u32,
    dest: u32,
    created: u32,
    incarnation: u16,
    state: u8,
    flags: u8,
}

impl Glance {
    /// `None`: nothing stands there.
    fn at(maps: &Maps, bucket: u32, way: usize) -> Option<Self> {
        let tag = maps.flows.word(bucket, offset_of!(Bucket, tags) + way * 4).load(Acquire);
        if tag == 0 {
            return None;
        }
        let base = offset_of!(Bucket, ways) + way * size_of::<Flow>();
        let word = |offset: usize| maps.flows.word(bucket, base + offset).load(Relaxed);
        let [a, b, state, flags] = word(offset_of!(Flow, incarnation)).to_ne_bytes();
        Some(Self {
            tag,
            expires: word(offset_of!(Flow, expires)),
            renew: word(offset_of!(Flow, renew)),
            dest: word(offset_of!(Flow, dest)),
            created: word(offset_of!(Flow, created)),
            incarnation: u16::from_ne_bytes([a, b]),
            state,
            flags,
        })
    }

    /// Would another node go on with it?
    fn is_alive(&self) -> bool {
        self.flags & flow_flag::REPLY == 0 && is_told(self.state) && !self.is_over()
    }

    /// Is it for this node to tell of it?
    fn is_ours(&self) -> bool {
        self.flags & (flow_flag::REPLY | flow_flag::SYNCED) == 0 && is_told(self.state)
    }

    fn is_over(&self) -> bool {
        matches!(self.state, flow_state::TIME_WAIT | flow_state::CLOSED)
    }

    /// Flows that go on are told of again before they would expire elsewhere.
    fn is_news(&self, told: u64) -> bool {
        if told == NOTHING {
            return !self.is_over();
        }
        let (what, expires) = ((told >> 32) as u32, told as u32);
        let timeout = self.expires.wrapping_sub(self.renew);
        what != self.what() || self.expires.wrapping_sub(expires) as i32 >= (timeout / 2).max(1) as i32
    }

    /// For [`FlowTable::told`].
    fn told(&self) -> u64 {
        u64::from(self.what()) << 32 | u64::from(self.expires)
    }

    /// Which flow, and all that others know of it but its times; never 0.
    fn what(&self) -> u32 {
        let closed = self.flags & (flow_flag::FIN_FWD | flow_flag::FIN_BACK);
        let words = [
            self.tag,
            self.dest,
            self.created,
            u32::from(self.incarnation) << 16 | u32::from(self.state) << 8 | u32::from(closed),
        ];
        let mixed = words.iter().fold(0u32, |sum, word| (sum.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B1));
        mixed | 1
    }
}

/// When its timeout began anew: set_times() of state.h, and settle() of sync.c.
fn touched(flow: &Flow) -> u32 {
    if flow.flags & flow_flag::SYNCED != 0 {
        return flow.renew;
    }
    flow.renew.wrapping_sub(flow.expires.wrapping_sub(flow.renew) / 8)
}
