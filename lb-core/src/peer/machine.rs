//! Who is there, as one node sees it: sessions, hellos, and what each of the others says about itself.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::split::{self, Splits};
use super::window::Window;
use super::wire::{self, Header, Hello, Key, Kind, NodeState, WireError};

/// Between two hellos.
pub const HELLO: Duration = Duration::from_secs(1);
/// A node that was not heard for so long is not there.
pub const LOST: Duration = Duration::from_secs(3);
/// Hellos out of turn are at least so far apart.
const HURRY: Duration = Duration::from_millis(20);
/// What a datagram of the same link has (RFC 5082).
const HOPS: u8 = 255;

/// The index of a node in what [`Machine::new`] was given.
pub type PeerId = usize;

/// Another node of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerConfig {
    pub name: Arc<str>,
    pub address: SocketAddr,
}

/// Where a datagram came from.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    pub from: IpAddr,
    /// TTL or hop limit.
    pub hops: Option<u8>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// It is there, for the first time or anew.
    Joined(PeerId),
    /// It says something new about itself.
    Changed(PeerId),
    /// Nothing new.
    Alive(PeerId),
    /// It speaks, and has not proved yet that it does so now.
    Begins(PeerId),
    /// For layer 4.
    Flows(PeerId, &'a [u8]),
    /// It is not heard any more.
    Lost(PeerId),
}

/// Why a datagram changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("it names a node that the configuration does not have")]
    UnknownNode,
    #[error("it does not come from the address of the node that it names")]
    Address,
    #[error("it comes from beyond a router, which takes `sync.secret_file`")]
    Hops,
    #[error("it has come before")]
    Replay,
    /// Normal while a node starts.
    #[error("it belongs to no session that is known")]
    Session,
}

impl Refusal {
    pub const REASONS: [&str; 8] =
        ["not_ours", "version", "malformed", "signature", "unknown_node", "address", "replay", "session"];

    /// The metric label; one of [`Self::REASONS`].
    pub fn reason(self) -> &'static str {
        Self::REASONS[self.index()]
    }

    fn index(self) -> usize {
        match self {
            Refusal::Wire(WireError::NotOurs) => 0,
            Refusal::Wire(WireError::Version(_)) => 1,
            Refusal::Wire(WireError::Malformed) => 2,
            Refusal::Wire(WireError::Signature) => 3,
            Refusal::UnknownNode => 4,
            Refusal::Address | Refusal::Hops => 5,
            Refusal::Replay => 6,
            Refusal::Session => 7,
        }
    }
}

/// Makes up numbers that nobody can guess.
pub type Random = Box<dyn FnMut() -> u64 + Send>;

/// This node.
pub struct Ours {
    pub name: Arc<str>,
    pub state: NodeState,
    /// `None`: datagrams are not signed.
    pub key: Option<Key>,
}

/// Getters tell what is known; `handle_*` take what happens; `poll_*` say what is to be done.
pub struct Machine {
    node: u64,
    session: u64,
    state: NodeState,
    key: Option<Key>,
    peers: Vec<Peer>,
    random: Random,
    refused: [u64; Refusal::REASONS.len()],
    splits: Splits,
}

/// Another node, as this one knows it.
#[derive(Debug)]
pub struct Peer {
    pub config: PeerConfig,
    node: u64,
    /// The latest that was believed; it may be over.
    session: Option<(u64, Window)>,
    /// While it is there: when it was heard last.
    heard: Option<Instant>,
    /// What it has to say back before a new session is believed.
    challenge: u64,
    /// What it wants to hear.
    echo: u64,
    sequence: u64,
    next_hello: Instant,
    last_hello: Option<Instant>,
    pub state: NodeState,
    pub received: u64,
    pub sent: u64,
}

impl Machine {
    pub fn new(ours: Ours, peers: Vec<PeerConfig>, mut random: Random, now: Instant) -> Self {
        let peers = peers.into_iter().map(|config| Peer::new(config, random(), now)).collect();
        // 0 stands for none.
        let session = random() | 1;
        let node = wire::node_id(&ours.name);
        let (refused, splits) = Default::default();
        Self { node, session, state: ours.state, key: ours.key, peers, random, refused, splits }
    }

    pub fn peers(&self) -> &[Peer] {
        &self.peers
    }

    pub fn state(&self) -> &NodeState {
        &self.state
    }

    /// Datagrams that changed nothing, in the order of [`Refusal::REASONS`].
    pub fn refused(&self) -> &[u64] {
        &self.refused
    }

    /// The others are told at once.
    pub fn set_state(&mut self, state: NodeState, now: Instant) {
        if self.state != state {
            self.state = state;
            self.peers.iter_mut().for_each(|peer| peer.hurry(now));
        }
    }

    pub fn handle_datagram<'a>(
        &mut self,
        arrival: Arrival,
        datagram: &'a [u8],
        now: Instant,
    ) -> Result<Event<'a>, Refusal> {
        let result = self.judge(arrival, datagram, now);
        if let Err(refusal) = result {
            self.refused[refusal.index()] += 1;
        }
        result
    }

    fn judge<'a>(&mut self, arrival: Arrival, datagram: &'a [u8], now: Instant) -> Result<Event<'a>, Refusal> {
        let (header, content) = wire::open(datagram, self.key.as_ref())?;
        let id = self.peers.iter().position(|peer| peer.node == header.node).ok_or(Refusal::UnknownNode)?;
        let peer = &mut self.peers[id];
        if peer.config.address.ip() != arrival.from {
            return Err(Refusal::Address);
        }
        if self.key.is_none() && arrival.hops != Some(HOPS) {
            return Err(Refusal::Hops);
        }
        match header.kind {
            Kind::Hello => {
                let hello = Hello::decode(content)?;
                peer.hear(&header, hello, self.session, &mut self.random, now).map(|event| event(id))
            }
            Kind::Flows => {
                peer.take(&header, now)?;
                Ok(Event::Flows(id, content))
            }
        }
    }

    /// Who is no longer there.
    pub fn handle_time(&mut self, now: Instant) -> Vec<PeerId> {
        let is_lost = |peer: &Peer| peer.heard.is_some_and(|heard| now.saturating_duration_since(heard) >= LOST);
        let lost: Vec<PeerId> = (0..self.peers.len()).filter(|id| is_lost(&self.peers[*id])).collect();
        lost.iter().for_each(|id| self.peers[*id].heard = None);
        lost
    }

    /// What there is to say of nodes that are active beside this one. To be asked about every second.
    pub fn handle_roles(&mut self, now: Instant) -> Vec<split::Change> {
        let there = self.peers.iter().enumerate().filter(|(_, peer)| peer.is_there());
        let both = there.flat_map(|(id, peer)| {
            let of_both = peer.state.active.iter().filter(|router| self.state.active.contains(router));
            of_both.map(move |router| (id, router.clone()))
        });
        self.splits.observe(now, &both.collect::<Vec<_>>())
    }

    pub fn splits(&self) -> &Splits {
        &self.splits
    }

    /// When something is due at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.peers.iter().map(|peer| peer.heard.map_or(peer.next_hello, |h| peer.next_hello.min(h + LOST))).min()
    }

    /// The next hello that is due, sealed, and where to.
    pub fn poll_hello(&mut self, now: Instant) -> Option<(SocketAddr, Vec<u8>)> {
        let id = self.peers.iter().position(|peer| peer.next_hello <= now)?;
        let peer = &mut self.peers[id];
        (peer.next_hello, peer.last_hello) = (now + HELLO, Some(now));
        let believed = peer.session.as_ref().filter(|_| peer.heard.is_some()).map_or(0, |(session, _)| *session);
        let (challenge, echo, state) = (peer.challenge, peer.echo, self.state.clone());
        let hello = Hello { challenge, echo, believed, state };
        Some(self.seal(id, Kind::Hello, &hello.encode()))
    }

    /// A datagram to a node that is there, and where to; `None`: it is not there.
    pub fn flows(&mut self, id: PeerId, content: &[u8]) -> Option<(SocketAddr, Vec<u8>)> {
        self.peers.get(id)?.heard?;
        Some(self.seal(id, Kind::Flows, content))
    }

    fn seal(&mut self, id: PeerId, kind: Kind, content: &[u8]) -> (SocketAddr, Vec<u8>) {
        let peer = &mut self.peers[id];
        peer.sequence += 1;
        peer.sent += 1;
        let header = Header { kind, node: self.node, session: self.session, sequence: peer.sequence };
        (peer.config.address, wire::seal(&header, content, self.key.as_ref()))
    }
}

impl Peer {
    fn new(config: PeerConfig, challenge: u64, now: Instant) -> Self {
        Self {
            node: wire::node_id(&config.name),
            config,
            session: None,
            heard: None,
            challenge,
            echo: 0,
            sequence: 0,
            next_hello: now,
            last_hello: None,
            state: NodeState::default(),
            received: 0,
            sent: 0,
        }
    }

    pub fn is_there(&self) -> bool {
        self.heard.is_some()
    }

    fn hurry(&mut self, now: Instant) {
        let soonest = self.last_hello.map_or(now, |last| now.max(last + HURRY));
        self.next_hello = self.next_hello.min(soonest);
    }

    /// What a hello changes.
    fn hear(
        &mut self,
        header: &Header,
        hello: Hello,
        ours: u64,
        random: &mut Random,
        now: Instant,
    ) -> Result<fn(PeerId) -> Event<'static>, Refusal> {
        let known = self.knows(header);
        if known && !self.takes(header) {
            return Err(Refusal::Replay);
        }
        self.echo = hello.challenge;
        if hello.believed != ours {
            self.hurry(now);
        }
        if !known && hello.echo != self.challenge {
            return Ok(Event::Begins);
        }
        if !known && !self.begin(header, random()) {
            return Err(Refusal::Replay);
        }
        let changed = self.state != hello.state;
        self.received += 1;
        (self.heard, self.state) = (Some(now), hello.state);
        Ok(match (known, changed) {
            (false, _) => Event::Joined,
            (true, true) => Event::Changed,
            (true, false) => Event::Alive,
        })
    }

    /// Is it there, in this session?
    fn knows(&self, header: &Header) -> bool {
        self.heard.is_some() && self.session.as_ref().is_some_and(|(session, _)| *session == header.session)
    }

    fn takes(&mut self, header: &Header) -> bool {
        self.session.as_mut().is_some_and(|(_, window)| window.take(header.sequence))
    }

    /// It has proved that it is there now, so that nothing from before this datagram counts any more.
    fn begin(&mut self, header: &Header, challenge: u64) -> bool {
        let is_same = self.session.as_ref().is_some_and(|(session, _)| *session == header.session);
        if is_same && !self.takes(header) {
            return false;
        }
        self.session = Some((header.session, Window::from(header.sequence)));
        self.challenge = challenge;
        true
    }

    /// A datagram that is not a hello.
    fn take(&mut self, header: &Header, now: Instant) -> Result<(), Refusal> {
        if !self.knows(header) {
            self.hurry(now);
            return Err(Refusal::Session);
        }
        if !self.takes(header) {
            return Err(Refusal::Replay);
        }
        self.received += 1;
        self.heard = Some(now);
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a virtual clock has to begin somewhere")]
mod tests;
