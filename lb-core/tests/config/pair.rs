//! Nodes and virtual routers: who this is, what defaults are, what differs.

use std::path::Path;
use std::time::Duration;

use lb_core::config::{self, Config, Diagnostics, Identity, VirtualRouter, VrrpPeers, VrrpPreempt, VrrpVersion};

use super::{good, repository};

fn pair(identity: &Identity) -> Result<Config, Diagnostics> {
    let text = std::fs::read_to_string(repository().join("tests/config/good/pair.yaml")).unwrap();
    config::load_as(text, Path::new("lb.yaml"), &|_| None, identity).map(|loaded| loaded.config)
}

fn host(name: &str) -> Identity {
    Identity::Host(name.to_owned())
}

fn named(name: &str) -> Identity {
    Identity::Named(name.to_owned())
}

const FRONTENDS: &str = "frontends: { f: { listen: '0.0.0.0:80', routes: [{ respond: 200 }] } }\n";

fn router(nodes: &str, keys: &str) -> (Config, VirtualRouter) {
    let text = format!("{nodes}vrrp: {{ r: {{ interface: eth0, vrid: 1, {keys} }} }}\n{FRONTENDS}");
    let config = good(&text);
    let router = VirtualRouter::clone(&config.vrrp[0]);
    (config, router)
}

const NODES: &str = "nodes: { lb-a: { address: 10.0.0.2, priority: 150 }, lb-b: { address: 10.0.0.3 } }\n";

#[test]
fn a_node_finds_itself_by_the_name_of_its_host() {
    for identity in [host("lb-b"), host("lb-b.example.com"), named("lb-b")] {
        let config = pair(&identity).unwrap();
        assert_eq!(config.node().unwrap().address.to_string(), "10.0.0.3");
        assert_eq!(config.other_nodes().map(|node| &*node.name).collect::<Vec<_>>(), ["lb-a"]);
        assert_eq!(config.metrics.unwrap().listen.to_string(), "10.0.0.3:9600");
    }
    for identity in [Identity::None, host("www")] {
        let config = pair(&identity).unwrap();
        assert_eq!((config.node(), config.other_nodes().count()), (None, 2));
    }
}

#[test]
fn a_name_that_no_node_has_is_refused() {
    let why = pair(&named("lb-c")).unwrap_err().to_string();
    assert!(why.contains("this is to be node `lb-c`, which is not among the nodes"), "{why}");
    assert!(why.contains("did you mean `lb-a`?"), "{why}");
    assert!(config::load_as(FRONTENDS, Path::new("x"), &|_| None, &named("lb-c")).is_ok(), "there are no nodes");
}

#[test]
fn a_virtual_router_says_little() {
    let (config, v3) = router(NODES, "addresses: [203.0.113.10/24]");
    assert_eq!((v3.version, v3.interval), (VrrpVersion::V3, Duration::from_millis(100)));
    assert_eq!((v3.peers, v3.preempt), (VrrpPeers::Unicast, VrrpPreempt::After(Duration::ZERO)));
    assert_eq!(config.nodes.iter().map(|node| v3.priority_of(Some(node))).collect::<Vec<_>>(), [150, 100]);
    assert!(v3.accept && v3.pseudo_header && !v3.virtual_mac);
    let (_, v2) = router(NODES, "version: 2, addresses: [203.0.113.10/24]");
    assert_eq!(v2.interval, Duration::from_secs(1));
    let (_, v6) = router(NODES, "addresses: ['2001:db8::10/64']");
    assert_eq!(v6.peers, VrrpPeers::Multicast, "no node has an IPv6 address");
    let (_, alone) = router("", "addresses: [203.0.113.10/24]");
    assert_eq!((alone.peers, alone.priority_of(None)), (VrrpPeers::Multicast, 100));
}

#[test]
fn a_priority_of_its_own_goes_before_that_of_the_nodes() {
    let (config, some) = router(NODES, "addresses: [203.0.113.10/24], priority: { lb-b: 200 }");
    assert_eq!(config.nodes.iter().map(|node| some.priority_of(Some(node))).collect::<Vec<_>>(), [150, 200]);
    let (config, one) = router(NODES, "addresses: [203.0.113.10/24], priority: 7");
    assert_eq!(config.nodes.iter().map(|node| one.priority_of(Some(node))).collect::<Vec<_>>(), [7, 7]);
}

#[test]
fn an_owner_has_its_own_address() {
    let (config, router) = router(NODES, "addresses: [10.0.0.3/24], priority: { lb-b: 255 }");
    assert_eq!(router.priority_of(config.nodes.get(1)), 255);
}

#[test]
fn what_differs_is_told_by_virtual_router_and_node() {
    let (old, _) = router(NODES, "addresses: [203.0.113.10/24], garp: { refresh: off }");
    let nodes = NODES.replace("150", "200");
    let (new, _) = router(&nodes, "addresses: [203.0.113.10/24, 203.0.113.11/24], preempt_delay: never");
    let lines = config::diff(&old, &new).to_string();
    assert_eq!(
        lines,
        "~ virtual router r: preempt_delay 0s -> never, addresses [203.0.113.10/24] -> [203.0.113.10/24, 203.0.113.11/24], garp.refresh off -> 1m\n\
         ~ nodes.lb-a.priority 150 -> 200\n"
    );
    let gone = config::diff(&old, &good(FRONTENDS)).to_string();
    assert!(gone.starts_with("- virtual router r\n"), "{gone}");
}

#[test]
fn a_secret_is_read_from_its_file_and_shown_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, "between us\n").unwrap();
    let config = good(&format!("{NODES}sync: {{ secret_file: {} }}\n{FRONTENDS}", file.display()));
    let secret = config.sync.secret.clone().unwrap();
    assert_eq!(secret.read().unwrap(), b"between us");
    assert!(!format!("{config:?}{}", config::show(&config)).contains("between us"));
    std::fs::write(&file, "\n").unwrap();
    let why = secret.read().unwrap_err().to_string();
    assert!(why.contains(&file.display().to_string()), "{why}");
}
