//! It forwards: each way, at each hook, in each family, for real programs.

use std::collections::BTreeSet;

use crate::harness::{CLIENT, Dns, Hook, Service, Talk, VIP, Way, Web, ask_who, first_word, may_run, url, vip};
use crate::shared::{emulated, eventually};

/// One test for each combination; without root it says so and does nothing.
macro_rules! each_way {
    ($($name:ident: $way:ident $hook:ident,)*) => {$(
        mod $name {
            #[test]
            fn web_pages_and_a_long_download() {
                if $crate::harness::may_run() {
                    super::web(super::Way::$way, super::Hook::$hook);
                }
            }

            #[test]
            fn questions_to_a_dns_server() {
                if $crate::harness::may_run() {
                    super::dns(super::Way::$way, super::Hook::$hook);
                }
            }
        }
    )*};
}

each_way! {
    nat_xdp: Nat Xdp,
    nat_tc: Nat Tc,
    snat_xdp: Snat Xdp,
    snat_tc: Snat Tc,
    dr_xdp: Dr Xdp,
    dr_tc: Dr Tc,
    tunnel_xdp: Tunnel Xdp,
    tunnel_tc: Tunnel Tc,
}

fn web(way: Way, hook: Hook) {
    let service = Service::new(way, hook);
    pages(&service, &service.config(80, "", ""));
}

/// From both backends to a client of each family, by a configuration of port 80; and a long download.
pub fn pages(service: &Service, config: &str) {
    let net = &service.net;
    let web = Web::start(&net.backends, if emulated() { 4 } else { 100 });
    let _lb = service.start(config);
    let sum = web.blob_sha256(&net.lb);
    for (family, client) in CLIENT.into_iter().enumerate() {
        let answers: Vec<String> =
            (0..6).map(|_| net.client.run(&format!("curl -sS --max-time 5 {}", url(family, "/")))).collect();
        assert_shared(&answers);
        let seen: BTreeSet<&str> = answers.iter().map(|a| a.split_once(' ').unwrap().1).collect();
        assert_eq!(seen.contains(client), service.way != Way::Snat, "what backends see: {seen:?}");
        let fetch = format!("curl -sS --max-time 30 {} | sha256sum", url(family, "/blob"));
        let got = net.client.command("sh").args(["-c", &fetch]).output().unwrap();
        assert_eq!(first_word(&String::from_utf8_lossy(&got.stdout)), sum);
    }
}

fn dns(way: Way, hook: Hook) {
    let service = Service::new(way, hook);
    let net = &service.net;
    let _dns = Dns::start(net);
    let _lb = service.start(&service.config(53, "", ""));
    for vip in crate::harness::VIP {
        let answers: Vec<String> = (0..6).map(|_| net.client.run(&ask_who(vip)).replace('"', "")).collect();
        assert_shared(&answers);
        let over_tcp = net.client.run(&(ask_who(vip) + " +tcp"));
        assert!(over_tcp.contains("b1") || over_tcp.contains("b2"), "{over_tcp}");
    }
}

/// Round-robin over two on one or more cores: none is left out.
fn assert_shared(answers: &[String]) {
    let names: BTreeSet<String> = answers.iter().map(|a| first_word(a)).collect();
    assert_eq!(names, BTreeSet::from(["b1".to_owned(), "b2".to_owned()]), "{answers:?}");
}

/// Two connections that must meet at one backend, long streams in both directions, and a stream of datagrams.
fn iperf3(way: Way, hook: Hook) {
    let service = Service::new(way, hook);
    let net = &service.net;
    let _servers = service.iperf3();
    let _lb = service.start(&service.config(5201, "", "scheduler: ip-hash"));
    for vip in VIP {
        eventually("iperf3 speaks", || net.client.try_run(&format!("iperf3 -c {vip} -n 1M")).status.success());
        for kind in ["--bidir -n 20M", "-u -b 50M -n 4M", "-R -P 4 -n 20M"] {
            net.client.run(&format!("timeout 20 iperf3 -c {vip} {kind}"));
        }
    }
}

macro_rules! iperf3 {
    ($($name:ident: $way:ident $hook:ident,)*) => {$(
        #[test]
        fn $name() {
            if may_run() {
                iperf3(Way::$way, Hook::$hook);
            }
        }
    )*};
}

iperf3! {
    streams_by_nat_xdp: Nat Xdp,
    streams_by_snat_tc: Snat Tc,
    streams_by_dr_tc: Dr Tc,
    streams_by_tunnel_xdp: Tunnel Xdp,
    streams_by_tunnel_tc: Tunnel Tc,
}

/// The same address, other ports; and the host's own services go on.
#[test]
fn layer_7_lives_beside_layer_4_on_one_vip() {
    if !may_run() {
        return;
    }
    let service = Service::new(Way::Nat, Hook::Xdp);
    let net = &service.net;
    let _web = Web::start(&net.backends, 1);
    let _echoes = service.echoes(7000);
    let pages = "  site4: { listen: \"203.0.113.100:80\", pool: pages }
  site6: { listen: \"[2001:db8:2::100]:80\", pool: pages }\npools:
  pages: { backends: [\"10.0.0.11:80\", \"[fd00::12]:80\"] }";
    let lb = service.start(&service.config(7000, "", "").replace("pools:", pages));
    for family in 0..2 {
        let answers: Vec<String> =
            (0..4).map(|_| net.client.run(&format!("curl -sS --max-time 5 {}", url(family, "/")))).collect();
        assert_shared(&answers);
        Talk::open(net, vip(family, 7000)).say("forwarded");
    }
    assert_eq!(lb.metric("lb_frontend_http_requests_total", &[]), 8.0);
    for address in ["203.0.113.2", "2001:db8:2::2"] {
        net.client.reaches(address);
    }
}
