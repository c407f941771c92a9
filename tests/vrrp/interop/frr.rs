//! FRR's vrrpd as Debian has it (8.4). It always has a virtual MAC, and speaks multicast only.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{Router, with};
use crate::harness::{Lan, Process, Setup, VRID};
use crate::shared::poll;

struct Frr {
    daemons: Vec<Process>,
    dir: TempDir,
}

with! {
    Frr,
    v2: V2;
    v3: V3;
    v3_and_a_virtual_mac_of_ours: V3, "virtual_mac: true";
    v3_over_ipv6: V3OverIpv6, "addresses: [\"fe80::100/64\", \"2001:db8::100/64\"]";
}

/// The interface of the virtual MAC.
const MACVLAN: &str = "vrrp-51";

impl Router for Frr {
    /// vrrpd wants to find its interface, with the addresses; it switches it on and off (frr, doc/user/vrrp.rst).
    fn new(lan: &Lan, setup: Setup, priority: u8) -> Self {
        let family = if setup.is_v6() { 2 } else { 1 };
        let addresses: &[&str] = if setup.is_v6() { &["fe80::100/64", "2001:db8::100/64"] } else { &["10.0.0.100/24"] };
        lan.peer.ip(&format!(
            "link add {MACVLAN} link eth0 address 00:00:5e:00:0{family}:{VRID:02x} type macvlan mode bridge\n\
             link set {MACVLAN} addrgenmode random"
        ));
        for address in addresses {
            lan.peer.ip(&format!("address add {address} dev {MACVLAN}"));
        }
        lan.peer.ip(&format!("link set {MACVLAN} up"));
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("vrrpd.conf"), config(setup, priority)).unwrap();
        fs::write(dir.path().join("zebra.conf"), "").unwrap();
        // Its daemons insist on being nobody else.
        lan.peer.run(&format!("chown --recursive frr:frr {}", dir.path().display()));
        Frr { daemons: vec![], dir }
    }

    fn start(&mut self, lan: &Lan) {
        let dir = self.dir.path();
        let zebra = daemon(lan, dir, "zebra");
        poll("zebra", || dir.join("zserv").exists().then_some(()));
        self.daemons = vec![daemon(lan, dir, "vrrpd"), zebra];
    }

    fn kill(&mut self) {
        self.daemons.clear();
        let _ = fs::remove_file(self.dir.path().join("zserv"));
    }

    fn stop(&mut self) {
        self.daemons.drain(..).for_each(Process::stop);
        let _ = fs::remove_file(self.dir.path().join("zserv"));
    }

    /// By its last change of role.
    fn is_active(&self, _: &Lan) -> bool {
        let roles = ["Initialize", "Backup", "Master"].map(|role| format!("] {role} -> "));
        let log = self.log();
        let last = log.lines().rfind(|line| roles.iter().any(|role| line.contains(role)));
        last.is_some_and(|line| line.ends_with("-> Master"))
    }

    fn log(&self) -> String {
        self.daemons[0].log()
    }

    const COMPLAINTS: &'static [&'static str] =
        &["bad ", "invalid", "mismatch", "checksum", "discard", "drop", "unexpected", "error", "malformed"];
}

fn daemon(lan: &Lan, dir: &Path, name: &str) -> Process {
    let at = dir.display();
    let line = format!(
        "/usr/lib/frr/{name} -u frr -g frr -f {at}/{name}.conf -i {at}/{name}.pid -z {at}/zserv --vty_socket {at} \
         -P 0 --log stdout --log-level debug"
    );
    Process::start(&lan.peer, &line, &dir.join(format!("{name}.log")))
}

fn config(setup: Setup, priority: u8) -> String {
    let version = if setup.is_v2() { 2 } else { 3 };
    let interval = if setup.is_v2() { 1000 } else { 100 };
    let addresses: &[&str] = if setup.is_v6() { &["ipv6 fe80::100", "ipv6 2001:db8::100"] } else { &["ip 10.0.0.100"] };
    let addresses: String = addresses.iter().map(|address| format!(" vrrp {VRID} {address}\n")).collect();
    format!(
        "interface eth0\n vrrp {VRID} version {version}\n vrrp {VRID} priority {priority}\n \
         vrrp {VRID} advertisement-interval {interval}\n{addresses}exit\n"
    )
}
