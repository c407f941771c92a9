//! The hosts of a test and the wires between them.
//!
//! ```text
//!                          lan 203.0.113.0/24                back 10.0.0.0/24
//! client .7 ---- .1 router .1 ------+------ .2 lb .1 (Behind) -----+---- .11 b1, .12 b2
//!   198.51.100.0/24      .1 (Far) --|-----------------------------+
//!                                   +------ .11 b1, .12 b2 (Near)
//! ```
//! IPv6 beside it: 2001:db8:1::/64, 2001:db8:2::/64, fd00::/64 with the same last numbers. The router sends
//! what is for the VIPs (.100 of the lan) to whoever answers for them there.

use std::path::Path;

use super::{Below, Space, Switch};

/// The service's addresses.
pub const VIP: [&str; 2] = ["203.0.113.100", "2001:db8:2::100"];
pub const CLIENT: [&str; 2] = ["198.51.100.7", "2001:db8:1::7"];

/// Where the backends are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On a network of lb's own; replies come back through lb.
    Behind,
    /// On the lan beside lb; replies go to the router, past lb.
    Near,
    /// On another network behind the router; replies go past lb.
    Far,
}

/// How lb is to take packets; with `Xdp` the other hosts' interfaces are made fit for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    Xdp,
    Tc,
}

impl Hook {
    pub fn word(self) -> &'static str {
        match self {
            Hook::Xdp => "xdp",
            Hook::Tc => "tc",
        }
    }
}

pub struct Net {
    pub client: Space,
    pub router: Space,
    /// The thread of the test stands here.
    pub lb: Space,
    pub backends: [Space; 2],
    pub place: Place,
    pub hook: Hook,
    below: Below,
    pub switch: Switch,
}

/// Builds the hosts, or ends the test with the reason why it cannot run here.
#[macro_export]
macro_rules! net {
    ($place:ident, $hook:expr) => {{
        if !$crate::harness::may_run() {
            return;
        }
        $crate::harness::Net::build($crate::harness::Place::$place, $hook)
    }};
}

impl Net {
    pub fn build(place: Place, hook: Hook) -> Net {
        Net::build_upon(place, hook, Below::Wire)
    }

    /// With interfaces of lb that are made of others.
    pub fn build_upon(place: Place, hook: Hook, below: Below) -> Net {
        let net = Net {
            client: Space::new("client"),
            router: Space::new("router"),
            switch: Switch::new(&["lan", "back"]),
            backends: [Space::new("b1"), Space::new("b2")],
            lb: Space::move_to("lb"),
            place,
            hook,
            below,
        };
        net.wire();
        net.address();
        net.forward();
        if hook == Hook::Xdp {
            net.fit_for_xdp();
        }
        net
    }

    fn wire(&self) {
        self.switch.cable(&self.client, "eth0", &self.router, "eth0");
        self.switch.port(&self.router, "eth1", "lan");
        self.below.port(&self.switch, &self.lb, "eth0", "lan");
        match self.place {
            Place::Behind => self.wire_back(),
            Place::Far => self.switch.port(&self.router, "eth2", "back"),
            Place::Near => (),
        }
        for backend in &self.backends {
            self.switch.port(backend, "eth0", if self.place == Place::Near { "lan" } else { "back" });
        }
    }

    fn address(&self) {
        host(&self.client, "eth0", "198.51.100.7/24", "2001:db8:1::7/64");
        gateway(&self.client, "198.51.100.1", "2001:db8:1::1");
        host(&self.router, "eth0", "198.51.100.1/24", "2001:db8:1::1/64");
        host(&self.router, "eth1", "203.0.113.1/24", "2001:db8:2::1/64");
        host(&self.lb, "eth0", "203.0.113.2/24", "2001:db8:2::2/64");
        host(&self.lb, "eth0", &format!("{}/32", VIP[0]), &format!("{}/128", VIP[1]));
        gateway(&self.lb, "203.0.113.1", "2001:db8:2::1");
        match self.place {
            Place::Behind => self.address_back(),
            Place::Far => host(&self.router, "eth2", "10.0.0.1/24", "fd00::1/64"),
            Place::Near => (),
        }
        for (backend, n) in self.backends.iter().zip(11..) {
            match self.place {
                Place::Near => {
                    host(backend, "eth0", &format!("203.0.113.{n}/24"), &format!("2001:db8:2::{n}/64"));
                    gateway(backend, "203.0.113.1", "2001:db8:2::1");
                }
                Place::Behind | Place::Far => {
                    host(backend, "eth0", &format!("10.0.0.{n}/24"), &format!("fd00::{n}/64"));
                    gateway(backend, "10.0.0.1", "fd00::1");
                }
            }
        }
    }

    /// lb's interface towards the backends.
    fn wire_back(&self) {
        self.below.port(&self.switch, &self.lb, "eth1", "back");
    }

    fn address_back(&self) {
        host(&self.lb, "eth1", "10.0.0.1/24", "fd00::1/64");
    }

    /// It was removed, and comes back as it was, but for its index.
    pub fn plug_in_again(&self) {
        self.wire_back();
        if self.hook == Hook::Xdp {
            self.fit_for_xdp();
        }
        self.address_back();
    }

    /// A second node beside lb, `.3` on its networks. It does not have the VIPs.
    pub fn plug_in_standby(&self, standby: &Space) {
        let mut interfaces = vec!["eth0"];
        self.switch.port(standby, "eth0", "lan");
        host(standby, "eth0", "203.0.113.3/24", "2001:db8:2::3/64");
        gateway(standby, "203.0.113.1", "2001:db8:2::1");
        if self.place == Place::Behind {
            interfaces.push("eth1");
            self.switch.port(standby, "eth1", "back");
            host(standby, "eth1", "10.0.0.3/24", "fd00::3/64");
        }
        forwards(standby);
        if self.hook == Hook::Xdp {
            self.switch.fit_for_xdp(standby, &interfaces);
        }
    }

    /// Nobody on the lan hears lb's host ask for addresses any more; everything else comes through.
    pub fn mute_lb(&self) {
        self.switch.space.nft(
            "table bridge mute {\nchain forward {\ntype filter hook forward priority 0\n\
             iifname lb-eth0 ether type arp drop\niifname lb-eth0 icmpv6 type nd-neighbor-solicit drop\n}\n}\n",
        );
    }

    /// Everybody gets everything that is sent on the networks.
    pub fn flood(&self) {
        ["lan", "back"].iter().for_each(|bridge| self.switch.flood(bridge));
    }

    fn forward(&self) {
        [&self.router, &self.lb].into_iter().for_each(forwards);
    }

    /// Senders compute checksums themselves, and the other ends of lb's interfaces take frames from XDP.
    fn fit_for_xdp(&self) {
        let senders = [&self.client, &self.router, &self.backends[0], &self.backends[1], &self.lb];
        for space in senders {
            for interface in space.interfaces() {
                space.run(&format!("ethtool -K {interface} tx off"));
            }
        }
        for socket in self.switch.space.interfaces().iter().filter(|i| i.starts_with("lb-")) {
            self.switch.space.run(&format!("ethtool -K {socket} gro on tx off"));
        }
    }

    /// The backends are made what `mode: dr` and `mode: tunnel` need, as their administrator would do it.
    pub fn real_servers(&self, tunnel: bool) {
        for backend in &self.backends {
            real_server(backend, "start", tunnel);
        }
    }

    /// The backends have interfaces that take packets out of IPIP and IP6IP6.
    pub fn kernel_unwraps(&self) -> bool {
        let has = |host: &Space, name| host.try_run(&format!("ip link show {name}")).status.success();
        self.backends.iter().all(|backend| ["tunl0", "ip6tnl0"].into_iter().all(|name| has(backend, name)))
    }

    /// The address of a backend as lb knows it, in the family of `VIP[family]`.
    pub fn backend(&self, nth: usize, family: usize) -> String {
        let prefix = match self.place {
            Place::Near => ["203.0.113.", "2001:db8:2::"],
            Place::Behind | Place::Far => ["10.0.0.", "fd00::"],
        };
        format!("{}{}", prefix[family], 11 + nth)
    }

    /// What the router may send towards the client in one packet, though both ends believe in 1,500.
    pub fn narrow_client_link(&self, mtu: u32) {
        self.router.ip(&format!("link set eth0 mtu {mtu}"));
    }

    /// The same towards the backends that are `Far`.
    pub fn narrow_back_link(&self, mtu: u32) {
        self.router.ip(&format!("link set eth2 mtu {mtu}"));
    }
}

/// Its clients stand on the client's host.
impl AsRef<Space> for Net {
    fn as_ref(&self) -> &Space {
        &self.client
    }
}

impl Space {
    /// All but the loopback.
    pub fn interfaces(&self) -> Vec<String> {
        let list = self.run("ip -br link show type veth");
        list.lines().map(|l| l.split(['@', ' ']).next().unwrap().to_owned()).collect()
    }
}

/// deploy/real-server/lb-real-server with both VIPs.
pub fn real_server(backend: &Space, verb: &str, tunnel: bool) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/real-server/lb-real-server");
    let option = if tunnel { "--tunnel" } else { "" };
    backend.run(&format!("{} {verb} {option} {} {}", script.display(), VIP[0], VIP[1]))
}

fn host(space: &Space, interface: &str, v4: &str, v6: &str) {
    space.ip(&format!("addr add {v4} dev {interface}\naddr add {v6} dev {interface} nodad"));
}

fn forwards(space: &Space) {
    space.sysctl("ipv4/ip_forward", "1");
    space.sysctl("ipv6/conf/all/forwarding", "1");
}

fn gateway(space: &Space, v4: &str, v6: &str) {
    space.ip(&format!("route add default via {v4}\nroute add default via {v6}"));
}
