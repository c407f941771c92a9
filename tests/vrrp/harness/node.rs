//! One of two lb nodes that share a file.

use std::process::ExitStatus;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{Lan, OWN, PEER};
use crate::hosts::{Space, UNTIL_THE_TEST_ENDS};
use crate::shared::{Lb, emulated, poll};

pub struct Node<'l> {
    pub lb: Lb,
    pub host: &'l Space,
}

/// `a` is preferred. In `vrrp`, the body of that section.
pub fn pair_config(vrrp: &str) -> String {
    format!(
        "nodes:\n  a: {{ address: {}, priority: 150 }}\n  b: {{ address: {}, priority: 100 }}\nvrrp:\n{vrrp}\n\
         frontends:\n  web: {{ mode: http, listen: @web, pool: web }}\n\
         pools:\n  web: {{ backends: [127.0.0.1:9] }}\n",
        OWN[0], PEER[0]
    )
}

/// One virtual router, `v`, with one address.
pub fn one(more: &str) -> String {
    let interval = if emulated() { "500ms" } else { "100ms" };
    let vip = Node::VIP;
    pair_config(&format!("  v: {{ interface: eth0, vrid: 51, interval: {interval}, addresses: [{vip}/24]{more} }}"))
}

impl<'l> Node<'l> {
    pub const VIP: &'static str = "10.0.0.100";

    pub fn start(host: &'l Space, name: &str, config: &str) -> Self {
        let (net, node) = (format!("--net={}", host.path()), format!("LB_NODE={name}"));
        let wrapper = [&["nsenter", &net, "env", &node], &UNTIL_THE_TEST_ENDS[..]].concat();
        let lb = Lb::spawn(tempfile::tempdir().unwrap(), config, &[], &wrapper);
        let node = Self { lb, host };
        poll("lb answers", || node.lb.cli(&["vrrp", "status"]).status.success().then_some(()));
        node
    }

    /// Both; `a` is active and `b` its backup.
    pub fn pair(lan: &'l Lan, config: &str) -> [Self; 2] {
        let nodes = [Self::start(&lan.lb, "a", config), Self::start(&lan.peer, "b", config)];
        nodes[0].await_role("active");
        nodes[1].await_role("backup");
        poll("b follows a", || (nodes[1].router("v")["active_router"] == OWN[0]).then_some(()));
        nodes
    }

    /// As `lb vrrp status` shows it.
    pub fn router(&self, name: &str) -> Value {
        let routers: Vec<Value> = serde_json::from_str(&self.lb.cli_ok(&["vrrp", "status", "--json"])).unwrap();
        routers.into_iter().find(|router| router["name"] == name).unwrap_or(Value::Null)
    }

    pub fn role(&self) -> String {
        self.router("v")["role"].as_str().unwrap_or_default().to_owned()
    }

    pub fn await_role(&self, role: &str) {
        poll(&format!("{} is {role}", self.host.name), || (self.role() == role).then_some(()));
        if role != "active" {
            poll(&format!("{} has let go", self.host.name), || (!self.has(Self::VIP)).then_some(()));
        } else {
            poll(&format!("{} has the address", self.host.name), || self.has(Self::VIP).then_some(()));
        }
    }

    /// Whether the address stands on an interface of the host.
    pub fn has(&self, address: &str) -> bool {
        self.addresses().iter().any(|known| known == address)
    }

    /// All of the host, with those of other virtual routers and of nobody.
    pub fn addresses(&self) -> Vec<String> {
        let text = self.host.run("ip -o address show");
        let address = |line: &str| Some(line.split_whitespace().nth(3)?.split('/').next()?.to_owned());
        text.lines().filter_map(address).collect()
    }

    /// Changes of role so far, by the role that was taken up.
    pub fn changes_to(&self, role: &str) -> u64 {
        self.router("v")["counts"]["transitions"][role].as_u64().unwrap()
    }

    pub fn end(mut self, signal: Signal) -> ExitStatus {
        self.lb.signal(signal);
        self.lb.wait_for_exit()
    }
}
