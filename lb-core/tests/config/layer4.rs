//! What becomes of the frontends of layer 4 and their pools.

use std::time::Duration;

use lb_core::config::{
    self, Attach, Config, Forward, Frontend, Method, Mode, OnBackendDown, Persistence, Pool, Snat, Transport,
};

use super::{good, repository};

#[test]
fn both_layers_stand_side_by_side() {
    let config = file("layers");
    let modes: Vec<_> = config.frontends.iter().map(|f| (f.mode.as_str(), f.listen_text())).collect();
    let expected = [("dr", "203.0.113.10:443"), ("nat", "203.0.113.11:53/udp"), ("http", "203.0.113.20:443")];
    assert_eq!(modes, expected.map(|(mode, listen)| (mode, listen.to_owned())));
    assert_eq!(config.forwarded_pools(), ["shop-tls", "dns"].into());
    let shop = forward(&config, "shop-tls");
    assert_eq!((&shop.method, shop.protocol, &*shop.pool), (&Method::Dr, Transport::Tcp, "shop-tls"));
    assert_eq!((shop.on_backend_down, shop.persistence), (OnBackendDown::Rebind, None));
    let dns = forward(&config, "dns");
    assert_eq!((&dns.method, dns.protocol), (&Method::Nat { snat: Snat::Off }, Transport::Udp));
}

#[test]
fn an_idle_timeout_is_that_of_the_protocol() {
    let config = file("everything");
    let [tcp, udp] = ["natted", "named"].map(|name| forward(&config, name).timeouts);
    assert_eq!((tcp.established, tcp.udp), (minutes(30), minutes(2)));
    assert_eq!((udp.established, udp.udp), (minutes(60), Duration::from_secs(30)));
    let shared = config.l4.timeouts;
    assert_eq!((tcp.syn, udp.fin, udp.close), (shared.syn, shared.fin, shared.close));
}

#[test]
fn a_frontend_says_what_becomes_of_its_flows() {
    let config = file("everything");
    let natted = forward(&config, "natted");
    let addresses = ["10.0.4.1", "10.0.4.2"].map(|ip| ip.parse().unwrap()).to_vec();
    assert_eq!(natted.method, Method::Nat { snat: Snat::Addresses(addresses) });
    assert_eq!(natted.on_backend_down, OnBackendDown::Reset);
    assert_eq!(natted.persistence, Some(Persistence { timeout: minutes(5), netmask: 24, netmask6: 64 }));
    let named = forward(&config, "named");
    assert_eq!(named.persistence, Some(Persistence { timeout: minutes(60), netmask: 32, netmask6: 128 }));
    assert_eq!(named.method, Method::Nat { snat: Snat::Auto });
}

#[test]
fn what_all_share_has_defaults() {
    let l4 = file("layers").l4;
    assert_eq!((l4.attach, l4.interfaces, l4.flows), (Attach::Auto, None, 1_000_000));
    assert_eq!((l4.new_flows_per_second, l4.snat_ports), (500_000, 1024..=32767));
    let seconds = [l4.timeouts.established, l4.timeouts.syn, l4.timeouts.fin, l4.timeouts.close, l4.timeouts.udp];
    assert_eq!(seconds.map(|timeout| timeout.as_secs()), [900, 60, 120, 10, 300]);
}

#[test]
fn every_port_is_port_0() {
    let config = file("everything");
    let direct = frontend(&config, "direct");
    assert_eq!((direct.listen.port(), direct.listen_text().as_str()), (0, "[2001:db8::10]:*"));
    assert!(pool(&config, "direct").backends.iter().all(|backend| backend.address.port() == 0));
}

#[test]
fn checks_of_backends_without_port_go_to_the_frontends() {
    let port = |config: &Config, name: &str| pool(config, name).check.as_ref().unwrap().frontend_port;
    let layers = file("layers");
    assert_eq!((port(&layers, "shop-tls"), port(&layers, "dns"), port(&layers, "api")), (Some(443), None, None));
    let everything = file("everything");
    assert_eq!((port(&everything, "forwarded"), port(&everything, "far")), (None, Some(443)));
    assert_eq!(port(&file("one-address"), "v6"), Some(80));
}

#[test]
fn a_change_of_layer_4_is_named() {
    let before =
        "frontends: { f: { mode: nat, listen: '192.0.2.1:80', pool: p } }\npools: { p: { backends: [10.0.0.1] } }";
    let after = "l4: { timeouts: { established: 20m } }\n\
         frontends: { f: { mode: nat, snat: auto, listen: '192.0.2.1:*', pool: p, persistence: 5m } }\n\
         pools: { p: { check: { tcp: {}, port: 22 }, backends: [10.0.0.1, 10.0.0.2] } }";
    assert_eq!(
        config::diff(&good(before), &good(after)).to_string(),
        "\
~ frontend f: listen 192.0.2.1:80 -> 192.0.2.1:*, snat off -> auto, idle_timeout 15m -> 20m, \
persistence (absent) -> { timeout: 5m, netmask: 32, netmask6: 128 }
~ pool p: check (absent) -> { tcp: {  }, port: 22, interval: 2s, timeout: 1s, rise: 2, f...
+ backend p/10.0.0.2
~ l4.timeouts.established 15m -> 20m
"
    );
}

#[test]
fn a_frontend_may_change_its_layer() {
    let text = |mode: &str| {
        format!(
            "frontends: {{ f: {{ mode: {mode}, listen: '192.0.2.1:80', pool: p }} }}\n\
             pools: {{ p: {{ backends: ['10.0.0.1:80'] }} }}"
        )
    };
    let diff = config::diff(&good(&text("dr")), &good(&text("http"))).to_string();
    assert!(diff.starts_with("~ frontend f: pool p -> (absent), idle_timeout 15m -> (absent)"), "{diff}");
    assert!(diff.contains("mode dr -> http") && !diff.contains("~ pool"), "{diff}");
}

fn file(name: &str) -> Config {
    good(&std::fs::read_to_string(repository().join(format!("tests/config/good/{name}.yaml"))).unwrap())
}

fn frontend<'c>(config: &'c Config, name: &str) -> &'c Frontend {
    config.frontends.iter().find(|frontend| &*frontend.name == name).unwrap()
}

fn forward<'c>(config: &'c Config, name: &str) -> &'c Forward {
    match &frontend(config, name).mode {
        Mode::Forward(forward) => forward,
        Mode::Http(_) => panic!("{name} is of layer 7"),
    }
}

fn pool<'c>(config: &'c Config, name: &str) -> &'c Pool {
    config.pools.iter().find(|pool| &*pool.name == name).unwrap()
}

fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}
