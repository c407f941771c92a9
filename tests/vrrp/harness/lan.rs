use crate::hosts::{Space, Switch};

/// Addresses of the two hosts, of either family.
pub const OWN: [&str; 2] = ["10.0.0.2", "2001:db8::2"];
pub const PEER: [&str; 2] = ["10.0.0.3", "2001:db8::3"];

/// Two hosts, `eth0` of each on one wire.
pub struct Lan {
    /// The thread of the test stands here.
    pub lb: Space,
    pub peer: Space,
    pub switch: Switch,
}

/// Builds the hosts, or ends the test with the reason why it cannot run here.
#[macro_export]
macro_rules! lan {
    () => {{
        if !$crate::hosts::may_run() {
            return;
        }
        $crate::harness::Lan::build()
    }};
}

impl Lan {
    pub fn build() -> Lan {
        let lan = Lan { switch: Switch::new(&["lan"]), peer: Space::new("peer"), lb: Space::move_to("lb") };
        for (host, own) in [(&lan.lb, OWN), (&lan.peer, PEER)] {
            lan.switch.port(host, "eth0", "lan");
            host.ip(&format!("address add {}/24 dev eth0\naddress add {}/64 dev eth0 nodad", own[0], own[1]));
        }
        lan
    }
}
