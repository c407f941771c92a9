//! What a host needs to be one of several nodes that hold virtual addresses between them.

use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use lb_core::config::{Config, Node, Secret, VirtualRouter};

use super::firewall::{Fate, Packet, Ruleset};
use super::interface::{self, interface_of};
use super::machine::Machine;
use super::{segment, thread};
use crate::verbs::finding::{Finding, finding, problem, warning};

/// IP protocol numbers.
const UDP: u8 = 17;
const VRRP: u8 = 112;

pub fn examine(machine: &Machine, config: &Config) -> Vec<Finding> {
    if config.nodes.is_empty() && config.vrrp.is_empty() {
        return Vec::new();
    }
    let addresses = machine.output("ip", &["-o", "address", "show"]).unwrap_or_default();
    let mut findings = of_nodes(config, &addresses);
    findings.extend(firewall(machine, config, &addresses));
    findings.extend(secrets(config));
    if !config.vrrp.is_empty() {
        findings.extend(thread::examine(machine));
        findings.push(listening(machine));
        findings.extend(config.vrrp.iter().flat_map(|router| interface::examine(machine, config, router, &addresses)));
        findings.extend(of_the_segment(machine, config));
    }
    findings
}

/// Does this one have the address that the others know?
fn of_nodes(config: &Config, addresses: &str) -> Vec<Finding> {
    let Some(node) = config.node() else { return Vec::new() };
    let own = [Some(node.address), node.address6.map(IpAddr::V6)].into_iter().flatten();
    own.map(|address| {
        let result = match interface_of(addresses, address) {
            Some(interface) => Ok(format!("{address} stands on {interface}")),
            None => Err(problem(format!("no interface has {address}, which the other nodes send to"))),
        };
        finding(format!("node {}", node.name), result).or_fix("the address that this host has, under `nodes`")
    })
    .collect()
}

/// Whether what the other nodes send would come in.
fn firewall(machine: &Machine, config: &Config, addresses: &str) -> Vec<Finding> {
    let Some(json) = machine.output("nft", &["-j", "list", "ruleset"]) else {
        return vec![
            finding("firewall", Err(warning("the rules cannot be read")))
                .or_fix("install nftables, and run lb doctor as root; let IP protocol 112 and the sync port in"),
        ];
    };
    let Some(rules) = Ruleset::parse(&json) else { return Vec::new() };
    let own = config.node().and_then(|node| interface_of(addresses, node.address)).unwrap_or_default();
    let mut findings: Vec<_> = config.other_nodes().map(|node| sync_port(&rules, config, node, own)).collect();
    findings.extend(config.vrrp.iter().flat_map(|router| adverts(&rules, config, router)));
    findings
}

fn sync_port(rules: &Ruleset, config: &Config, node: &Node, interface: &str) -> Finding {
    let packet = Packet { source: node.address, protocol: UDP, port: Some(config.sync.port), interface };
    let what = format!("node {}: datagrams to UDP port {}", node.name, config.sync.port);
    judged(what, rules, &packet, &format!("udp dport {}", config.sync.port))
}

/// From each of the other nodes, as far as they are known.
fn adverts(rules: &Ruleset, config: &Config, router: &VirtualRouter) -> Vec<Finding> {
    let sources = config.other_nodes().filter_map(|node| Some((node, node.address_of(router.is_v6())?)));
    sources
        .map(|(node, source)| {
            let packet = Packet { source, protocol: VRRP, port: None, interface: &router.interface };
            let field = if source.is_ipv4() { "ip protocol 112" } else { "meta l4proto 112" };
            judged(format!("virtual router {}: adverts of {}", router.name, node.name), rules, &packet, field)
        })
        .collect()
}

fn judged(what: String, rules: &Ruleset, packet: &Packet<'_>, condition: &str) -> Finding {
    let (result, chain) = match rules.fate(packet) {
        Fate::Accepted => (Ok("are let in by the firewall".to_owned()), String::new()),
        Fate::Dropped(chain) => (Err(problem(format!("the firewall drops them, in chain `{chain}`"))), chain),
        Fate::Doubtful(chain) => {
            (Err(warning(format!("chain `{chain}` may drop them: not all of it could be read"))), chain)
        }
    };
    let source = if packet.source.is_ipv4() { "ip" } else { "ip6" };
    finding(what, result).or_fix(format!("nft insert rule {chain} {source} saddr {} {condition} accept", packet.source))
}

/// Where they are readable to others, they are no secrets.
fn secrets(config: &Config) -> Vec<Finding> {
    let keys = config.vrrp.iter().flat_map(|router| router.auth.keys());
    let keys = keys.map(|key| of_secret(&key.secret, key.read()));
    keys.chain(config.sync.secret.iter().map(|secret| of_secret(secret, secret.read()))).collect()
}

fn of_secret(secret: &Secret, read: io::Result<Vec<u8>>) -> Finding {
    let path = secret.0.display();
    let protect = format!("chgrp lb {path}; chmod 640 {path}");
    let (result, fix) = match read {
        Err(error) => {
            let make = "head -c 32 /dev/urandom | base64";
            (Err(problem(error)), format!("{make} >{path}, on one node, copied to the others; {protect}"))
        }
        Ok(_) if std::fs::metadata(&secret.0).is_ok_and(|file| file.permissions().mode() & 0o004 != 0) => {
            (Err(warning("everybody on this host can read it")), protect)
        }
        Ok(bytes) => (Ok(format!("{} bytes", bytes.len())), String::new()),
    };
    finding(format!("secret {path}"), result).or_fix(fix)
}

/// Other programs may need it; lb does not.
fn listening(machine: &Machine) -> Finding {
    let found = machine.sysctl("net.ipv4.ip_nonlocal_bind").unwrap_or_else(|| "unknown".to_owned());
    let text = format!("{found}: lb listens on virtual addresses that it does not hold either way");
    finding("net.ipv4.ip_nonlocal_bind", Ok(text))
}

fn of_the_segment(machine: &Machine, config: &Config) -> Vec<Finding> {
    let there =
        |router: &&VirtualRouter| machine.read(&format!("sys/class/net/{}/ifindex", router.interface)).is_some();
    let routers: Vec<&VirtualRouter> = config.vrrp.iter().map(|router| &**router).filter(there).collect();
    let is_running = UnixStream::connect(&config.admin.socket).is_ok();
    match segment::listen(&routers) {
        Ok(heard) => {
            let pairs = routers.iter().zip(heard).filter_map(|(router, heard)| Some((router, heard?)));
            pairs.flat_map(|(router, heard)| heard.findings(router, is_running)).collect()
        }
        Err(error) => vec![
            finding("VRRP: network", Err(warning(format!("nobody could listen: {error}"))))
                .or_fix("run lb doctor as root"),
        ],
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use lb_core::config::HmacKey;
    use tempfile::TempDir;

    use super::*;
    use crate::verbs::doctor::fixtures::{ADDRESSES, assert_one, config};

    #[test]
    fn a_node_has_the_address_that_the_others_know() {
        let lines =
            |identity| of_nodes(&config(identity, ""), ADDRESSES).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(lines("lb-a"), ["ok       node lb-a: 10.0.0.2 stands on eth0"]);
        assert_one(&lines("lb-b"), "PROBLEM", "no interface has 10.0.0.3");
    }

    #[test]
    fn a_secret_is_there_long_enough_and_nobody_elses() {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("key");
        let key = HmacKey { id: 1, secret: Secret(file.clone()) };
        let line = || of_secret(&key.secret, key.read()).to_string();
        assert!(line().starts_with("PROBLEM") && line().contains("No such file"), "{}", line());
        fs::write(&file, "short").unwrap();
        assert!(line().contains("a key has 32 to 64 bytes, not 5"), "{}", line());
        fs::write(&file, "x".repeat(32)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(line().starts_with("warning") && line().contains("everybody"), "{}", line());
        assert!(!line().contains("urandom"), "what is there stays: {}", line());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(line().starts_with("ok"), "{}", line());
    }
}
