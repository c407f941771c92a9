//! Routers and clients whose MAC address the kernel of lb's host does not know, or knows wrongly. The kernel's own
//! forwarding would ask; nothing here depends on it, nor on `accept_local`, which is 0 on these hosts.

use std::time::{Duration, Instant};

use crate::harness::{Hook, Service, Talk, VIP, Way, may_run, vip};
use crate::shared::{Lb, eventually};

const PORT: u16 = 7000;
/// A client on lb's own network, beside the router.
const NEAR: [&str; 2] = ["203.0.113.77", "2001:db8:2::77"];
const ROUTER: [&str; 2] = ["203.0.113.1", "2001:db8:2::1"];
/// Where a packet is lost the client waits for a second before it sends it again.
const AT_ONCE: Duration = Duration::from_millis(900);

macro_rules! on_both_hooks {
    ($($test:ident;)*) => {$(
        mod $test {
            #[test]
            fn xdp() {
                if crate::harness::may_run() {
                    super::$test(crate::harness::Hook::Xdp);
                }
            }

            #[test]
            fn tc() {
                if crate::harness::may_run() {
                    super::$test(crate::harness::Hook::Tc);
                }
            }
        }
    )*};
}

on_both_hooks! {
    a_router_that_never_answers_is_replied_to;
    a_stateful_firewall_lets_replies_through;
    a_router_that_nobody_has_used_is_known;
    a_flap_of_the_link_to_the_router_costs_nothing_more;
    entries_that_are_set_for_good_stay_so;
}

/// nat with backends that have answered, and a router that knows lb and never asks.
fn served(hook: Hook) -> (Service, Lb, [crate::harness::Echo; 2]) {
    let service = Service::new(Way::Nat, hook);
    let echoes = service.echoes(PORT);
    let lb = service.start(&service.config(PORT, "", ""));
    let mac = service.net.lb.mac("eth0");
    for vip in VIP {
        service.net.router.ip(&format!("neigh replace {vip} lladdr {mac} nud permanent dev eth1"));
    }
    (service, lb, echoes)
}

fn open_at_once(service: &Service, family: usize) -> Talk {
    let begun = Instant::now();
    let talk = Talk::open(&service.net, vip(family, PORT));
    assert!(begun.elapsed() < AT_ONCE, "a new connection took {:?}", begun.elapsed());
    talk
}

fn passed_up(lb: &Lb) -> f64 {
    lb.metric("lb_l4_events_total", &[("event", "passed_up")])
}

fn a_router_that_never_answers_is_replied_to(hook: Hook) {
    let (service, lb, _echoes) = served(hook);
    for family in 0..2 {
        Talk::open(&service.net, vip(family, PORT)).say("backends are resolved");
    }
    service.net.mute_lb();
    service.net.lb.ip("neigh flush dev eth0 nud all");
    let before = passed_up(&lb);
    for (family, router) in ROUTER.into_iter().enumerate() {
        let mut talk = open_at_once(&service, family);
        (0..20).for_each(|_| talk.say(&"more than a segment ".repeat(200)));
        assert!(!service.net.lb.knows(router, "eth0"), "it was to be unknown");
    }
    assert_eq!(passed_up(&lb), before, "left to the kernel");
}

/// Replies of connections whose requests the kernel never saw are invalid to it.
fn a_stateful_firewall_lets_replies_through(hook: Hook) {
    let (service, _lb, _echoes) = served(hook);
    let net = &service.net;
    for family in 0..2 {
        Talk::open(net, vip(family, PORT)).say("backends are resolved");
    }
    net.lb.nft(&format!(
        "table inet filter {{\nchain forward {{\ntype filter hook forward priority 0; policy drop\n\
         ct state established,related accept\nct state invalid drop\ntcp dport {PORT} ct state new accept\n}}\n}}\n"
    ));
    net.mute_lb();
    net.lb.ip("neigh flush dev eth0 nud all");
    (0..2).for_each(|family| open_at_once(&service, family).say("through the firewall"));
}

/// As on a standby: nobody has sent anything through it.
fn a_router_that_nobody_has_used_is_known(hook: Hook) {
    let (service, _lb, _echoes) = served(hook);
    for router in ROUTER {
        eventually("the router is resolved", || service.net.lb.knows(router, "eth0"));
        service.net.lb.ip(&format!("neigh del {router} dev eth0"));
        eventually("and again", || service.net.lb.knows(router, "eth0"));
    }
}

fn a_flap_of_the_link_to_the_router_costs_nothing_more(hook: Hook) {
    let (service, _lb, _echoes) = served(hook);
    let lb = &service.net.lb;
    let mut old: Vec<Talk> = (0..2).map(|family| Talk::open(&service.net, vip(family, PORT))).collect();
    old.iter_mut().for_each(|talk| talk.say("before"));
    lb.sysctl("ipv6/conf/eth0/keep_addr_on_down", "1");
    lb.ip("link set eth0 down");
    lb.ip("link set eth0 up");
    lb.comes_up("eth0");
    lb.ip(&format!("route replace default via {}\nroute replace default via {}", ROUTER[0], ROUTER[1]));
    // A packet may have been lost in the middle of it, and the kernel takes a moment to set up IPv6.
    let begun = Instant::now();
    old.iter_mut().for_each(|talk| talk.say("after"));
    (0..2).for_each(|family| Talk::open(&service.net, vip(family, PORT)).say("new"));
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

/// Some segments answer no ARP (clouds, port security): whoever set such an entry finds it again.
fn entries_that_are_set_for_good_stay_so(hook: Hook) {
    let service = Service::new(Way::Nat, hook);
    let _echoes = service.echoes(PORT);
    let net = &service.net;
    let mut set = Vec::new();
    for (family, router) in ROUTER.into_iter().enumerate() {
        set.push(("eth0", router.to_owned(), net.router.mac("eth1")));
        set.push(("eth1", net.backend(0, family), net.backends[0].mac("eth0")));
    }
    for (interface, address, mac) in &set {
        net.lb.ip(&format!("neigh replace {address} lladdr {mac} nud permanent dev {interface}"));
    }
    let _lb = service.start(&service.config(PORT, "", ""));
    // The other backend's entry shows that lb has looked after them all, and once more.
    for _ in 0..2 {
        (0..2).for_each(|family| Talk::open(net, vip(family, PORT)).say("hello"));
        for other in (0..2).map(|family| net.backend(1, family)) {
            eventually("the other backend is resolved", || net.lb.knows(&other, "eth1"));
            net.lb.ip(&format!("neigh del {other} dev eth1"));
        }
    }
    for (interface, address, _) in set {
        let shown = net.lb.run(&format!("ip neigh show {address} dev {interface}"));
        assert!(shown.contains("PERMANENT"), "{address}: {shown:?}");
    }
}

/// Another machine has the address now, and nobody has told lb's host.
#[test]
fn entries_that_have_become_wrong_are_noticed() {
    if !may_run() {
        return;
    }
    let (service, _lb, _echoes) = served(Hook::Tc);
    let net = &service.net;
    net.router.ip(&format!("addr add {}/24 dev eth1\naddr add {}/64 dev eth1 nodad", NEAR[0], NEAR[1]));
    let near = |family: usize| Talk::open_as(&net.router, NEAR[family], vip(family, PORT));
    for (family, kernel) in ["ipv4", "ipv6"].into_iter().enumerate() {
        near(family).say("known");
        Talk::open(net, vip(family, PORT)).say("known");
        net.lb.sysctl(&format!("{kernel}/neigh/eth0/delay_first_probe_time"), "1");
        for address in [NEAR[family], ROUTER[family]] {
            net.lb.ip(&format!("neigh replace {address} lladdr 02:00:00:00:00:99 dev eth0 nud stale"));
        }
    }
    for (family, near) in NEAR.into_iter().enumerate() {
        let to = vip(family, PORT);
        eventually("the router is found again", || Talk::try_open(net, to).is_ok());
        eventually("the client is found again", || Talk::try_open_as(&net.router, near, to).is_ok());
    }
}

#[test]
fn clients_on_lbs_own_network_are_resolved_when_they_come() {
    if !may_run() {
        return;
    }
    let (service, _lb, _echoes) = served(Hook::Xdp);
    let net = &service.net;
    net.router.ip(&format!("addr add {}/24 dev eth1\naddr add {}/64 dev eth1 nodad", NEAR[0], NEAR[1]));
    for (family, near) in NEAR.into_iter().enumerate() {
        net.lb.try_run(&format!("ip neigh del {near} dev eth0"));
        Talk::open_as(&net.router, near, vip(family, PORT)).say("hello");
        eventually("the client is resolved", || net.lb.knows(near, "eth0"));
    }
}
