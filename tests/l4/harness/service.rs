//! lb on its host, in the mode and at the hook of a test.

use std::net::SocketAddr;

use super::{Below, Echo, Hook, Net, Place, Program, Running, UNTIL_THE_TEST_ENDS, VIP};
use crate::shared::Lb;

/// A way of forwarding, with the place of the backends that goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Nat,
    Snat,
    Dr,
    Tunnel,
}

impl Way {
    pub fn place(self) -> Place {
        match self {
            Way::Nat => Place::Behind,
            Way::Snat | Way::Dr => Place::Near,
            Way::Tunnel => Place::Far,
        }
    }

    /// For a frontend.
    pub fn keys(self) -> &'static str {
        match self {
            Way::Nat => "mode: nat",
            Way::Snat => "mode: nat, snat: auto",
            Way::Dr => "mode: dr",
            Way::Tunnel => "mode: tunnel",
        }
    }

    /// Backends own the VIP.
    fn by_vip(self) -> bool {
        matches!(self, Way::Dr | Way::Tunnel)
    }
}

/// Hosts ready for a way, and what unwraps tunnelled packets where their kernel has nothing for it.
pub struct Service {
    pub net: Net,
    pub way: Way,
    _decaps: Vec<Program>,
}

impl Service {
    pub fn new(way: Way, hook: Hook) -> Service {
        Service::at(way, way.place(), hook)
    }

    pub fn at(way: Way, place: Place, hook: Hook) -> Service {
        Service::of(way, Net::build(place, hook))
    }

    /// With interfaces of lb that are made of others, which take packets by tc.
    pub fn upon(way: Way, below: Below) -> Service {
        Service::of(way, Net::build_upon(way.place(), Hook::Tc, below))
    }

    fn of(way: Way, net: Net) -> Service {
        if way.by_vip() {
            net.real_servers(way == Way::Tunnel);
        }
        let by_program = way == Way::Tunnel && !net.kernel_unwraps();
        let decaps = if by_program { net.backends.iter().map(Program::decap).collect() } else { Vec::new() };
        Service { net, way, _decaps: decaps }
    }

    /// Echo servers on both backends.
    pub fn echoes(&self, port: u16) -> [Echo; 2] {
        [0, 1].map(|nth| {
            let own = [0, 1].map(|family| self.net.backend(nth, family));
            let addresses = if self.way.by_vip() { VIP.map(str::to_owned) } else { own };
            Echo::start(&self.net.backends[nth], port, &[&addresses[0], &addresses[1]])
        })
    }

    /// iperf3 on port 5201 of both backends. Its datagrams have the right source only from a bound address.
    pub fn iperf3(&self) -> Vec<Running> {
        let mut servers = Vec::new();
        for (nth, host) in self.net.backends.iter().enumerate() {
            for (family, vip) in VIP.iter().enumerate() {
                let own = self.net.backend(nth, family);
                let address = if self.way.by_vip() { vip } else { own.as_str() };
                servers.push(Running::start_with(host, &format!("iperf3 -s -p 5201 -B {address}")));
            }
        }
        servers
    }

    /// One frontend for each family and protocol: `tcp4`, `tcp6`, `udp4`, `udp6` at `port` of the VIPs, over the
    /// pools `v4` and `v6`. `frontend` and `pool` are added to each.
    pub fn config(&self, port: u16, frontend: &str, pool: &str) -> String {
        self.config_with(port, frontend, [0, 1].map(|family| format!("{pool}, backends: [{}]", self.list(family))))
    }

    /// The same with pools of the test's own words.
    pub fn config_with(&self, port: u16, frontend: &str, pools: [String; 2]) -> String {
        let [v4, v6] = pools;
        let mut text = format!("l4: {{ attach: {}, flows: 65536 }}\nfrontends:\n", self.net.hook.word());
        for (family, vip) in [("4", VIP[0].to_owned()), ("6", format!("[{}]", VIP[1]))] {
            for (protocol, suffix) in [("tcp", ""), ("udp", "/udp")] {
                text += &format!(
                    "  {protocol}{family}: {{ {}, listen: \"{vip}:{port}{suffix}\", pool: v{family}{} }}\n",
                    self.way.keys(),
                    more(frontend)
                );
            }
        }
        text + &format!(
            "pools:\n  v4: {{ {} }}\n  v6: {{ {} }}\n",
            v4.trim_start_matches(", "),
            v6.trim_start_matches(", ")
        )
    }

    /// The backends, named like their hosts, without a port.
    pub fn list(&self, family: usize) -> String {
        format!("{}, {}", self.backend(family, 0), self.backend(family, 1))
    }

    pub fn backend(&self, family: usize, nth: usize) -> String {
        format!("{{ name: b{}, address: \"{}\" }}", nth + 1, self.net.backend(nth, family))
    }

    /// Starts lb, which must take its packets where the test wants.
    pub fn start(&self, config: &str) -> Lb {
        Lb::start_as(tempfile::tempdir().unwrap(), config, &[], &UNTIL_THE_TEST_ENDS)
    }
}

fn more(keys: &str) -> String {
    if keys.is_empty() { String::new() } else { format!(", {keys}") }
}

/// A port of the VIP of a family.
pub fn vip(family: usize, port: u16) -> SocketAddr {
    SocketAddr::new(VIP[family].parse().unwrap(), port)
}

/// The VIP as a URL has it.
pub fn url(family: usize, path: &str) -> String {
    format!("http://{}{path}", vip(family, 80))
}
