//! What a host needs to be one of several nodes that hold virtual addresses between them.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use lb_core::config::{Config, Node, Secret, VirtualRouter, VrrpAuth, VrrpPeers};

use super::firewall::{Fate, Packet, Ruleset};
use super::machine::Machine;
use super::segment;
use crate::verbs::finding::{Finding, Result, finding, problem, warning};

/// Numbers from linux/capability.h.
const NEEDED: [(&str, u64); 2] = [("CAP_NET_ADMIN", 12), ("CAP_NET_RAW", 13)];
const SYS_NICE: u64 = 23;
const IPC_LOCK: u64 = 14;
/// IP protocol numbers.
const UDP: u8 = 17;
const VRRP: u8 = 112;
/// Per cent of ten seconds in which somebody waited for a CPU (Documentation/accounting/psi.rst).
const STARVED: f64 = 40.0;

pub fn examine(machine: &Machine, config: &Config) -> Vec<Finding> {
    if config.nodes.is_empty() && config.vrrp.is_empty() {
        return Vec::new();
    }
    let addresses = machine.output("ip", &["-o", "address", "show"]).unwrap_or_default();
    let mut findings = of_nodes(config, &addresses);
    findings.extend(firewall(machine, config, &addresses));
    findings.extend(secrets(config));
    if !config.vrrp.is_empty() {
        findings.extend(of_the_thread(machine));
        findings.push(listening(machine));
        findings.extend(config.vrrp.iter().flat_map(|router| of_interface(machine, config, router, &addresses)));
        findings.extend(of_the_segment(machine, config));
    }
    findings
}

/// Which one this is, and does it have the address that the others know?
fn of_nodes(config: &Config, addresses: &str) -> Vec<Finding> {
    if config.nodes.is_empty() {
        return Vec::new();
    }
    let Some(node) = config.node() else {
        let names: Vec<_> = config.nodes.iter().map(|node| &*node.name).collect();
        let why = format!("this host is none of {}", names.join(", "));
        return vec![finding("node", Err(problem(why))).or_fix("LB_NODE=NAME in /etc/default/lb, or --node NAME")];
    };
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

/// In what `ip -o address show` says.
fn interface_of(addresses: &str, address: IpAddr) -> Option<&str> {
    let written = format!(" {address}/");
    addresses.lines().find(|line| line.contains(&written))?.split_whitespace().nth(1)
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
    let what = format!("node {}: UDP port {}", node.name, config.sync.port);
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
    let keys = config.vrrp.iter().filter_map(|router| match &router.auth {
        VrrpAuth::Hmac(hmac) => Some(hmac.keys.iter().map(|key| (&key.secret, 32..=64))),
        VrrpAuth::None | VrrpAuth::Password(_) => None,
    });
    let sync = config.sync.secret.iter().map(|secret| (secret, 1..=usize::MAX));
    keys.flatten().chain(sync).map(|(secret, sizes)| of_secret(secret, &sizes)).collect()
}

fn of_secret(secret: &Secret, sizes: &std::ops::RangeInclusive<usize>) -> Finding {
    let path = secret.0.display();
    let result = match secret.read() {
        Err(error) => Err(problem(error)),
        Ok(bytes) if !sizes.contains(&bytes.len()) => {
            Err(problem(format!("has {} bytes, and needs {} to {}", bytes.len(), sizes.start(), sizes.end())))
        }
        Ok(_) if std::fs::metadata(&secret.0).is_ok_and(|file| file.permissions().mode() & 0o004 != 0) => {
            Err(warning("everybody on this host can read it"))
        }
        Ok(bytes) => Ok(format!("{} bytes", bytes.len())),
    };
    finding(format!("secret {path}"), result).or_fix(format!(
        "head -c 32 /dev/urandom | base64 >{path}, on one node, copied to the others; chgrp lb {path}; chmod 640 {path}"
    ))
}

/// What the thread of the virtual routers needs to be in time.
fn of_the_thread(machine: &Machine) -> Vec<Finding> {
    vec![
        finding("VRRP: capabilities", capabilities(machine)).or_fix("run lb as root, or by its systemd unit"),
        finding("VRRP: real time", real_time(machine))
            .or_fix("LimitRTPRIO=50 in the unit, and sysctl -w kernel.sched_rt_runtime_us=950000"),
        finding("VRRP: memory", locked_memory(machine)).or_fix("LimitMEMLOCK=infinity in the unit"),
        finding("VRRP: CPU", starvation(machine))
            .or_fix("fewer or lighter programs beside lb: adverts that are late are a failover"),
    ]
}

fn capabilities(machine: &Machine) -> Result {
    let has = machine.capabilities();
    let missing: Vec<_> = NEEDED.iter().filter(|(_, bit)| has >> bit & 1 == 0).map(|(name, _)| *name).collect();
    match missing.as_slice() {
        [] => Ok("CAP_NET_ADMIN and CAP_NET_RAW".to_owned()),
        missing => Err(warning(format!("this user lacks {}; lb needs them", missing.join(", ")))),
    }
}

fn real_time(machine: &Machine) -> Result {
    if machine.sysctl("kernel.sched_rt_runtime_us").as_deref() == Some("0") {
        return Err(problem("kernel.sched_rt_runtime_us = 0: no thread may run in real time"));
    }
    let may = machine.capabilities() >> SYS_NICE & 1 == 1 || machine.limit("Max realtime priority") != Some(0);
    match may {
        true => Ok("its thread may run before others".to_owned()),
        false => Err(warning("its thread has to wait its turn: a busy host may delay adverts")),
    }
}

fn locked_memory(machine: &Machine) -> Result {
    match machine.capabilities() >> IPC_LOCK & 1 == 1 || machine.limit("Max locked memory").is_none() {
        true => Ok("can be locked".to_owned()),
        false => Err(warning("cannot be locked: a host short of memory may delay adverts")),
    }
}

fn starvation(machine: &Machine) -> Result {
    let pressure = machine.read("proc/pressure/cpu").unwrap_or_default();
    let average = pressure.split_whitespace().find_map(|word| word.strip_prefix("avg10=")?.parse::<f64>().ok());
    match average {
        Some(percent) if percent > STARVED => {
            Err(warning(format!("in {percent:.0} % of the last ten seconds, somebody waited for a CPU")))
        }
        Some(percent) => Ok(format!("waited for in {percent:.0} % of the last ten seconds")),
        None => Ok("the kernel does not say how much it is waited for".to_owned()),
    }
}

/// Other programs may need it; lb does not.
fn listening(machine: &Machine) -> Finding {
    let found = machine.sysctl("net.ipv4.ip_nonlocal_bind").unwrap_or_else(|| "unknown".to_owned());
    let text = format!("{found}: lb listens on virtual addresses that it does not hold either way");
    finding("net.ipv4.ip_nonlocal_bind", Ok(text))
}

fn of_interface(machine: &Machine, config: &Config, router: &VirtualRouter, addresses: &str) -> Vec<Finding> {
    let (what, name) = (format!("virtual router {}", router.name), &router.interface);
    let up = finding(what.clone(), is_up(machine, name))
        .or_fix(format!("ip link set {name} up, or the interface that this host has"));
    if machine.read(&format!("sys/class/net/{name}/ifindex")).is_none() {
        return vec![up];
    }
    let mut findings = vec![up];
    findings.extend(source(config, router, addresses).map(|result| {
        finding(what.clone(), result).or_fix("`interface`: the one that has this node's address, or `peers: multicast`")
    }));
    if router.is_v6() {
        let on = format!("net.ipv6.conf.{name}.disable_ipv6");
        let off = machine.sysctl(&on).is_some_and(|value| value != "0");
        let result = if off { Err(problem(format!("{on} is on"))) } else { Ok(format!("{on} is off")) };
        findings.push(finding(what, result).or_fix(format!("sysctl -w {on}=0")));
        return findings;
    }
    findings.push(
        finding(what.clone(), answers(machine, name))
            .or_fix(format!("sysctl -w net.ipv4.conf.all.arp_ignore=0 net.ipv4.conf.{name}.arp_ignore=0")),
    );
    findings
        .push(finding(what.clone(), announces(machine, router)).or_fix("sysctl -w net.ipv4.conf.all.arp_announce=2"));
    findings.push(
        finding(what.clone(), routes_back(machine, router))
            .or_fix("sysctl -w net.ipv4.conf.all.rp_filter=0 (the stricter of `all` and the interface's own holds)"),
    );
    findings.push(
        finding(what, promotes(machine, name)).or_fix(format!("sysctl -w net.ipv4.conf.{name}.promote_secondaries=1")),
    );
    findings
}

fn is_up(machine: &Machine, name: &str) -> Result {
    let read = |file: &str| machine.read(&format!("sys/class/net/{name}/{file}"));
    match (read("flags"), read("carrier").as_deref()) {
        (None, _) => Err(problem(format!("there is no interface {name}"))),
        (Some(flags), _) if !is_set(&flags, 1) => Err(problem(format!("{name} is down"))),
        (Some(_), Some("0")) => Err(problem(format!("{name} has no carrier"))),
        (Some(_), _) => Ok(format!("{name} is up")),
    }
}

fn is_set(flags: &str, bit: u32) -> bool {
    u32::from_str_radix(flags.trim_start_matches("0x"), 16).is_ok_and(|flags| flags & bit == bit)
}

/// Unicast adverts are sent to the node's address, and heard on the virtual router's interface only.
fn source(config: &Config, router: &VirtualRouter, addresses: &str) -> Option<Result> {
    let own = config.node().filter(|_| router.peers == VrrpPeers::Unicast)?.address_of(router.is_v6())?;
    let interface = interface_of(addresses, own)?;
    Some(match interface == router.interface {
        true => Ok(format!("adverts go to {own}, on {interface}")),
        false => Err(problem(format!(
            "adverts go to {own}, on {interface}, and {} listens on {}",
            router.name, router.interface
        ))),
    })
}

/// ip-sysctl.rst: from 2 on not every question for a local address is answered.
fn answers(machine: &Machine, name: &str) -> Result {
    match machine.strictest("arp_ignore", name) {
        Some(value @ 2..) => {
            Err(problem(format!("arp_ignore = {value} on {name}: some clients get no answer about the addresses")))
        }
        Some(value) => Ok(format!("arp_ignore = {value} on {name}")),
        None => Err(warning(format!("arp_ignore of {name} cannot be read"))),
    }
}

/// With a virtual MAC, two interfaces stand in one network, and the wrong one must not speak for the addresses.
fn announces(machine: &Machine, router: &VirtualRouter) -> Result {
    match machine.strictest("arp_announce", &router.interface) {
        Some(value) if value < 2 && router.virtual_mac => Err(warning(format!(
            "arp_announce = {value}: {} may ask with a virtual address and its own MAC",
            router.interface
        ))),
        Some(value) => Ok(format!("arp_announce = {value} on {}", router.interface)),
        None => Err(warning("arp_announce cannot be read")),
    }
}

fn routes_back(machine: &Machine, router: &VirtualRouter) -> Result {
    let all = machine.strictest("rp_filter", "all");
    match (machine.strictest("rp_filter", &router.interface), all) {
        (_, Some(1)) if router.virtual_mac => {
            Err(problem("rp_filter = 1 for all interfaces: what is sent to the virtual MAC is dropped"))
        }
        (Some(value), _) => Ok(format!("rp_filter = {value} on {}", router.interface)),
        (None, _) => Err(warning("rp_filter cannot be read")),
    }
}

fn promotes(machine: &Machine, name: &str) -> Result {
    match machine.strictest("promote_secondaries", name) {
        Some(0) => Err(warning(format!(
            "promote_secondaries = 0 on {name}: lb sets it while it runs; without it, virtual addresses go with the first address of their network"
        ))),
        Some(_) => Ok(format!("promote_secondaries is on for {name}")),
        None => Err(warning(format!("promote_secondaries of {name} cannot be read"))),
    }
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
    use std::path::Path;

    use lb_core::config::{self, Identity};
    use tempfile::TempDir;

    use super::*;

    const ADDRESSES: &str = "1: lo    inet 127.0.0.1/8 scope host lo\n2: eth0    inet 10.0.0.2/24 scope global eth0\n";

    fn config(identity: &str, keys: &str) -> Config {
        let text = format!(
            "nodes: {{ lb-a: {{ address: 10.0.0.2 }}, lb-b: {{ address: 10.0.0.3 }} }}\n\
             vrrp: {{ r: {{ interface: eth0, vrid: 51, addresses: [203.0.113.10/24], {keys} }} }}\n\
             frontends: {{ f: {{ listen: '0.0.0.0:80', routes: [{{ respond: 200 }}] }} }}"
        );
        let identity = Identity::Host(identity.to_owned());
        let loaded = config::load_as(text, Path::new("lb.yaml"), &|_| None, &identity);
        loaded.unwrap_or_else(|problems| panic!("{problems}")).config
    }

    fn machine(files: &[(&str, &str)]) -> (TempDir, Machine) {
        let dir = TempDir::new().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let machine = Machine::at(dir.path());
        (dir, machine)
    }

    fn eth0(files: &[(&str, &str)], keys: &str) -> Vec<String> {
        let fit = [
            ("sys/class/net/eth0/ifindex", "2"),
            ("sys/class/net/eth0/flags", "0x1003"),
            ("sys/class/net/eth0/carrier", "1"),
            ("proc/sys/net/ipv4/conf/all/arp_ignore", "0"),
            ("proc/sys/net/ipv4/conf/all/arp_announce", "0"),
            ("proc/sys/net/ipv4/conf/all/rp_filter", "0"),
            ("proc/sys/net/ipv4/conf/all/promote_secondaries", "1"),
        ];
        let (_dir, machine) = machine(&[&fit, files].concat());
        let config = config("lb-a", keys);
        let findings = of_interface(&machine, &config, &config.vrrp[0], ADDRESSES);
        findings.iter().map(ToString::to_string).collect()
    }

    fn assert_one(lines: &[String], mark: &str, words: &str) {
        let wrong: Vec<_> = lines.iter().filter(|line| !line.starts_with("ok")).collect();
        assert!(wrong.len() == 1 && wrong[0].starts_with(mark) && wrong[0].contains(words), "{lines:#?}");
        assert!(wrong[0].contains("fix: "), "{wrong:#?}");
    }

    #[test]
    fn a_node_has_the_address_that_the_others_know() {
        let lines =
            |identity| of_nodes(&config(identity, ""), ADDRESSES).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(lines("lb-a"), ["ok       node lb-a: 10.0.0.2 stands on eth0"]);
        assert_one(&lines("lb-b"), "PROBLEM", "no interface has 10.0.0.3");
        assert_one(&lines("www"), "PROBLEM", "none of lb-a, lb-b");
    }

    #[test]
    fn an_interface_that_is_fit_has_no_complaints() {
        let lines = eth0(&[], "");
        assert!(lines.len() == 6 && lines.iter().all(|line| line.starts_with("ok")), "{lines:#?}");
    }

    #[test]
    fn what_is_wrong_with_an_interface_is_named_with_its_fix() {
        let conf = |key: &str| format!("proc/sys/net/ipv4/conf/eth0/{key}");
        assert_one(&eth0(&[("sys/class/net/eth0/flags", "0x1002")], ""), "PROBLEM", "eth0 is down");
        assert_one(&eth0(&[("sys/class/net/eth0/carrier", "0")], ""), "PROBLEM", "no carrier");
        assert_one(&eth0(&[(&conf("arp_ignore"), "8")], ""), "PROBLEM", "arp_ignore = 8");
        let demoting = ("proc/sys/net/ipv4/conf/all/promote_secondaries", "0");
        assert_one(&eth0(&[demoting], ""), "warning", "promote_secondaries = 0");
        let strict = ("proc/sys/net/ipv4/conf/all/rp_filter", "1");
        let announcing = ("proc/sys/net/ipv4/conf/all/arp_announce", "2");
        assert_one(&eth0(&[strict, announcing], "virtual_mac: true"), "PROBLEM", "rp_filter = 1");
        assert_one(&eth0(&[], "virtual_mac: true"), "warning", "arp_announce = 0");
        let (_dir, nothing) = machine(&[]);
        let config = config("lb-a", "");
        let lines: Vec<_> =
            of_interface(&nothing, &config, &config.vrrp[0], "").iter().map(ToString::to_string).collect();
        assert_one(&lines, "PROBLEM", "there is no interface eth0");
    }

    #[test]
    fn unicast_adverts_come_where_the_node_has_its_address() {
        let elsewhere = ADDRESSES.replace("eth0", "eth1");
        let config = config("lb-a", "");
        assert!(source(&config, &config.vrrp[0], ADDRESSES).unwrap().is_ok());
        assert!(source(&config, &config.vrrp[0], &elsewhere).unwrap().unwrap_err().1.contains("listens on eth0"));
    }

    #[test]
    fn a_thread_that_could_be_late_is_told() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max locked memory         8388608              8388608              bytes\n\
                      Max realtime priority     0                    0\n";
        let lines = |files: &[(&str, &str)]| {
            let (_dir, machine) = machine(files);
            of_the_thread(&machine).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let all = lines(&[("proc/self/limits", limits), ("proc/pressure/cpu", "some avg10=77.31 avg60=1.00")]);
        assert!(all.iter().all(|line| line.starts_with("warning")), "{all:#?}");
        assert!(all[0].contains("lacks CAP_NET_ADMIN, CAP_NET_RAW") && all[3].contains("77 %"), "{all:#?}");
        let root = [
            ("proc/self/limits", limits),
            ("proc/self/status", "CapEff:\t000001ffffffffff\n"),
            ("proc/pressure/cpu", "some avg10=0.31 avg60=1.00"),
        ];
        assert!(lines(&root).iter().all(|line| line.starts_with("ok")), "{:#?}", lines(&root));
        let never = [&root[..], &[("proc/sys/kernel/sched_rt_runtime_us", "0")]].concat();
        assert_one(&lines(&never), "PROBLEM", "no thread may run in real time");
    }

    #[test]
    fn a_secret_is_there_long_enough_and_nobody_elses() {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("key");
        let line = || of_secret(&Secret(file.clone()), &(32..=64)).to_string();
        assert!(line().starts_with("PROBLEM") && line().contains("No such file"), "{}", line());
        fs::write(&file, "short").unwrap();
        assert!(line().contains("has 5 bytes, and needs 32 to 64"), "{}", line());
        fs::write(&file, "x".repeat(32)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(line().starts_with("warning") && line().contains("everybody"), "{}", line());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(line().starts_with("ok"), "{}", line());
    }
}
