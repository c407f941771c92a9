//! What the maps should hold, from what serves: pure, and without places.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lb_core::config::{self, AdminState, Forward, Method, OnBackendDown, Scheduler, Snat, Transport};
use lb_core::pool::{Backend, Health, Pool};
use lb_core::scheduler::identity;
use lb_core::snapshot::{Frontend, Snapshot};

use crate::abi::{Addr, Port, VipKey, dest_state, frontend_flag, mode, on_down, scheduler};
use crate::rings::{Member, Ring};

/// What this host knows and the configuration does not.
pub trait Host {
    /// The address that this host sends from towards `destination`; `None` without a route.
    fn source(&self, destination: IpAddr) -> Option<IpAddr>;

    /// The same, but none of these while there is another.
    fn source_beside(&self, destination: IpAddr, vips: &HashSet<IpAddr>) -> Option<IpAddr>;
}

/// How the program measures time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Jiffies in a second.
    pub hz: u32,
}

/// In the order of the file.
#[derive(Debug, Clone)]
pub struct Desired {
    pub frontends: Vec<DesiredFrontend>,
    pub ports: SnatPorts,
    /// Per CPU and tick.
    pub new_flows: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnatPorts {
    pub first: u16,
    pub last: u16,
}

#[derive(Debug, Clone)]
pub struct DesiredFrontend {
    pub name: Arc<str>,
    pub pool: Arc<str>,
    pub key: VipKey,
    pub mode: u8,
    pub scheduler: u8,
    pub on_down: u8,
    pub persistence: Option<Persistence>,
    pub timeouts: Timeouts,
    /// Is the client's address replaced? Not even where no address of ours is known may it be seen.
    pub replaces_client: bool,
    /// By these, where a destination has none of its own.
    pub snat: Vec<Addr>,
    pub dests: Vec<DesiredDest>,
    /// Of indexes into `dests`.
    pub ring: Ring,
}

/// In jiffies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    pub established: u32,
    pub syn: u32,
    pub fin: u32,
    pub close: u32,
    pub udp: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Persistence {
    /// In jiffies.
    pub timeout: u32,
    pub prefix4: u8,
    pub prefix6: u8,
}

#[derive(Debug, Clone)]
pub struct DesiredDest {
    /// Its name in the pool.
    pub name: Arc<str>,
    pub addr: Addr,
    /// 0: the port stays as it is.
    pub port: Port,
    pub tunnel_src: Addr,
    pub weight: u32,
    pub state: u8,
}

impl Desired {
    /// Rings that are made of the same as in `previous` are shared with it.
    pub fn of(snapshot: &Snapshot, host: &impl Host, clock: Clock, previous: &[DesiredFrontend]) -> Self {
        let l4 = &snapshot.config.l4;
        let vips = snapshot.forward_frontends().map(|(f, _)| f.config.listen.ip()).collect();
        let around = Around { host, vips: &vips, clock };
        let frontend = |(f, forward): (&Arc<Frontend>, &Arc<Forward>)| {
            let old = previous.iter().find(|old| old.name == f.config.name);
            Some(frontend(&f.config, forward, snapshot.pool(&forward.pool)?, &around, old))
        };
        Self {
            frontends: snapshot.forward_frontends().filter_map(frontend).collect(),
            ports: SnatPorts { first: *l4.snat_ports.start(), last: *l4.snat_ports.end() },
            new_flows: per_tick(l4.new_flows_per_second, clock),
        }
    }

    /// Takes up what backends may be given now, and says whether any of it is new. `snapshot` is the one
    /// that this was made of.
    pub fn refresh(&mut self, snapshot: &Snapshot) -> bool {
        let mut changed = false;
        for frontend in &mut self.frontends {
            let Some(pool) = snapshot.pool(&frontend.pool) else { continue };
            let states = members(pool).map(|b| state(b)).collect::<Vec<_>>();
            if frontend.dests.iter().map(|d| d.state).ne(states.iter().copied()) {
                frontend.dests.iter_mut().zip(states).for_each(|(dest, state)| dest.state = state);
                frontend.ring = ring(pool, frontend.scheduler, Some(&frontend.ring));
                changed = true;
            }
        }
        changed
    }
}

impl Clock {
    pub fn jiffies(self, duration: Duration) -> u32 {
        let jiffies = duration.as_millis() * u128::from(self.hz) / 1000;
        // Times are compared by their difference, so that half the range is the most.
        jiffies.clamp(1, i32::MAX as u128) as u32
    }

    /// `now >> tick_shift` is half a second to one second.
    pub fn tick_shift(self) -> u32 {
        self.hz.max(1).ilog2()
    }
}

fn per_tick(per_second: u32, clock: Clock) -> u32 {
    let tick = u64::from(per_second) << clock.tick_shift();
    (tick / u64::from(clock.hz.max(1))).clamp(1, u64::from(u32::MAX)) as u32
}

/// What a frontend and its backends depend on beside their own configuration.
struct Around<'a, H> {
    host: &'a H,
    /// Of all frontends.
    vips: &'a HashSet<IpAddr>,
    clock: Clock,
}

fn frontend(
    config: &config::Frontend,
    forward: &Forward,
    pool: &Pool,
    around: &Around<'_, impl Host>,
    old: Option<&DesiredFrontend>,
) -> DesiredFrontend {
    let clock = around.clock;
    let scheduler = scheduler(pool.config.scheduler);
    DesiredFrontend {
        name: config.name.clone(),
        pool: pool.config.name.clone(),
        key: key(config, forward),
        mode: mode(&forward.method),
        scheduler,
        on_down: on_down(forward.on_backend_down),
        persistence: forward.persistence.map(|p| Persistence {
            timeout: clock.jiffies(p.timeout),
            prefix4: p.netmask,
            prefix6: p.netmask6,
        }),
        timeouts: timeouts(&forward.timeouts, clock),
        replaces_client: matches!(forward.method, Method::Nat { snat: Snat::Auto | Snat::Addresses(_) }),
        snat: snat(&forward.method),
        dests: members(pool).map(|b| dest(b, &forward.method, around)).collect(),
        ring: ring(pool, scheduler, old.map(|f| &f.ring)),
    }
}

pub fn key(config: &config::Frontend, forward: &Forward) -> VipKey {
    let proto = match forward.protocol {
        Transport::Tcp => libc::IPPROTO_TCP as u8,
        Transport::Udp => libc::IPPROTO_UDP as u8,
    };
    VipKey { addr: config.listen.ip().into(), port: config.listen.port().into(), proto, zero: [0; 5] }
}

/// Primaries and backups; of several with one address and port the first.
fn members(pool: &Pool) -> impl Iterator<Item = &Arc<Backend>> {
    let mut seen = HashSet::new();
    pool.backends.iter().chain(&pool.backup).filter(move |b| seen.insert(b.config.address))
}

fn dest(backend: &Backend, method: &Method, around: &Around<'_, impl Host>) -> DesiredDest {
    let address = backend.config.address;
    let keeps_port = !matches!(method, Method::Nat { .. });
    // Each backend knows us by the address of its own network.
    let source = match method {
        // The backend has the VIPs itself, and takes nothing out of a tunnel that comes from an address of its own.
        Method::Tunnel => around.host.source_beside(address.ip(), around.vips),
        Method::Nat { snat: Snat::Auto } => around.host.source(address.ip()),
        _ => None,
    };
    DesiredDest {
        name: backend.config.name.clone(),
        addr: address.ip().into(),
        port: if keeps_port { Port::default() } else { address.port().into() },
        tunnel_src: source.map_or(Addr::default(), Addr::from),
        weight: u32::from(backend.config.weight),
        state: state(backend),
    }
}

fn state(backend: &Backend) -> u8 {
    match (backend.live.health(), backend.admin_state()) {
        (Health::Down, _) => dest_state::DOWN,
        (_, AdminState::Ready) if backend.config.weight > 0 => dest_state::READY,
        _ => dest_state::DRAIN,
    }
}

/// Of those that take new flows: the primaries, and where there is none, the backups.
fn ring(pool: &Pool, scheduler: u8, old: Option<&Ring>) -> Ring {
    let primaries: HashSet<_> = pool.backends.iter().map(|b| b.config.address).collect();
    let ready: Vec<(u32, &Arc<Backend>)> =
        (0..).zip(members(pool)).filter(|(_, b)| state(b) == dest_state::READY).collect();
    let is_primary = |b: &Backend| primaries.contains(&b.config.address);
    let use_backups = !ready.iter().any(|(_, b)| is_primary(b));
    let chosen = ready.into_iter().filter(|(_, b)| is_primary(b) != use_backups);
    let member = |(index, backend): (u32, &Arc<Backend>)| Member {
        index,
        identity: identity(&backend.config.name, backend.config.address),
        weight: backend.config.weight,
    };
    Ring::new(scheduler, chosen.map(member).collect(), old)
}

fn snat(method: &Method) -> Vec<Addr> {
    let mut addresses: Vec<Addr> = match method {
        Method::Nat { snat: Snat::Addresses(addresses) } => addresses.iter().map(|ip| Addr::from(*ip)).collect(),
        _ => vec![],
    };
    addresses.sort_unstable_by_key(|a| a.0);
    addresses.dedup();
    addresses
}

fn timeouts(timeouts: &config::FlowTimeouts, clock: Clock) -> Timeouts {
    Timeouts {
        established: clock.jiffies(timeouts.established),
        syn: clock.jiffies(timeouts.syn),
        fin: clock.jiffies(timeouts.fin),
        close: clock.jiffies(timeouts.close),
        udp: clock.jiffies(timeouts.udp),
    }
}

fn mode(method: &Method) -> u8 {
    match method {
        Method::Nat { .. } => mode::NAT,
        Method::Dr => mode::DR,
        Method::Tunnel => mode::TUNNEL,
    }
}

fn scheduler(scheduler: Scheduler) -> u8 {
    match scheduler {
        Scheduler::RoundRobin => scheduler::ROUND_ROBIN,
        Scheduler::LeastConnections => scheduler::LEAST,
        Scheduler::IpHash => scheduler::SOURCE,
        Scheduler::Maglev | Scheduler::Random => scheduler::FLOW,
    }
}

fn on_down(rule: OnBackendDown) -> u8 {
    match rule {
        OnBackendDown::Rebind => on_down::REBIND,
        OnBackendDown::Reset => on_down::RESET,
        OnBackendDown::Keep => on_down::KEEP,
    }
}

impl DesiredFrontend {
    /// `enum frontend_flag`
    pub fn flags(&self) -> u8 {
        let persist = if self.persistence.is_some() { frontend_flag::PERSIST } else { 0 };
        persist | if self.replaces_client { frontend_flag::SNAT } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Has an address in 10.2.0.0/16 and one in 10.3.0.0/16, and no other way.
    struct TwoNetworks;

    impl Host for TwoNetworks {
        fn source(&self, destination: IpAddr) -> Option<IpAddr> {
            let IpAddr::V4(v4) = destination else { return None };
            let network = v4.octets()[1];
            matches!(network, 2 | 3).then(|| IpAddr::from([10, network, 0, 1]))
        }

        fn source_beside(&self, destination: IpAddr, vips: &HashSet<IpAddr>) -> Option<IpAddr> {
            assert_eq!(vips, &HashSet::from([IpAddr::from([10, 1, 0, 100])]));
            self.source(destination)
        }
    }

    fn web(keys: &str) -> DesiredFrontend {
        let text = format!(
            "frontends: {{ web: {{ {keys}, listen: 10.1.0.100:80, pool: web }} }}
pools: {{ web: {{ backends: [10.2.0.2:80, 10.3.0.2:80, 10.9.0.2:80] }} }}
"
        );
        let loaded = config::load(&text, Path::new("test.yaml"), &|_| None).unwrap_or_else(|why| panic!("{why}"));
        let snapshot = Snapshot::build(Arc::new(loaded.config), "sha".to_owned(), 1, None);
        Desired::of(&snapshot, &TwoNetworks, Clock { hz: 250 }, &[]).frontends.remove(0)
    }

    fn sources(frontend: &DesiredFrontend) -> Vec<Addr> {
        frontend.dests.iter().map(|dest| dest.tunnel_src).collect()
    }

    fn addr(octets: [u8; 4]) -> Addr {
        IpAddr::from(octets).into()
    }

    #[test]
    fn each_backend_knows_us_by_the_address_of_its_own_network() {
        let expected = [addr([10, 2, 0, 1]), addr([10, 3, 0, 1]), Addr::default()];
        let automatic = web("mode: nat, snat: auto");
        assert_eq!(sources(&automatic), expected);
        // Without an address of ours towards a backend it gets nothing, rather than the client's address.
        assert!(automatic.replaces_client && automatic.snat.is_empty());
        assert_eq!(sources(&web("mode: tunnel")), expected);
    }

    #[test]
    fn where_the_addresses_are_given_or_the_client_is_seen_there_is_no_other() {
        let given = web("mode: nat, snat: [10.2.0.9, 10.2.0.8]");
        assert_eq!(sources(&given), [Addr::default(); 3]);
        assert_eq!((given.replaces_client, given.snat), (true, vec![addr([10, 2, 0, 8]), addr([10, 2, 0, 9])]));
        let seen = web("mode: nat");
        assert_eq!(sources(&seen), [Addr::default(); 3]);
        assert!(!seen.replaces_client);
    }
}
