//! Which destination a new flow gets, and the flow that comes of it.

use lb_l4::abi::{
    Addr, Counter, Dest, FlowKey, Frontend, Hop, Persist, PersistKey, Port, VipKey, dest_state, flow_flag, flow_state,
    frontend_flag, mode, scheduler,
};
use lb_l4::hash;

use super::flow::{is_active, timeout};
use super::{Entry, Model};

/// Entries of the ring that follow one whose destination takes nothing new.
const RING_RETRIES: u32 = 16;
/// Destinations that are tried for one flow, if its tuple is taken there.
const TRIES: u32 = 4;
const LEAST_LOOKED_AT: u32 = 1024;
const SNAT_CANDIDATES: u64 = 128;

pub(super) enum Choice {
    Flow(Entry),
    /// Forwarded by hash, without an entry.
    Stateless(Entry),
}

impl Model {
    /// That of the port, else that of all ports.
    pub(super) fn frontend_of(&self, key: &FlowKey) -> Option<u32> {
        let vip = |port| VipKey { addr: key.dst, port, proto: key.proto, zero: [0; 5] };
        let find = |port| self.config.vips.get(&vip(port)).copied();
        find(key.dport).or_else(|| find(Port::default()))
    }

    /// Whether a mid-stream packet would get the backend that it has had elsewhere.
    pub(super) fn may_adopt(&self, id: u32, key: &FlowKey) -> bool {
        let frontend = &self.config.frontends[id as usize];
        matches!(frontend.scheduler, scheduler::SOURCE | scheduler::FLOW) || self.persisted(id, key).is_some()
    }

    pub(super) fn schedule(&mut self, id: u32, key: &FlowKey, start: u8, back: Option<Hop>) -> Result<Choice, Counter> {
        let frontend = self.config.frontends[id as usize];
        for attempt in 0..TRIES {
            let index = self.pick(id, key, attempt).ok_or(Counter::NoBackend)?;
            let dest = self.config.dests[index as usize];
            let forward = self.forward_entry(index, &dest, &frontend, key, start);
            if self.is_stateless(&frontend) {
                self.count(Counter::Stateless);
                return Ok(Choice::Stateless(forward));
            }
            if let Some((forward, reply)) = self.pair(forward, key, &dest, &frontend, back) {
                self.state.stats[index as usize].flows += 1;
                self.insert(*key, forward, reply);
                return Ok(Choice::Flow(forward));
            }
            if frontend.flags & frontend_flag::SNAT != 0 {
                break; // every address and port of ours was tried
            }
        }
        Err(Counter::SnatExhausted)
    }

    /// Where the client went before, else where its turn is; the next one with each attempt.
    fn pick(&mut self, id: u32, key: &FlowKey, attempt: u32) -> Option<u32> {
        let known = if attempt == 0 { self.persisted(id, key) } else { None };
        let dest = known.or_else(|| self.turn_to(id, key, attempt))?;
        self.persist(id, key, dest);
        Some(dest)
    }

    fn turn_to(&mut self, id: u32, key: &FlowKey, attempt: u32) -> Option<u32> {
        let frontend = self.config.frontends[id as usize];
        let (base, size) = ((frontend.ring >> 32) as u32, frontend.ring as u32);
        if size == 0 {
            return None;
        }
        let seed = self.config.settings.ring_seed;
        let index = match frontend.scheduler {
            scheduler::ROUND_ROBIN => self.turn(id, size),
            scheduler::LEAST if attempt == 0 => self.least(base, size)?,
            scheduler::LEAST => attempt - 1,
            scheduler::SOURCE => hash::ring_index(hash::hash_src(&key.src, seed), size) + attempt,
            _ => hash::ring_index(hash::hash_flow(key, seed), size) + attempt,
        };
        let index = if index < size { index } else { 0 };
        let dest_at = |step: u32| self.config.rings[(base + (index + step) % size) as usize];
        (0..=RING_RETRIES).map(dest_at).find(|&dest| self.config.dests[dest as usize].state == dest_state::READY)
    }

    /// The ring may have become smaller since.
    fn turn(&mut self, id: u32, size: u32) -> u32 {
        let turn = &mut self.state.turns[id as usize];
        let index = if *turn < size { *turn } else { 0 };
        *turn = index + 1;
        index
    }

    /// `(active * 256 + inactive) / weight`, compared without dividing; the first wins a tie.
    fn least(&self, base: u32, size: u32) -> Option<u32> {
        let rank = |index: u32| {
            let dest = self.config.rings[(base + index) as usize] as usize;
            let load = &self.state.loads[dest];
            (u64::from(load.active) * 256 + u64::from(load.inactive), u64::from(self.config.dests[dest].weight))
        };
        let is_ready = |&index: &u32| {
            let dest = self.config.rings[(base + index) as usize];
            self.config.dests[dest as usize].state == dest_state::READY
        };
        (0..size.min(LEAST_LOOKED_AT)).filter(is_ready).reduce(|best, next| {
            let ((a, weight_a), (b, weight_b)) = (rank(best), rank(next));
            if b * weight_a < a * weight_b { next } else { best }
        })
    }

    fn persisted(&self, id: u32, key: &FlowKey) -> Option<u32> {
        let entry = self.state.persistence.get(&self.persist_key(id, key)?)?;
        let dest = &self.config.dests[entry.dest as usize];
        let holds = dest.incarnation == entry.incarnation && dest.state == dest_state::READY;
        (holds && !self.has_passed(entry.expires)).then_some(entry.dest)
    }

    pub(super) fn persist(&mut self, id: u32, key: &FlowKey, dest: u32) {
        let Some(persist_key) = self.persist_key(id, key) else { return };
        let expires = self.now.wrapping_add(self.config.frontends[id as usize].persist);
        let incarnation = self.config.dests[dest as usize].incarnation;
        self.state.persistence.insert(persist_key, Persist { dest, expires, incarnation, zero: 0 });
    }

    /// `None` where the frontend has no persistence.
    fn persist_key(&self, id: u32, key: &FlowKey) -> Option<PersistKey> {
        let frontend = &self.config.frontends[id as usize];
        let prefix = match key.src.0 {
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, ..] => 96 + u32::from(frontend.prefix4),
            _ => u32::from(frontend.prefix6),
        };
        let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
        let client = Addr((u128::from_be_bytes(key.src.0) & mask).to_be_bytes());
        (frontend.flags & frontend_flag::PERSIST != 0).then_some(PersistKey { client, frontend: id, zero: 0 })
    }

    /// So many new flows in this tick that those that can go without an entry do.
    fn is_stateless(&mut self, frontend: &Frontend) -> bool {
        self.begin_tick();
        let limit = self.config.settings.new_flows;
        if limit == 0 || !goes_without_entry(frontend) {
            return false;
        }
        self.state.new_flows += 1;
        self.state.new_flows > limit
    }

    pub(super) fn forward_entry(
        &self,
        index: u32,
        dest: &Dest,
        frontend: &Frontend,
        key: &FlowKey,
        state: u8,
    ) -> Entry {
        let counted = if is_active(state) { flow_flag::COUNTED } else { 0 };
        let fin = if state == flow_state::FIN { flow_flag::FIN_FWD } else { 0 };
        let nat = dest.mode == mode::NAT;
        let (expires, renew) = self.times(timeout(frontend, state));
        Entry {
            dest: index,
            incarnation: dest.incarnation,
            state,
            flags: counted | fin,
            expires,
            renew,
            peer: None,
            new_src: key.src,
            new_dst: if nat { dest.addr } else { key.dst },
            new_sport: key.sport,
            new_dport: if nat && u16::from(dest.port) != 0 { dest.port } else { key.dport },
            hop: None,
        }
    }

    /// With its reply direction, where there is one. `None`: its tuple is taken.
    fn pair(
        &mut self,
        forward: Entry,
        key: &FlowKey,
        dest: &Dest,
        frontend: &Frontend,
        back: Option<Hop>,
    ) -> Option<(Entry, Option<(FlowKey, Entry)>)> {
        if dest.mode != mode::NAT {
            return Some((forward, None));
        }
        let snat = frontend.flags & frontend_flag::SNAT != 0;
        let reply_key =
            if snat { self.snat_tuple(&forward, key, dest, frontend)? } else { self.nat_tuple(&forward, key)? };
        let snat_flag = if snat { flow_flag::SNAT } else { 0 };
        let reply = Entry {
            flags: forward.flags & !flow_flag::COUNTED | flow_flag::REPLY | snat_flag,
            peer: Some(*key),
            new_src: key.dst,
            new_dst: key.src,
            new_sport: key.dport,
            new_dport: key.sport,
            hop: back,
            ..forward
        };
        let forward = Entry {
            flags: forward.flags | snat_flag,
            peer: Some(reply_key),
            new_src: reply_key.dst,
            new_sport: reply_key.dport,
            ..forward
        };
        Some((forward, Some((reply_key, reply))))
    }

    /// Of the flow that stands in the way, the older one yields if it is half open or closing.
    fn nat_tuple(&mut self, forward: &Entry, key: &FlowKey) -> Option<FlowKey> {
        let reply = reply_key(forward, key.src, key.sport, key);
        match self.find(&reply) {
            Some(other) if is_active(other.state) => None,
            _ => Some(reply),
        }
    }

    /// Of the addresses of the frontend, or (`snat: auto`) of the one by which the destination knows us.
    fn snat_tuple(&self, forward: &Entry, key: &FlowKey, dest: &Dest, frontend: &Frontend) -> Option<FlowKey> {
        let settings = &self.config.settings;
        let base = frontend.snat_base as usize;
        let listed = &self.config.snat[base..base + frontend.snat_count as usize];
        let own = [dest.tunnel_src];
        let ours = if dest.tunnel_src == Addr::default() { listed } else { &own };
        let ports = u64::from(settings.snat_last - settings.snat_first) + 1;
        let total = ours.len() as u64 * ports;
        let start = u64::from((hash::hash_flow(key, settings.flow_seed) >> 16) as u32);
        (0..SNAT_CANDIDATES.min(total)).map(|i| (start + i) % total).find_map(|n| {
            let addr = ours[(n / ports) as usize];
            let port = Port::from(settings.snat_first + (n % ports) as u16);
            let reply = reply_key(forward, addr, port, key);
            self.find(&reply).is_none().then_some(reply)
        })
    }
}

fn goes_without_entry(frontend: &Frontend) -> bool {
    frontend.mode != mode::NAT
        && frontend.flags & frontend_flag::PERSIST == 0
        && matches!(frontend.scheduler, scheduler::SOURCE | scheduler::FLOW)
}

/// What the backend's packets carry that go to `addr` and `port`.
fn reply_key(forward: &Entry, addr: Addr, port: Port, key: &FlowKey) -> FlowKey {
    FlowKey { src: forward.new_dst, dst: addr, sport: forward.new_dport, dport: port, ..*key }
}
