//! What lb's interfaces are made of.

use super::{Space, Switch};

/// All but the first need what few test machines have and Debian's kernels do (tests/kernels).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Below {
    /// They are NICs.
    Wire,
    /// They are VLANs of one.
    Vlan,
    /// They are bonds of two NICs, of this mode.
    Bond(&'static str),
    /// They are bridges with a NIC in them.
    Bridge,
}

/// Of a bond.
pub const LEGS: [&str; 2] = ["a", "b"];

impl Below {
    /// Makes an interface of lb's that is plugged into a network.
    pub fn port(self, switch: &Switch, lb: &Space, interface: &str, network: &str) {
        match self {
            Below::Wire => switch.port(lb, interface, network),
            Below::Vlan => vlan(switch, lb, interface, network),
            Below::Bond(mode) => bond(switch, lb, interface, network, mode),
            Below::Bridge => bridge(switch, lb, interface, network),
        }
        lb.comes_up(interface);
    }
}

/// Tagged on the wire; the switch takes the tag off.
fn vlan(switch: &Switch, lb: &Space, interface: &str, network: &str) {
    let [nic, socket] = [format!("{interface}-nic"), format!("lb-{interface}-nic")];
    switch.cable(lb, &nic, &switch.space, &socket);
    lb.ip(&format!("link add link {nic} name {interface} type vlan id 7\nlink set {interface} up"));
    switch.space.ip(&format!(
        "link add link {socket} name lb-{interface} type vlan id 7\nlink set lb-{interface} master {network} up"
    ));
}

/// The switch is told of 802.3ad alone: the other modes are lb's own affair.
fn bond(switch: &Switch, lb: &Space, interface: &str, network: &str, mode: &str) {
    let make = |name: &str| format!("link add {name} type bond mode {mode} miimon 20\nlink set {name} up");
    let aggregates = mode == "802.3ad";
    let other = format!("lb-{interface}");
    lb.ip(&make(interface));
    if aggregates {
        switch.space.ip(&format!("{}\nlink set {other} master {network}", make(&other)));
    }
    for leg in LEGS {
        let [nic, socket] = [format!("{interface}-{leg}"), format!("lb-{interface}-{leg}")];
        switch.cable(lb, &nic, &switch.space, &socket);
        lb.ip(&joins(&nic, interface));
        switch.space.ip(&joins(&socket, if aggregates { &other } else { network }));
    }
}

/// A bond takes nobody in who is up.
fn joins(nic: &str, master: &str) -> String {
    format!("link set {nic} down\nlink set {nic} master {master}\nlink set {nic} up")
}

fn bridge(switch: &Switch, lb: &Space, interface: &str, network: &str) {
    let nic = format!("{interface}-nic");
    switch.port(lb, &nic, network);
    lb.ip(&format!(
        "link add {interface} type bridge mcast_snooping 0\nlink set {interface} up\nlink set {nic} master {interface}"
    ));
}
