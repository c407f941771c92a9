//! Somebody else configures the interface under an active node: systemd-networkd, ifupdown, NetworkManager, a person.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::harness::{Lan, Node, OWN, one};
use crate::lan;
use crate::shared::poll;

const MS: Duration = Duration::from_millis(1);
const VIP6: &str = "2001:db8::100";

/// What was seen of two nodes, look by look.
#[derive(Default)]
pub struct Watch {
    /// The longest time for which nobody had the address, and for which both had it.
    nobody: Duration,
    both: Duration,
    since: Option<(usize, Instant)>,
}

impl Watch {
    fn look(&mut self, vip: &str, nodes: &[Node]) {
        let holders = nodes.iter().filter(|node| node.has(vip)).count();
        let now = Instant::now();
        let since = match self.since {
            Some((before, since)) if before == holders => since,
            _ => now,
        };
        self.since = Some((holders, since));
        let longest = match holders {
            0 => &mut self.nobody,
            1 => return,
            _ => &mut self.both,
        };
        *longest = (*longest).max(now - since);
    }

    pub fn watch(&mut self, vip: &str, nodes: &[Node], time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.look(vip, nodes);
        }
    }
}

/// Everything goes from the interface of `a`, and what `back` says comes back after 100 ms.
fn flush(lan: &Lan, vip: &str, nodes: &[Node], back: &str) -> Watch {
    let mut watch = Watch::default();
    lan.lb.ip("address flush dev eth0");
    watch.watch(vip, nodes, 100 * MS);
    lan.lb.ip(back);
    watch.watch(vip, nodes, 1500 * MS);
    watch
}

fn own_again() -> String {
    format!("address add {}/24 dev eth0\naddress add {}/64 dev eth0 nodad", OWN[0], OWN[1])
}

/// Roles tell whether anybody noticed. The time is only bounded where it would be an outage: how long a busy machine
/// keeps lb from running is nothing that a test can promise.
pub fn nobody_noticed(nodes: &[Node], watch: &Watch, changes: &[[u64; 2]]) {
    assert!(watch.nobody < 1000 * MS, "the address was missing for {:?}", watch.nobody);
    assert_eq!(watch.both, Duration::ZERO, "two had it");
    assert_eq!(all_changes(nodes), changes, "roles changed: {}", nodes[0].lb.stderr());
}

/// To active and to backup, of each node.
pub fn all_changes(nodes: &[Node]) -> Vec<[u64; 2]> {
    nodes.iter().map(|node| ["active", "backup"].map(|role| node.changes_to(role))).collect()
}

pub fn notices(node: &Node, notice: &str) -> u64 {
    node.router("v")["counts"]["notices"][notice].as_u64().unwrap()
}

#[test]
fn a_flush_that_gives_the_own_address_back_soon_changes_no_role() {
    for more in ["", ", peers: multicast", ", virtual_mac: true"] {
        let lan = lan!();
        let nodes = Node::pair(&lan, &one(more));
        let changes = all_changes(&nodes);
        let watch = flush(&lan, Node::VIP, &nodes, &own_again());
        nobody_noticed(&nodes, &watch, &changes);
        assert_eq!(notices(&nodes[0], "source_missing"), 1, "{more}");
        assert_eq!(nodes[0].lb.stderr().matches("which adverts are sent from, is not on this host").count(), 1);
        let list = lan.lb.run("ip -o -4 address show dev eth0 primary");
        assert!(list.contains(OWN[0]) && !list.contains(Node::VIP), "the own address is the first one: {list}");
        let route = lan.lb.run("ip -4 route get 10.0.0.77");
        assert!(route.contains(&format!("src {}", OWN[0])), "{route}");
    }
}

/// The link-local address that adverts come from is probed for duplicates when it comes back.
#[test]
fn over_ipv6_too() {
    let lan = lan!();
    let config = one("")
        .replace(&format!("{}/24", Node::VIP), &format!("\"{VIP6}/64\""))
        .replace("interval:", "peers: multicast, interval:");
    let nodes = [Node::start(&lan.lb, "a", &config), Node::start(&lan.peer, "b", &config)];
    poll("a has it", || nodes[0].has(VIP6).then_some(()));
    poll("b follows", || (!nodes[1].router("v")["active_router"].is_null()).then_some(()));
    lan.lb.sysctl("ipv6/conf/eth0/accept_dad", "1");
    let list = lan.lb.run("ip -o -6 address show dev eth0 scope link");
    let local = list.split_whitespace().nth(3).unwrap().to_owned();
    let changes = all_changes(&nodes);
    let back = format!("{}\naddress add {local} dev eth0", own_again());
    let watch = flush(&lan, VIP6, &nodes, &back);
    nobody_noticed(&nodes, &watch, &changes);
    assert_eq!(notices(&nodes[0], "source_missing"), 1);
}

#[test]
fn an_own_address_that_does_not_come_back_ends_in_one_holder() {
    for more in ["", ", peers: multicast"] {
        let lan = lan!();
        let nodes = Node::pair(&lan, &one(more));
        let mut watch = Watch::default();
        let begun = Instant::now();
        lan.lb.ip("address flush dev eth0");
        while nodes[1].role() != "active" {
            watch.look(Node::VIP, &nodes);
            assert!(begun.elapsed() < Duration::from_secs(5), "b takes over");
        }
        assert!(begun.elapsed() > 900 * MS, "it waited: {:?}", begun.elapsed());
        nodes[0].await_role("waiting");
        watch.watch(Node::VIP, &nodes, 500 * MS);
        assert!(watch.nobody < 1000 * MS, "the address was missing for {:?}", watch.nobody);
        assert!(watch.both < 500 * MS, "two had it for {:?}", watch.both);
        lan.lb.ip(&own_again());
        nodes[0].await_role("active");
        nodes[1].await_role("backup");
    }
}

/// Of a whole program that fights for the interface.
#[test]
fn an_address_that_is_removed_all_the_time_is_put_back_ever_more_seldom_and_that_is_told_once() {
    let lan = lan!();
    let [a, b] = Node::pair(&lan, &one(""));
    let mut removed = 0;
    for _ in 0..100 {
        removed += u32::from(lan.lb.try_run(&format!("ip address del {}/24 dev eth0", Node::VIP)).status.success());
        sleep(20 * MS);
    }
    assert!((10..20).contains(&removed), "it came back {removed} times in 2 s");
    assert!(notices(&a, "addresses_fought") >= 1 && notices(&a, "address_removed") == 10);
    let log = a.lb.stderr();
    for line in ["removed a virtual address", "keeps removing the virtual addresses"] {
        assert_eq!(log.matches(line).count(), 1, "{line}: {log}");
    }
    poll("it comes back in the end", || a.has(Node::VIP).then_some(()));
    assert_eq!((a.changes_to("backup"), b.changes_to("active")), (1, 0));
}

#[test]
fn the_interface_of_a_virtual_mac_that_is_removed_is_made_again() {
    let lan = lan!();
    let nodes = Node::pair(&lan, &one(", virtual_mac: true"));
    let changes = all_changes(&nodes);
    let mut watch = Watch::default();
    lan.lb.ip("link del lb51.eth0");
    watch.watch(Node::VIP, &nodes, 1000 * MS);
    nobody_noticed(&nodes, &watch, &changes);
    assert!(lan.lb.run("ip -o link show type macvlan").contains("00:00:5e:00:01:33"));
}

/// The last word on a virtual router is about the one that runs.
#[test]
fn a_reload_that_takes_the_virtual_mac_away_ends_no_router_for_those_who_listen() {
    let lan = lan!();
    let told = tempfile::tempdir().unwrap();
    let hook = told.path().join("hook");
    std::fs::write(&hook, format!("#!/bin/sh\necho $LB_ROLE >> {}/roles\n", told.path().display())).unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let config = |more: &str| one(&format!(", notify: [{}]{more}", hook.display()));
    let mut a = Node::start(&lan.lb, "a", &config(", virtual_mac: true"));
    a.await_role("active");
    a.lb.reload(&config(""));
    a.await_role("active");
    let roles = || std::fs::read_to_string(told.path().join("roles")).unwrap_or_default();
    poll("the hook has heard of it", || roles().ends_with("active\n").then_some(()));
    poll("what it was has ended", || a.lb.stderr().contains("v as it was before the reload has ended").then_some(()));
    assert!(!roles().contains("initialize"), "{}", roles());
    assert!(!a.lb.stderr().contains("v is initialize"), "{}", a.lb.stderr());
}
