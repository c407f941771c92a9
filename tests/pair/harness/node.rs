//! lb on both nodes.

use std::net::SocketAddr;
use std::process::Output;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::Net;
use super::net::{DR, GATEWAY, NAT, VIP};
use crate::hosts::Host;
use crate::shared::{Authority, Lb, emulated, eventually, get};

/// Two nodes and the hosts around them.
pub struct Pair {
    pub a: Node,
    pub b: Node,
    pub net: Net,
    looks: Looks,
    dir: TempDir,
}

/// In what pairs differ.
#[derive(Clone, Copy)]
pub struct Looks {
    pub attach: &'static str,
    pub virtual_mac: bool,
}

const USUAL: Looks = Looks { attach: "tc", virtual_mac: false };

pub struct Node {
    pub host: Host,
    name: &'static str,
    metrics: SocketAddr,
    lb: Option<Lb>,
}

impl Pair {
    /// Both nodes run, and `a` is active.
    pub fn start() -> Pair {
        Pair::start_as(USUAL)
    }

    pub fn start_as(looks: Looks) -> Pair {
        let mut pair = Pair::build(looks);
        let config = pair.config();
        pair.a.start(&config);
        pair.b.start(&config);
        pair.wait_for("a");
        eventually("they know each other's flows", || pair.a.is_in_step_with("b") && pair.b.is_in_step_with("a"));
        pair
    }

    fn build(looks: Looks) -> Pair {
        let (a, b) = (Node::new("a", "203.0.113.2:9600"), Node::new("b", "203.0.113.3:9600"));
        let net = Net::build([&a.host, &b.host]);
        if looks.attach == "xdp" {
            net.fit_for_xdp([&a.host, &b.host]);
        }
        let dir = tempfile::tempdir().unwrap();
        Authority::new(dir.path(), "ca").issue("site", &[VIP]);
        std::fs::write(dir.path().join("secret"), "between the two of us, and nobody else").unwrap();
        Pair { a, b, net, looks, dir }
    }

    /// One file for both nodes: layer 7 with TLS, nat and dr on the same address.
    pub fn config(&self) -> String {
        let dir = self.dir.path().display();
        let Looks { attach, virtual_mac } = self.looks;
        // A machine that is emulated is late more often than that.
        let interval = if emulated() { "500ms" } else { "50ms" };
        let backends = |prefix: &str| [11, 12, 13].map(|n| format!("\"{prefix}{n}\"")).join(", ");
        let mut text = format!(
            "
nodes:
  a: {{ address: 203.0.113.2, priority: 150 }}
  b: {{ address: 203.0.113.3, priority: 100 }}
sync: {{ secret_file: {dir}/secret }}
vrrp:
  front: {{ interface: eth0, vrid: 51, interval: {interval}, group: pair, virtual_mac: {virtual_mac}, addresses: [{VIP}/24] }}
  back: {{ interface: eth1, vrid: 52, interval: {interval}, group: pair, virtual_mac: {virtual_mac}, peers: multicast, addresses: [{GATEWAY}/24] }}
l4: {{ attach: {attach}, flows: 65536 }}
pools:
  site: {{ check: {{ http: {{ path: / }}, interval: 200ms }}, backends: [{}] }}
  nat: {{ backends: [{}] }}
  dr: {{ backends: [{}] }}
metrics: {{ listen: \"node:9600\" }}
admin: {{ socket: {SOCKET} }}
log: {{ level: debug, format: text }}
frontends:
  site:
    listen: {VIP}:443
    tls: {{ certificates: [{{ cert: {dir}/site.crt, key: {dir}/site.key }}] }}
    pool: site
",
            [11, 12, 13].map(|n| format!("\"10.0.0.{n}:80\"")).join(", "),
            backends("10.0.0."),
            backends("203.0.113."),
        );
        for (mode, port) in [("nat", NAT), ("dr", DR)] {
            for (name, protocol) in [("tcp", ""), ("udp", "/udp")] {
                text +=
                    &format!("  {mode}-{name}: {{ mode: {mode}, listen: \"{VIP}:{port}{protocol}\", pool: {mode} }}\n");
            }
        }
        text
    }

    /// Until this node, and only this one, holds the addresses.
    pub fn wait_for(&self, name: &str) {
        let (one, other) = if name == "a" { (&self.a, &self.b) } else { (&self.b, &self.a) };
        eventually(&format!("{name} is the active node"), || one.holds_all() && other.holds_none());
    }

    /// Until the standby has so many flows as well.
    pub fn wait_until_synchronised(&self, flows: usize) {
        eventually("the standby has the flows", || self.b.metric("lb_l4_flows", &[]) >= flows as f64);
    }

    /// Returns when the other node holds the addresses.
    pub fn lose_power_of_a(&mut self) {
        self.net.detach(&self.a.host.space);
        self.a.kill();
        eventually("b takes over", || self.b.holds_all());
    }

    /// With nothing in its kernel.
    pub fn return_power_of_a(&mut self) {
        self.a.cli_ok(&["detach"]);
        self.net.attach(&self.a.host.space);
        let config = self.config();
        self.a.start(&config);
    }

    pub fn certificate(&self) -> String {
        self.dir.path().join("ca.pem").display().to_string()
    }
}

/// In each node's own file system, so that one file fits both.
const SOCKET: &str = "/mnt/admin.sock";

impl Node {
    fn new(name: &'static str, metrics: &str) -> Node {
        Node { host: Host::new(name), name, metrics: metrics.parse().unwrap(), lb: None }
    }

    /// Waits until it serves.
    pub fn start(&mut self, config: &str) {
        let wrapper = self.host.wrapper(&[format!("LB_NODE={}", self.name)]);
        let words: Vec<&str> = wrapper.iter().map(String::as_str).collect();
        let mut lb = Lb::spawn(tempfile::tempdir().unwrap(), config, &[], &words);
        lb.wait_until_it_serves(self.metrics);
        self.lb = Some(lb);
    }

    /// Without a chance to say anything.
    pub fn kill(&mut self) {
        self.end(Signal::SIGKILL);
    }

    pub fn stop(&mut self) {
        self.end(Signal::SIGTERM);
    }

    fn end(&mut self, signal: Signal) {
        let mut lb = self.lb.take().unwrap();
        lb.signal(signal);
        lb.wait_for_exit();
    }

    /// An operator's command.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        let variables = [format!("LB_SOCKET={SOCKET}")];
        self.host.command(env!("CARGO_BIN_EXE_lb"), &variables).args(arguments).output().unwrap()
    }

    pub fn cli_ok(&self, arguments: &[&str]) -> String {
        let output = self.cli(arguments);
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "lb {arguments:?}: {}{}", said(&output.stdout), said(&output.stderr));
        said(&output.stdout)
    }

    pub fn reload(&mut self, config: &str) {
        self.lb.as_mut().unwrap().write_config(config);
        self.cli_ok(&["reload"]);
    }

    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        crate::shared::Samples::parse(&get(self.metrics, "/metrics").text()).sum(name, labels)
    }

    fn is_in_step_with(&self, other: &str) -> bool {
        self.metric("lb_peer_up", &[("node", other)]) == 1.0 && self.metric("lb_l4_sync_ready", &[]) == 1.0
    }

    /// The pair's addresses that this node's kernel has.
    fn held(&self) -> usize {
        let list = self.host.space.run("ip -o -4 address show");
        [VIP, GATEWAY].iter().filter(|address| list.contains(&format!(" {address}/"))).count()
    }

    pub fn holds_all(&self) -> bool {
        self.held() == 2
    }

    pub fn holds_none(&self) -> bool {
        self.held() == 0
    }
}
