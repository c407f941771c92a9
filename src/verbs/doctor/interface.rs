//! What the interface of a virtual router must be set to.

use std::net::IpAddr;

use lb_core::config::{Config, VirtualRouter, VrrpPeers};

use super::machine::Machine;
use super::manager;
use crate::verbs::finding::{Finding, Result, finding, problem, warning};

pub fn examine(machine: &Machine, config: &Config, router: &VirtualRouter, addresses: &str) -> Vec<Finding> {
    let (what, name) = (format!("virtual router {}", router.name), &router.interface);
    let up = finding(what.clone(), is_up(machine, name))
        .or_fix(format!("ip link set {name} up, or the interface that this host has"));
    if machine.read(&format!("sys/class/net/{name}/ifindex")).is_none() {
        return vec![up];
    }
    let mut findings = vec![up];
    findings.extend(manager::examine(machine, &what, name));
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

/// In what `ip -o address show` says.
pub fn interface_of(addresses: &str, address: IpAddr) -> Option<&str> {
    let written = format!(" {address}/");
    addresses.lines().find(|line| line.contains(&written))?.split_whitespace().nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::doctor::fixtures::{ADDRESSES, assert_one, config, machine};

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
        let findings = examine(&machine, &config, &config.vrrp[0], ADDRESSES);
        findings.iter().map(ToString::to_string).collect()
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
        let lines: Vec<_> = examine(&nothing, &config, &config.vrrp[0], "").iter().map(ToString::to_string).collect();
        assert_one(&lines, "PROBLEM", "there is no interface eth0");
    }

    #[test]
    fn unicast_adverts_come_where_the_node_has_its_address() {
        let elsewhere = ADDRESSES.replace("eth0", "eth1");
        let config = config("lb-a", "");
        assert!(source(&config, &config.vrrp[0], ADDRESSES).unwrap().is_ok());
        assert!(source(&config, &config.vrrp[0], &elsewhere).unwrap().unwrap_err().1.contains("listens on eth0"));
    }
}
