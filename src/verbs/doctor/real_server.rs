//! A backend of `mode: dr` or `mode: tunnel`, examined where it stands: does it own the virtual
//! addresses, and does it keep quiet about them? deploy/real-server sets both up.

use std::net::IpAddr;

use super::machine::Machine;
use crate::verbs::finding::{Finding, Result, finding, problem};

pub fn examine(machine: &Machine, vips: &[IpAddr], tunnel: bool) -> Vec<Finding> {
    let addresses = machine.output("ip", &["-o", "address", "show"]).unwrap_or_default();
    let mut findings: Vec<_> = vips
        .iter()
        .map(|vip| {
            let add = format!("lb-real-server start{} {vip}", if tunnel { " --tunnel" } else { "" });
            finding(format!("address {vip}"), owned(&addresses, *vip)).or_fix(add)
        })
        .collect();
    if vips.iter().any(IpAddr::is_ipv4) {
        findings.push(silent(
            machine,
            "arp_ignore",
            1,
            "this machine answers ARP for the address, and clients pass by lb",
        ));
        findings.push(silent(
            machine,
            "arp_announce",
            2,
            "this machine asks with the address, and its neighbours learn it",
        ));
    }
    if tunnel {
        findings.push(finding("tunnel device", device(machine)).or_fix("modprobe ipip; ip link set tunl0 up"));
        findings.push(finding("rp_filter", unfiltered(machine)).or_fix(
            "sysctl -w net.ipv4.conf.tunl0.rp_filter=0 net.ipv4.conf.all.rp_filter=0   (the stricter of the two holds)",
        ));
    }
    findings
}

/// On the loopback, as an address of a host; anywhere else the network would learn of it.
fn owned(addresses: &str, vip: IpAddr) -> Result {
    let written = format!(" {vip}/");
    match addresses.lines().find(|line| line.contains(&written)) {
        Some(line) if line.split_whitespace().nth(1) == Some("lo") => Ok("on lo".to_owned()),
        Some(line) => {
            let interface = line.split_whitespace().nth(1).unwrap_or("another interface");
            Err(problem(format!("stands on {interface}, where it is announced; it belongs on lo")))
        }
        None => Err(problem("is missing: packets for it are not accepted")),
    }
}

/// What `all` says suffices: the larger of it and the interface's own holds (ip-sysctl.rst).
fn silent(machine: &Machine, name: &str, wanted: u32, otherwise: &str) -> Finding {
    let found = machine.strictest(name, "all");
    let result = match found {
        Some(value) if value >= wanted => Ok(format!("net.ipv4.conf.all.{name} = {value}")),
        Some(value) => Err(problem(format!("net.ipv4.conf.all.{name} = {value}: {otherwise}"))),
        None => Err(problem(format!("net.ipv4.conf.all.{name} cannot be read"))),
    };
    finding(name, result)
        .or_fix(format!("sysctl -w net.ipv4.conf.all.{name}={wanted}, and deploy/real-server/90-lb-real-server.conf"))
}

fn device(machine: &Machine) -> Result {
    match machine
        .read("sys/class/net/tunl0/flags")
        .and_then(|f| u32::from_str_radix(f.trim_start_matches("0x"), 16).ok())
    {
        Some(flags) if flags & 1 == 1 => Ok("tunl0 is up".to_owned()),
        Some(_) => Err(problem("tunl0 is down")),
        None => Err(problem("there is no tunl0 to unwrap what lb sends")),
    }
}

fn unfiltered(machine: &Machine) -> Result {
    match machine.strictest("rp_filter", "tunl0") {
        Some(1) => Err(problem("rp_filter = 1 drops packets whose sender is not routed through the tunnel")),
        Some(value) => Ok(format!("rp_filter = {value}")),
        None => Err(problem("rp_filter cannot be read")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESSES: &str = "1: lo    inet 127.0.0.1/8 scope host lo\n1: lo    inet 203.0.113.10/32 scope global lo\n2: eth0    inet 203.0.113.11/24 scope global eth0\n";

    fn owned_by(vip: &str) -> Result {
        owned(ADDRESSES, vip.parse().unwrap())
    }

    #[test]
    fn an_address_belongs_on_the_loopback() {
        assert!(owned_by("203.0.113.10").is_ok());
        assert!(owned_by("203.0.113.11").unwrap_err().1.contains("eth0"));
        assert!(owned_by("203.0.113.1").unwrap_err().1.contains("missing"));
    }
}
