//! The wires between hosts.

use super::Space;

/// A host of its own with bridges in it, to which other hosts are cabled.
pub struct Switch {
    pub space: Space,
}

impl Switch {
    pub fn new(bridges: &[&str]) -> Switch {
        let space = Space::new("switch");
        for bridge in bridges {
            space.ip(&format!("link add {bridge} type bridge mcast_snooping 0\nlink set {bridge} up"));
        }
        Switch { space }
    }

    /// Between two hosts, past the bridges. Carries from the first packet on.
    pub fn cable(&self, a: &Space, a_end: &str, b: &Space, b_end: &str) {
        self.space.ip(&format!(
            "link add name {a_end} netns {} type veth peer name {b_end} netns {}",
            a.path(),
            b.path()
        ));
        a.ip(&format!("link set {a_end} up"));
        b.ip(&format!("link set {b_end} up"));
        a.comes_up(a_end);
        b.comes_up(b_end);
    }

    /// It sends every frame to everybody from now on, as a switch that has learned nothing.
    pub fn flood(&self, bridge: &str) {
        for socket in self.sockets(bridge) {
            self.space.ip(&format!("link set {socket} type bridge_slave learning off flood on fdb_flush"));
        }
    }

    fn sockets(&self, bridge: &str) -> Vec<String> {
        let list = self.space.run(&format!("ip -br link show master {bridge}"));
        list.lines().map(|line| line.split(['@', ' ']).next().unwrap().to_owned()).collect()
    }

    /// What leaves there was not left to hardware to finish, and what comes is taken from XDP too.
    pub fn fit_for_xdp(&self, host: &Space, interfaces: &[&str]) {
        for interface in interfaces {
            host.run(&format!("ethtool -K {interface} tx off"));
            self.space.run(&format!("ethtool -K {} gro on tx off", socket(host, interface)));
        }
    }

    /// Into a socket of the switch that is named after the host.
    pub fn port(&self, host: &Space, interface: &str, bridge: &str) {
        let socket = socket(host, interface);
        self.cable(host, interface, &self.space, &socket);
        self.space.ip(&format!("link set {socket} master {bridge}"));
    }
}

/// Where a host's interface is plugged in.
pub fn socket(host: &Space, interface: &str) -> String {
    format!("{}-{interface}", host.name)
}
