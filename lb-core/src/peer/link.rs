//! The socket of the link, and the thread that listens to it.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::sockopt::{
    IpFreebind, Ipv4RecvTtl, Ipv4Ttl, Ipv6RecvHopLimit, Ipv6Ttl, RcvBuf, RcvBufForce, ReusePort, SndBuf, SndBufForce,
};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket};
use tracing::{error, info, warn};

use super::machine::{Event, Machine, Ours, PeerConfig, PeerId, Refusal};
use super::receive::receive;
use super::report::{LinkReport, PeerReport};
use super::split::Change;
use super::wire::{Key, LARGEST, NodeState};
use crate::config::{Config, Node};

/// A dump of flows comes quicker than they can be entered.
const BUFFER: usize = 4 << 20;
/// Datagrams between two looks at the time.
const TURN: usize = 256;
/// Without anything to do.
const IDLE: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("cannot listen on {address} for the other nodes")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("cannot read `sync.secret_file`")]
    Secret(#[source] io::Error),
    #[error("`{0}` has no address of the family that the nodes have in common")]
    NoAddress(Arc<str>),
    #[error("cannot start the thread of the link between nodes")]
    Thread(#[source] io::Error),
}

/// What is heard of other nodes. Called on the thread of the link: it must not wait.
pub type Listener = Box<dyn Fn(Event<'_>) + Send + Sync>;

/// A link whose address is taken, and that says nothing yet.
pub struct Bound {
    socket: UdpSocket,
    name: Arc<str>,
    key: Option<Key>,
    peers: Vec<PeerConfig>,
}

/// Ends with [`Link::stop`].
pub struct Link {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

/// Says something to other nodes; clones are one.
#[derive(Clone)]
pub struct Speaker(Arc<Shared>);

struct Shared {
    socket: UdpSocket,
    bell: EventFd,
    stop: AtomicBool,
    machine: Mutex<Machine>,
    listener: Listener,
}

impl Bound {
    /// `None`: there is nobody to talk to.
    pub fn bind(config: &Config) -> Result<Option<Self>, LinkError> {
        let Some(node) = config.node().filter(|_| config.other_nodes().next().is_some()) else { return Ok(None) };
        let v6 = !config.nodes.iter().all(|node| node.address_of(false).is_some());
        let address = |node: &Node| {
            let ip = node.address_of(v6).ok_or_else(|| LinkError::NoAddress(node.name.clone()))?;
            Ok(SocketAddr::new(ip, config.sync.port))
        };
        let peer = |node: &Node| Ok(PeerConfig { name: node.name.clone(), address: address(node)? });
        let peers = config.other_nodes().map(peer).collect::<Result<_, LinkError>>()?;
        let secret = config.sync.secret.as_ref().map(|secret| secret.read().map_err(LinkError::Secret)).transpose()?;
        let ours = address(node)?;
        let socket = open(ours).map_err(|source| LinkError::Bind { address: ours, source })?;
        Ok(Some(Self { socket, name: node.name.clone(), key: secret.as_deref().map(Key::new), peers }))
    }

    /// `listener` hears of the nodes in the order of [`Config::other_nodes`].
    pub fn start(self, state: NodeState, listener: Listener) -> Result<Link, LinkError> {
        if self.key.is_none() {
            warn!("what the nodes tell each other is not signed: `sync.secret_file` has it signed");
        }
        let ours = Ours { name: self.name, state, key: self.key };
        let machine = Mutex::new(Machine::new(ours, self.peers, Box::new(random), clock()));
        let bell = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC);
        let bell = bell.map_err(|errno| LinkError::Thread(errno.into()))?;
        let shared = Arc::new(Shared { socket: self.socket, bell, stop: AtomicBool::new(false), machine, listener });
        let ear = Ear::new(shared.clone());
        let thread = std::thread::Builder::new().name("peers".to_owned()).spawn(move || ear.listen());
        Ok(Link { shared, thread: thread.map_err(LinkError::Thread)? })
    }
}

impl Link {
    pub fn speaker(&self) -> Speaker {
        Speaker(self.shared.clone())
    }

    pub fn report(&self) -> LinkReport {
        let machine = self.shared.machine();
        LinkReport {
            peers: PeerReport::all(&machine),
            errors: Refusal::REASONS.into_iter().zip(machine.refused().iter().copied()).collect(),
        }
    }

    pub fn stop(self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.ring();
        if self.thread.join().is_err() {
            error!("the thread of the link between nodes had panicked");
        }
    }
}

impl Speaker {
    /// The other nodes hear of it at once.
    pub fn set_state(&self, change: impl FnOnce(&mut NodeState)) {
        let mut machine = self.0.machine();
        let mut state = machine.state().clone();
        change(&mut state);
        machine.set_state(state, clock());
        drop(machine);
        self.0.ring();
    }

    /// Is it there, and does it want to know flows?
    pub fn syncs_flows(&self, peer: PeerId) -> bool {
        self.0.machine().peers().get(peer).is_some_and(|peer| peer.is_there() && peer.state.syncs_flows)
    }

    /// For layer 4 of a node that is there. It may get lost, as anything may that is sent.
    pub fn flows(&self, peer: PeerId, content: &[u8]) {
        let sealed = self.0.machine().flows(peer, content);
        if let Some((address, datagram)) = sealed {
            self.0.send(address, &datagram);
        }
    }
}

impl Shared {
    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        // A bell that cannot ring more often has rung.
        let _ = self.bell.write(1);
    }

    /// What cannot be sent is lost, as it might have been on the way.
    fn send(&self, address: SocketAddr, datagram: &[u8]) {
        let _ = self.socket.send_to(datagram, address);
    }
}

/// The thread: hears, and says hello.
struct Ear {
    shared: Arc<Shared>,
    /// Whether a node runs our configuration, as it was logged last.
    same: Vec<Option<bool>>,
    /// Reasons of refusals that were logged.
    logged: Vec<&'static str>,
}

impl Ear {
    fn new(shared: Arc<Shared>) -> Self {
        let peers = shared.machine().peers().len();
        Self { shared, same: vec![None; peers], logged: vec![] }
    }

    fn listen(mut self) {
        while !self.shared.stop.load(Ordering::Acquire) {
            self.greet();
            self.wait();
            let our_state_may_be_new = self.shared.bell.read().is_ok();
            let something_new = self.hear();
            self.miss();
            self.look_for_splits();
            if something_new || our_state_may_be_new {
                self.compare();
            }
        }
    }

    fn wait(&self) {
        let due = self.shared.machine().poll_timeout();
        let wait = due.map_or(IDLE, |due| due.saturating_duration_since(clock()));
        let timeout = PollTimeout::try_from(wait.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        let mut ready = [
            PollFd::new(self.shared.socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.shared.bell.as_fd(), PollFlags::POLLIN),
        ];
        // EINTR is as good as a timeout.
        let _ = poll(&mut ready, timeout);
    }

    fn greet(&self) {
        loop {
            let due = self.shared.machine().poll_hello(clock());
            let Some((address, datagram)) = due else { return };
            self.shared.send(address, &datagram);
        }
    }

    /// As many as a turn may take, so that hellos are never late. Does a node say something new about itself?
    fn hear(&mut self) -> bool {
        let mut buffer = [0; LARGEST + 1];
        let mut something_new = false;
        for _ in 0..TURN {
            let Some((length, arrival)) = receive(&self.shared.socket, &mut buffer) else { break };
            let result = self.shared.machine().handle_datagram(arrival, &buffer[..length], clock());
            match result {
                Ok(event) => {
                    something_new |= matches!(event, Event::Joined(_) | Event::Changed(_));
                    self.log(&event);
                    (self.shared.listener)(event);
                }
                Err(refusal) => self.complain(refusal, arrival.from),
            }
        }
        something_new
    }

    fn miss(&self) {
        let lost = self.shared.machine().handle_time(clock());
        for id in lost {
            warn!(node = &*self.name(id), "a node is not heard any more");
            (self.shared.listener)(Event::Lost(id));
        }
    }

    fn look_for_splits(&self) {
        let changes = self.shared.machine().handle_roles(clock());
        for change in changes {
            match change {
                Change::Split { peer, router } => error!(
                    node = &*self.name(peer),
                    router = &*router,
                    "a node is active as well: its adverts do not come here, or ours not there (IP protocol 112)"
                ),
                Change::Healed { peer, router } => {
                    info!(node = &*self.name(peer), router = &*router, "only one of the nodes is active again")
                }
            }
        }
    }

    fn log(&self, event: &Event<'_>) {
        if let Event::Joined(id) = event {
            info!(node = &*self.name(*id), "a node is there");
        }
    }

    /// Says once when a node that is there runs another configuration, and when it no longer does.
    fn compare(&mut self) {
        let report = PeerReport::all(&self.shared.machine());
        for (peer, logged) in
            report.iter().zip(&mut self.same).filter(|(peer, logged)| peer.up && **logged != Some(peer.same_config))
        {
            match (peer.same_config, *logged) {
                (false, _) => {
                    warn!(node = peer.node, sha256 = peer.config_sha256, "a node runs a different configuration")
                }
                (true, Some(false)) => info!(node = peer.node, "a node runs the same configuration again"),
                (true, _) => {}
            }
            *logged = Some(peer.same_config);
        }
    }

    /// Once for each reason: they are counted as well.
    fn complain(&mut self, refusal: Refusal, from: IpAddr) {
        let reason = refusal.reason();
        if refusal != Refusal::Session && !self.logged.contains(&reason) {
            self.logged.push(reason);
            warn!(%from, why = %refusal, "a datagram on the port of the nodes is refused, as are others like it");
        }
    }

    fn name(&self, id: PeerId) -> Arc<str> {
        self.shared.machine().peers()[id].config.name.clone()
    }
}

/// The address may come later: a node may start before its network is up.
fn open(address: SocketAddr) -> io::Result<UdpSocket> {
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let fd = socket(family, SockType::Datagram, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)?;
    // A reload may change the nodes and keep the address: the new socket is there before the old one goes.
    setsockopt(&fd, ReusePort, &true)?;
    setsockopt(&fd, IpFreebind, &true)?;
    // Beyond net.core.rmem_max where this process may.
    setsockopt(&fd, RcvBufForce, &BUFFER).or_else(|_| setsockopt(&fd, RcvBuf, &BUFFER))?;
    setsockopt(&fd, SndBufForce, &BUFFER).or_else(|_| setsockopt(&fd, SndBuf, &BUFFER))?;
    set_hops(&fd, address.is_ipv6())?;
    bind(std::os::fd::AsRawFd::as_raw_fd(&fd), &SockaddrStorage::from(address))?;
    Ok(fd.into())
}

/// RFC 5082: what has crossed a router tells so.
fn set_hops(fd: &OwnedFd, v6: bool) -> nix::Result<()> {
    if v6 {
        setsockopt(fd, Ipv6Ttl, &255)?;
        return setsockopt(fd, Ipv6RecvHopLimit, &true);
    }
    setsockopt(fd, Ipv4Ttl, &255)?;
    setsockopt(fd, Ipv4RecvTtl, &true)
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        error!("the kernel gives no random numbers");
    }
    u64::from_ne_bytes(bytes)
}

#[expect(clippy::disallowed_methods, reason = "the driver of the machine, which gets the time from it")]
fn clock() -> Instant {
    Instant::now()
}
