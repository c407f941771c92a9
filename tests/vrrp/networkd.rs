//! systemd-networkd itself, on the host of the active node.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::mount::{MsFlags, mount};

use crate::harness::{Lan, Node, OWN, Process, one};
use crate::lan;
use crate::reconfigured::{Watch, all_changes, nobody_noticed, notices};
use crate::shared::poll;

const MS: Duration = Duration::from_millis(1);
const FILE: &str = "/run/systemd/network/10-lan.network";

/// With a bus, so that it can be told to reconfigure. Both end with it.
struct Networkd {
    _bus: Process,
    _daemon: Process,
}

impl Networkd {
    /// On the host of the test's thread, whose mounts are its own. Where /sys is read-only, it does not wait for udev.
    fn start(lan: &Lan, logs: &Path) -> Self {
        let none = None::<&str>;
        mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), none).unwrap();
        mount(none, "/sys", none, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, none).unwrap();
        for folder in ["dbus", "systemd/network", "systemd/netif/links", "systemd/netif/leases", "systemd/netif/lldp"] {
            fs::create_dir_all(Path::new("/run").join(folder)).unwrap();
        }
        lan.lb.ip("address flush dev eth0 scope global");
        lan.lb.run("chown -R systemd-network:systemd-network /run/systemd/netif");
        let text =
            format!("[Match]\nName=eth0\n[Network]\nAddress={}/24\nAddress={}/64\nIPv6AcceptRA=no\n", OWN[0], OWN[1]);
        fs::write(FILE, text).unwrap();
        let bus = Process::start(&lan.lb, "dbus-daemon --system --nofork --nopidfile", &logs.join("bus"));
        poll("the bus", || Path::new("/run/dbus/system_bus_socket").exists().then_some(()));
        let daemon = Process::start(&lan.lb, "/usr/lib/systemd/systemd-networkd", &logs.join("networkd"));
        let networkd = Self { _bus: bus, _daemon: daemon };
        networkd.settled(lan);
        networkd
    }

    fn settled(&self, lan: &Lan) {
        let index = lan.lb.run("cat /sys/class/net/eth0/ifindex");
        let notes = format!("/run/systemd/netif/links/{}", index.trim());
        let is_configured = || fs::read_to_string(&notes).is_ok_and(|text| text.contains("ADMIN_STATE=configured"));
        poll("networkd has configured eth0", || is_configured().then_some(()));
    }
}

/// What `lb doctor` says of it on this host.
fn doctor(lan: &Lan) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), one("").replace("@web", "127.0.0.1:8080")).unwrap();
    let line = format!("{} doctor {} --node a", env!("CARGO_BIN_EXE_lb"), file.path().display());
    let output = lan.lb.try_run(&line);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("KeepConfiguration"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said.lines().filter(|line| line.contains("KeepConfiguration")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn to_reconfigure_the_interface_changes_no_role_and_with_keep_configuration_nothing_at_all() {
    let lan = lan!();
    let logs = tempfile::tempdir().unwrap();
    let networkd = Networkd::start(&lan, logs.path());
    let nodes = Node::pair(&lan, &one(", peers: multicast"));
    let changes = all_changes(&nodes);
    assert!(
        doctor(&lan).starts_with("warning  virtual router v: systemd-networkd configures eth0"),
        "{}",
        doctor(&lan)
    );
    let reconfigure = |lan: &Lan| {
        lan.lb.run("networkctl reconfigure eth0");
        let mut watch = Watch::default();
        watch.watch(Node::VIP, &nodes, 1500 * MS);
        networkd.settled(lan);
        watch
    };
    nobody_noticed(&nodes, &reconfigure(&lan), &changes);
    assert!(notices(&nodes[0], "address_removed") >= 1 && notices(&nodes[0], "source_missing") == 1);
    let first = lan.lb.run("ip -o -4 address show dev eth0 primary");
    assert!(first.contains(OWN[0]) && !first.contains(Node::VIP), "{first}");

    fs::create_dir(format!("{FILE}.d")).unwrap();
    fs::write(format!("{FILE}.d/keep.conf"), "[Network]\nKeepConfiguration=static\n").unwrap();
    assert!(doctor(&lan).starts_with("ok"), "{}", doctor(&lan));
    lan.lb.run("networkctl reload");
    networkd.settled(&lan);
    let removed = notices(&nodes[0], "address_removed");
    nobody_noticed(&nodes, &reconfigure(&lan), &changes);
    assert_eq!(notices(&nodes[0], "address_removed"), removed, "it leaves it alone");
}
