//! The hosts of a test and the wires between them.
//!
//! ```text
//!             lan 203.0.113.0/24                      back 10.0.0.0/24
//! client .7 ----+---- .2 a .2 ---------------------------+
//!               +---- .3 b .3 ---------------------------+
//!               +------------------ .11-.13 b1 b2 b3 ----+ .11-.13
//! ```
//! The pair's addresses: .10 for everything on the lan, and 10.0.0.1, which backends send nat's replies to. With
//! dr they answer the client themselves, by their own interface on the lan.

use std::net::SocketAddr;

use crate::hosts::{Echo, Host, Space, Switch, Web, socket};

pub const VIP: &str = "203.0.113.10";
pub const GATEWAY: &str = "10.0.0.1";
pub const NAT: u16 = 7000;
pub const DR: u16 = 7001;
pub const SITE: &str = "https://203.0.113.10/";

pub fn nat() -> SocketAddr {
    SocketAddr::new(VIP.parse().unwrap(), NAT)
}

pub fn dr() -> SocketAddr {
    SocketAddr::new(VIP.parse().unwrap(), DR)
}

pub struct Net {
    /// The thread of the test stands here.
    pub client: Space,
    pub backends: [Space; 3],
    switch: Switch,
}

impl Net {
    /// With the nodes plugged in.
    pub fn build(nodes: [&Host; 2]) -> Net {
        let net = Net {
            client: Space::move_to("client"),
            backends: [Space::new("b1"), Space::new("b2"), Space::new("b3")],
            switch: Switch::new(&["lan", "back"]),
        };
        net.switch.port(&net.client, "eth0", "lan");
        net.client.ip("addr add 203.0.113.7/24 dev eth0");
        for (node, nth) in nodes.into_iter().zip(2..) {
            net.wire_node(&node.space, nth);
        }
        for (backend, nth) in net.backends.iter().zip(11..) {
            net.wire_backend(backend, nth);
        }
        net
    }

    fn wire_node(&self, node: &Space, nth: u8) {
        self.switch.port(node, "eth0", "lan");
        self.switch.port(node, "eth1", "back");
        node.ip(&format!("addr add 203.0.113.{nth}/24 dev eth0\naddr add 10.0.0.{nth}/24 dev eth1"));
        node.sysctl("ipv4/ip_forward", "1");
    }

    fn wire_backend(&self, backend: &Space, nth: u8) {
        self.switch.port(backend, "eth0", "back");
        self.switch.port(backend, "eth1", "lan");
        // As deploy/real-server does it.
        backend.sysctl("ipv4/conf/all/arp_ignore", "1");
        backend.sysctl("ipv4/conf/all/arp_announce", "2");
        backend.ip(&format!(
            "addr add 10.0.0.{nth}/24 dev eth0\naddr add 203.0.113.{nth}/24 dev eth1\naddr add {VIP}/32 dev lo\n\
             route add default via {GATEWAY} table 100\nrule add from 10.0.0.0/24 to 203.0.113.0/24 table 100"
        ));
    }

    /// The other hosts' interfaces too are made as XDP on these wants them.
    pub fn fit_for_xdp(&self, nodes: [&Host; 2]) {
        self.switch.fit_for_xdp(&self.client, &["eth0"]);
        let backends = self.backends.iter();
        backends.chain(nodes.map(|node| &node.space)).for_each(|s| self.switch.fit_for_xdp(s, &["eth0", "eth1"]));
    }

    /// Everybody gets everything that is sent on both networks.
    pub fn flood(&self) {
        ["lan", "back"].iter().for_each(|bridge| self.switch.flood(bridge));
    }

    /// nginx on all backends.
    pub fn web(&self) -> Web {
        Web::start(&self.backends, 1)
    }

    /// Echo servers for nat and for dr.
    pub fn echoes(&self) -> Vec<Echo> {
        let mut echoes = Vec::new();
        for (backend, nth) in self.backends.iter().zip(11..) {
            echoes.push(Echo::start(backend, NAT, &[&format!("10.0.0.{nth}")]));
            echoes.push(Echo::start(backend, DR, &[VIP]));
        }
        echoes
    }

    /// Takes a node off both networks, as if it had lost its power.
    pub fn detach(&self, node: &Space) {
        for interface in ["eth0", "eth1"] {
            self.switch.space.ip(&format!("link set {} nomaster", socket(node, interface)));
        }
    }

    pub fn attach(&self, node: &Space) {
        for (interface, bridge) in [("eth0", "lan"), ("eth1", "back")] {
            self.switch.space.ip(&format!("link set {} master {bridge}", socket(node, interface)));
        }
    }

    /// Nothing goes from one of the nodes to the other any more; everybody else reaches both.
    pub fn cut(&self) {
        let mut rules = "table bridge cut {\nchain forward {\ntype filter hook forward priority 0\n".to_owned();
        for (one, other) in [("a", "b"), ("b", "a")] {
            for interface in ["eth0", "eth1"] {
                rules += &format!("iifname {one}-{interface} oifname {other}-{interface} drop\n");
            }
        }
        self.switch.space.nft(&(rules + "}\n}\n"));
    }

    /// Adverts do not come through between the nodes; everything else does.
    pub fn cut_adverts(&self) {
        self.switch.space.nft(
            "table bridge cut {\nchain forward {\ntype filter hook forward priority 0\nip protocol 112 drop\n}\n}\n",
        );
    }

    pub fn heal(&self) {
        self.switch.space.nft("delete table bridge cut\n");
    }

    /// What the nodes tell each other, and nothing else, gets lost and overtaken between them.
    pub fn lose_between_nodes(&self) {
        for (node, from) in [("a", 3), ("b", 2)] {
            let port = format!("{node}-eth0");
            let tc = |line: String| self.switch.space.run(&format!("tc {line}"));
            tc(format!("qdisc add dev {port} root handle 1: prio priomap 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"));
            tc(format!("qdisc add dev {port} parent 1:3 handle 3: netem loss 20% delay 10ms 9ms"));
            tc(format!(
                "filter add dev {port} parent 1: protocol ip u32 match ip protocol 17 0xff \
                 match ip src 203.0.113.{from}/32 flowid 1:3"
            ));
        }
    }

    /// What did not reach a node by this.
    pub fn lost_between_nodes(&self, node: &str) -> u64 {
        let list = self.switch.space.run(&format!("tc -s -j qdisc show dev {node}-eth0"));
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        let netem = list.as_array().unwrap().iter().find(|qdisc| qdisc["kind"] == "netem").unwrap();
        netem["drops"].as_u64().unwrap()
    }

    /// A client behind a router, which sends what is for the pair's address to whoever announced it last, and does not ask
    /// for a long time whether that holds. The nodes have their default route over it.
    pub fn far_client(&self, nodes: [&Host; 2]) -> FarClient {
        let (router, client) = (Space::new("router"), Space::new("far"));
        self.switch.port(&router, "eth0", "lan");
        self.switch.cable(&router, "eth1", &client, "eth0");
        router.ip("addr add 203.0.113.1/24 dev eth0\naddr add 198.51.100.1/24 dev eth1");
        client.ip("addr add 198.51.100.7/24 dev eth0\nroute add default via 198.51.100.1");
        router.sysctl("ipv4/ip_forward", "1");
        router.sysctl("ipv4/neigh/eth0/delay_first_probe_time", "120");
        nodes.iter().for_each(|node| node.space.ip("route add default via 203.0.113.1"));
        for backend in &self.backends {
            backend.ip(&format!("route add default via {GATEWAY}"));
        }
        FarClient { client, _router: router }
    }
}

pub struct FarClient {
    pub client: Space,
    _router: Space,
}

impl AsRef<Space> for FarClient {
    fn as_ref(&self) -> &Space {
        &self.client
    }
}

impl AsRef<Space> for Net {
    fn as_ref(&self) -> &Space {
        &self.client
    }
}
