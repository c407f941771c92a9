//! The protocol of flow sync, as one node runs it. Each is sender and receiver at once.
//!
//! A sender tells of changes in numbered datagrams, and remembers of each which places of its table it was about. A
//! receiver says which numbers it misses; the sender then tells what stands in those places now, in new datagrams. So
//! what arrives is never older than what came before, and a datagram that is late needs not be used.
//!
//! A node that joins pulls what the others know, slice by slice: the sender of a dump keeps nothing in mind about it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use lb_core::peer::PeerId;

use super::message::{Message, SLICE, Slice, fitting};
use super::record::Record;

/// Between two looks at what has changed.
pub const TURN: Duration = Duration::from_millis(20);
/// A node that has just started waits so long for each of the others to be there: on a busy host the hellos of the link,
/// one a second, may be late.
pub const ALONE: Duration = Duration::from_secs(5);
/// So long for one that went in the middle of a dump, and may only be too busy to say hello. It costs nothing: from one
/// that is dead VRRP takes over without asking whether this node is ready.
const AWAY: Duration = Duration::from_secs(30);
/// A turn that is so late tells that this node could not run, and could not have heard the others either.
const FROZEN: Duration = Duration::from_millis(500);
/// Between two questions about the same, as long as there is no answer.
const AGAIN: Duration = Duration::from_millis(50);
/// After so many questions about one slice, each of which waits longer for its answer, a dump counts as failed: ten
/// seconds in all. The node goes on asking, one question a second: it is not ready without an answer.
const PULLS: u32 = 20;
/// Records told in a turn at most: as many as 100 datagrams hold.
const BUDGET: usize = 4300;
/// Records of a slice, for which [`SLICE`] datagrams do in any case.
const IN_SLICE: usize = 900;
/// Slices that are told in a turn at most.
const SLICES: u32 = 64;
/// Datagrams whose places are remembered.
const HISTORY: usize = 8192;
/// Gaps that a receiver keeps count of; with more, all of it is pulled again.
const GAPS: usize = 64;

/// Where in the flow table of its sender a flow stands.
pub type Place = u32;

/// The flow table, as far as the protocol is concerned.
pub trait Table {
    /// Flows of this node that others should hear of: about `most` of them, the others the next time.
    fn changed(&mut self, most: usize) -> Vec<(Place, Record)>;
    /// What stands there is to be told again.
    fn untell(&mut self, places: &[Place]);
    /// About `most` flows from a bucket on, and the bucket to go on from. `to_all`: nobody else needs to hear of them.
    fn slice(&mut self, bucket: u32, most: usize, to_all: bool) -> (Vec<Record>, Option<u32>);
    /// Flows of others. `false`: that could not be done, and they have to be told again.
    fn enter(&mut self, records: &[Record]) -> bool;
}

/// What was counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records told, once for all receivers; those of dumps included.
    pub sent: u64,
    /// Datagrams of others that did not come.
    pub lost: u64,
    pub malformed: u64,
    /// Dumps that were not answered for long.
    pub dumps_failed: u64,
    /// Dumps that came to their end.
    pub dumps: u64,
}

/// `handle_*` take what happens, [`Machine::poll_output`] gives what is to be sent.
pub struct Machine {
    peers: Vec<Peer>,
    /// Of the last `Flows`.
    sequence: u64,
    /// Number and places of the latest.
    history: VecDeque<(u64, Box<[Place]>)>,
    slices_left: u32,
    next_dump: u32,
    out: VecDeque<(PeerId, Vec<u8>)>,
    /// Bytes of a message.
    room: usize,
    last_turn: Option<Instant>,
    counts: Counts,
}

/// Another node.
#[derive(Debug, Default)]
struct Peer {
    /// Is it there, and does it want to know flows?
    listens: bool,
    /// Until then it may come, and this node does not know its flows; only while it is not there.
    awaited: Option<Instant>,
    acked: u64,
    last_tip: Option<Instant>,
    /// The highest number that came of it; the first slice of a dump says where to begin.
    heard: Option<u64>,
    missing: Vec<(u64, u64)>,
    last_ask: Option<Instant>,
    pull: Option<Pull>,
}

/// A dump that is under way to this node.
#[derive(Debug)]
struct Pull {
    bucket: u32,
    /// The first and the latest question about this slice. An answer to any of them will do, or one that always takes
    /// longer than the patience for it would never count.
    first: u32,
    latest: u32,
    /// The question whose answer is being put together: answers to two of them do not make a whole, for the table has
    /// changed in between.
    answer: u32,
    /// Bit `n`: datagram `n` of it has come.
    got: u64,
    asked: Option<Instant>,
    /// Questions about this slice.
    tries: u32,
}

impl Machine {
    /// `sequence`: 0, or more than the last machine of this process came to. The others then see that they have missed
    /// something which nobody remembers, and pull all of it.
    pub fn new(peers: usize, room: usize, sequence: u64, now: Instant) -> Self {
        Self {
            peers: (0..peers).map(|_| Peer { awaited: Some(now + ALONE), ..Peer::default() }).collect(),
            sequence,
            history: VecDeque::new(),
            slices_left: SLICES,
            next_dump: 0,
            out: VecDeque::new(),
            room,
            last_turn: None,
            counts: Counts::default(),
        }
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The number of the last word to the others.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Does this node know what the others know? One that is not there is not waited for for ever; one that is there is.
    pub fn is_ready(&self, now: Instant) -> bool {
        let is_settled = |peer: &Peer| peer.pull.is_none() && peer.awaited.is_none_or(|until| until <= now);
        self.peers.iter().all(is_settled)
    }

    /// Does everybody know what this node has told?
    pub fn is_acked(&self) -> bool {
        self.peers.iter().all(|peer| !peer.listens || peer.acked >= self.sequence)
    }

    pub fn poll_output(&mut self) -> Option<(PeerId, Vec<u8>)> {
        self.out.pop_front()
    }

    /// A node has come, for the first time or again, or is gone.
    pub fn handle_peer(&mut self, id: PeerId, listens: bool, now: Instant) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        let awaited = match &peer.pull {
            _ if listens => None,
            Some(_) => Some(now + AWAY),
            None => peer.awaited,
        };
        *peer = Peer { listens, awaited, ..Peer::default() };
        if listens {
            self.pull(id, now);
        }
    }

    /// Something that a node that listens has said.
    pub fn handle_message(&mut self, id: PeerId, content: &[u8], table: &mut impl Table, now: Instant) {
        if !self.peers.get(id).is_some_and(|peer| peer.listens) {
            return;
        }
        match Message::decode(content) {
            Ok(Message::Flows { sequence, records }) => {
                if self.take(id, sequence) && !table.enter(&records) {
                    self.note_gap(id, sequence, sequence);
                }
            }
            Ok(Message::Tip { sequence }) => self.reach(id, sequence),
            Ok(Message::Ack { sequence }) => {
                let most = self.sequence;
                let peer = &mut self.peers[id];
                peer.acked = peer.acked.max(sequence.min(most));
            }
            Ok(Message::Missing { from, to }) => self.tell_again(id, from, to, table),
            Ok(Message::Again { from, to, kept }) => self.close_gap(id, (from, to), kept, now),
            Ok(Message::Pull { dump, bucket }) => self.tell_slice(id, dump, bucket, table),
            Ok(Message::Slice(slice)) => self.take_slice(id, &slice, table, now),
            Err(_) => self.counts.malformed += 1,
        }
    }

    /// Every [`TURN`]. `flush`: all that has changed, however much.
    pub fn handle_turn(&mut self, table: &mut impl Table, flush: bool, now: Instant) {
        self.slices_left = SLICES;
        self.excuse(now);
        if !self.peers.iter().any(|peer| peer.listens) {
            return;
        }
        self.tell(table, flush);
        for id in 0..self.peers.len() {
            self.remind(id, flush, now);
            self.ask(id, now);
            self.pull_on(id, now);
        }
    }

    /// Time in which nobody could be heard is no time in which nobody was there.
    fn excuse(&mut self, now: Instant) {
        let last = self.last_turn.replace(now).unwrap_or(now);
        let gap = now.saturating_duration_since(last);
        if gap < FROZEN {
            return;
        }
        for until in self.peers.iter_mut().filter_map(|peer| peer.awaited.as_mut()).filter(|until| **until > last) {
            *until += gap;
        }
    }

    fn say(&mut self, id: PeerId, message: &Message) {
        self.out.push_back((id, message.encode()));
    }

    fn tell(&mut self, table: &mut impl Table, flush: bool) {
        let changed = table.changed(if flush { usize::MAX } else { BUDGET });
        let (places, records): (Vec<Place>, Vec<Record>) = changed.into_iter().unzip();
        let (mut places, mut records) = (places.as_slice(), records.as_slice());
        while !records.is_empty() {
            let fits = fitting(records, self.room).len().max(1);
            self.tell_some(&places[..fits], &records[..fits]);
            (places, records) = (&places[fits..], &records[fits..]);
        }
    }

    /// One datagram to everybody who listens.
    fn tell_some(&mut self, places: &[Place], records: &[Record]) {
        self.sequence += 1;
        self.counts.sent += records.len() as u64;
        self.history.push_back((self.sequence, places.into()));
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
        let message = Message::Flows { sequence: self.sequence, records: records.to_vec() }.encode();
        let listeners = (0..self.peers.len()).filter(|id| self.peers[*id].listens);
        let copies: Vec<_> = listeners.map(|id| (id, message.clone())).collect();
        self.out.extend(copies);
    }

    /// Of the last datagram, after which none comes that would show that it was lost.
    fn remind(&mut self, id: PeerId, flush: bool, now: Instant) {
        let sequence = self.sequence;
        let peer = &mut self.peers[id];
        if !peer.listens || peer.acked >= sequence || (!flush && !is_due(peer.last_tip, now)) {
            return;
        }
        peer.last_tip = Some(now);
        self.say(id, &Message::Tip { sequence });
    }

    /// Is the datagram with that number the next one? What is missing before it is noted.
    fn take(&mut self, id: PeerId, sequence: u64) -> bool {
        let peer = &mut self.peers[id];
        let Some(heard) = peer.heard else { return false };
        let expected = heard.saturating_add(1);
        if sequence < expected {
            return false; // counted as lost already, and asked for
        }
        peer.heard = Some(sequence);
        if sequence > expected {
            self.note_gap(id, expected, sequence - 1);
        }
        true
    }

    fn reach(&mut self, id: PeerId, sequence: u64) {
        let peer = &mut self.peers[id];
        let Some(heard) = peer.heard else { return };
        peer.heard = Some(heard.max(sequence));
        if heard < sequence {
            self.note_gap(id, heard + 1, sequence);
        }
        if self.peers[id].missing.is_empty() {
            self.say(id, &Message::Ack { sequence });
        }
    }

    fn note_gap(&mut self, id: PeerId, from: u64, to: u64) {
        self.counts.lost = self.counts.lost.saturating_add((to - from).saturating_add(1));
        let peer = &mut self.peers[id];
        peer.missing.push((from, to));
        peer.last_ask = None;
    }

    fn ask(&mut self, id: PeerId, now: Instant) {
        let peer = &mut self.peers[id];
        if peer.missing.len() > GAPS {
            peer.missing.clear();
            return self.pull(id, now);
        }
        if peer.missing.is_empty() || !is_due(peer.last_ask, now) {
            return;
        }
        peer.last_ask = Some(now);
        for (from, to) in peer.missing.clone() {
            self.say(id, &Message::Missing { from, to });
        }
    }

    fn tell_again(&mut self, id: PeerId, from: u64, to: u64, table: &mut impl Table) {
        let oldest = self.history.front().map_or(u64::MAX, |(sequence, _)| *sequence);
        let kept = from >= oldest && to <= self.sequence;
        for (_, places) in self.history.iter().filter(|(sequence, _)| (from..=to).contains(sequence)) {
            table.untell(places);
        }
        self.say(id, &Message::Again { from, to, kept });
    }

    fn close_gap(&mut self, id: PeerId, gap: (u64, u64), kept: bool, now: Instant) {
        let peer = &mut self.peers[id];
        let before = peer.missing.len();
        peer.missing.retain(|missing| *missing != gap);
        if peer.missing.len() < before && !kept {
            self.pull(id, now);
        }
    }

    /// All that the node knows, from the beginning.
    fn pull(&mut self, id: PeerId, now: Instant) {
        self.pull_slice(id, 0, now);
    }

    fn pull_slice(&mut self, id: PeerId, bucket: u32, now: Instant) {
        let first = self.next_dump.wrapping_add(1);
        self.peers[id].pull = Some(Pull { bucket, first, latest: first, answer: first, got: 0, asked: None, tries: 0 });
        self.pull_on(id, now);
    }

    fn pull_on(&mut self, id: PeerId, now: Instant) {
        let Some(pull) = &mut self.peers[id].pull else { return };
        let patience = AGAIN * pull.tries.min(PULLS);
        if pull.asked.is_some_and(|asked| now.saturating_duration_since(asked) < patience) {
            return;
        }
        if pull.tries == PULLS {
            self.counts.dumps_failed += 1;
        }
        self.next_dump = self.next_dump.wrapping_add(1);
        (pull.latest, pull.asked, pull.tries) = (self.next_dump, Some(now), pull.tries.saturating_add(1));
        let question = Message::Pull { dump: pull.latest, bucket: pull.bucket };
        self.say(id, &question);
    }

    fn tell_slice(&mut self, id: PeerId, dump: u32, bucket: u32, table: &mut impl Table) {
        let Some(left) = self.slices_left.checked_sub(1) else { return };
        self.slices_left = left;
        let to_all = self.peers.iter().filter(|peer| peer.listens).count() == 1;
        let sequence = self.sequence;
        let (records, next) = table.slice(bucket, IN_SLICE, to_all);
        self.counts.sent += records.len() as u64;
        let (mut rest, mut parts) = (records.as_slice(), vec![]);
        while !rest.is_empty() || parts.is_empty() {
            let fits = fitting(rest, self.room).len().max(1).min(rest.len());
            parts.push(&rest[..fits]);
            rest = &rest[fits..];
        }
        let count = parts.len().min(usize::from(SLICE)) as u8;
        for (index, records) in (0..count).zip(parts) {
            let slice = Slice { dump, sequence, bucket, next, index, count, records: records.to_vec() };
            self.say(id, &Message::Slice(slice));
        }
    }

    fn take_slice(&mut self, id: PeerId, slice: &Slice, table: &mut impl Table, now: Instant) {
        let Some(pull) = &mut self.peers[id].pull else { return };
        if !pull.wants(slice) || !table.enter(&slice.records) {
            return;
        }
        let is_whole = pull.note(slice);
        self.peers[id].heard.get_or_insert(slice.sequence);
        match slice.next {
            _ if !is_whole => {}
            Some(bucket) => self.pull_slice(id, bucket, now),
            None => {
                self.peers[id].pull = None;
                self.counts.dumps += 1;
            }
        }
    }
}

impl Pull {
    /// Does it answer a question about this slice, and none that was asked before the one that is being answered?
    fn wants(&self, slice: &Slice) -> bool {
        let asked = |dump: u32| dump.wrapping_sub(self.first);
        let is_asked = (asked(self.answer)..=asked(self.latest)).contains(&asked(slice.dump));
        let is_known = slice.dump == self.answer && self.got & 1 << slice.index != 0;
        is_asked && slice.bucket == self.bucket && !is_known
    }

    /// One that is wanted has come. Is the answer whole now?
    fn note(&mut self, slice: &Slice) -> bool {
        if slice.dump != self.answer {
            (self.answer, self.got) = (slice.dump, 0);
        }
        self.got |= 1 << slice.index;
        self.got.count_ones() >= u32::from(slice.count)
    }
}

fn is_due(last: Option<Instant>, now: Instant) -> bool {
    last.is_none_or(|last| now.saturating_duration_since(last) >= AGAIN)
}

#[cfg(test)]
mod tests;
