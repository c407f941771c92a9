//! keepalived as Debian has it (2.2).

use std::fs;

use tempfile::TempDir;

use super::{Router, with};
use crate::harness::{Lan, OWN, PEER, Process, Setup, VRID};

/// `VIRTUAL_MAC`: with one, on its side.
struct Daemon<const VIRTUAL_MAC: bool> {
    process: Option<Process>,
    dir: TempDir,
    setup: Setup,
}

type Keepalived = Daemon<false>;
type WithVirtualMac = Daemon<true>;

with! {
    Keepalived,
    v2: V2;
    v2_with_a_password: V2Password;
    v3: V3;
    v3_unicast: V3Unicast;
    v3_and_a_virtual_mac_of_ours: V3, "virtual_mac: true";
    v3_over_ipv6: V3OverIpv6, "addresses: [\"fe80::100/64\", \"2001:db8::100/64\"]";
}

mod virtual_mac {
    use super::WithVirtualMac;
    use super::with;

    with! {
        WithVirtualMac,
        v2: V2;
        v3: V3;
        v3_and_one_of_ours: V3, "virtual_mac: true";
    }
}

impl<const VIRTUAL_MAC: bool> Router for Daemon<VIRTUAL_MAC> {
    fn new(_: &Lan, setup: Setup, priority: u8) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = config(setup, priority, if VIRTUAL_MAC { "use_vmac\n" } else { "" });
        fs::write(dir.path().join("keepalived.conf"), config).unwrap();
        Daemon { process: None, dir, setup }
    }

    fn start(&mut self, lan: &Lan) {
        let dir = self.dir.path().display();
        let line = format!(
            "keepalived --vrrp --dont-fork --log-console --no-syslog --log-detail \
             --use-file={dir}/keepalived.conf --pid={dir}/pid --vrrp_pid={dir}/vrrp.pid"
        );
        // What a killed one has left.
        for pid in ["pid", "vrrp.pid"] {
            let _ = fs::remove_file(self.dir.path().join(pid));
        }
        self.process = Some(Process::start(&lan.peer, &line, &self.dir.path().join("log")));
    }

    fn kill(&mut self) {
        self.process = None;
    }

    fn stop(&mut self) {
        self.process.take().unwrap().stop();
    }

    fn is_active(&self, lan: &Lan) -> bool {
        lan.peer.run("ip -brief address show").contains(&format!("{}/", self.setup.vip()))
    }

    fn log(&self) -> String {
        self.process.as_ref().unwrap().log()
    }

    const COMPLAINTS: &'static [&'static str] =
        &["invalid", "bogus", "mismatch", "checksum", "expected", "unknown", "drop", "error", "warning"];
}

fn config(setup: Setup, priority: u8, more: &str) -> String {
    let version = if setup.is_v2() { 2 } else { 3 };
    let interval = if setup.is_v2() { "1" } else { "0.1" };
    let keys = match setup {
        Setup::V2Password => "authentication { \n auth_type PASS\n auth_pass sesame\n }\n".to_owned(),
        Setup::V3Unicast => format!("unicast_src_ip {}\n unicast_peer {{\n {}\n }}\n", PEER[0], OWN[0]),
        _ => String::new(),
    };
    let addresses = if setup.is_v6() { "fe80::100/64\n 2001:db8::100/64" } else { "10.0.0.100/24" };
    format!(
        "global_defs {{\n vrrp_version {version}\n vrrp_garp_master_delay 1\n}}\n\
         vrrp_instance v {{\n interface eth0\n virtual_router_id {VRID}\n priority {priority}\n \
         advert_int {interval}\n {keys}{more}virtual_ipaddress {{\n {addresses}\n }}\n}}\n"
    )
}
