//! Flows stick to their backend, whatever happens to the pool.

use std::collections::BTreeSet;
use std::net::TcpListener;

use crate::harness::{Asker, Echo, Hook, Service, Space, Talk, Way, may_run, vip};
use crate::shared::{Lb, eventually};

const PORT: u16 = 7000;

/// Hosts, echo servers and lb of one test.
struct Stage {
    lb: Lb,
    service: Service,
    _echoes: [Echo; 2],
}

impl Stage {
    fn new(way: Way, hook: Hook, frontend: &str, pool: &str) -> Stage {
        let service = Service::new(way, hook);
        let echoes = service.echoes(PORT);
        let lb = service.start(&service.config(PORT, frontend, pool));
        Stage { lb, service, _echoes: echoes }
    }

    fn talk(&self, family: usize) -> Talk {
        Talk::open(&self.service.net, vip(family, PORT))
    }

    /// One with this backend.
    fn talk_with(&self, family: usize, backend: &str) -> Talk {
        (0..50).map(|_| self.talk(family)).find(|t| t.backend == backend).expect("a share of the connections")
    }

    fn asker_of(&self, family: usize, backend: &str) -> Asker {
        let new = || Asker::new(&self.service.net, vip(family, PORT));
        (0..50).map(|_| new()).find(|a| a.ask(b"who") == backend).expect("a share of the datagrams")
    }

    fn reload(&mut self, frontend: &str, pools: [String; 2]) {
        let config = self.service.config_with(PORT, frontend, pools);
        self.lb.reload(&config);
    }

    /// Each backend with words of its own: `weight: 3`, `state: drain`; `None`: it is not there.
    fn pools(&self, keys: [Option<&str>; 2]) -> [String; 2] {
        [0, 1].map(|family| {
            let one = |nth: usize| {
                let address = self.service.net.backend(nth, family);
                keys[nth].map(|k| format!("{{ name: b{}, address: \"{address}\"{k} }}, ", nth + 1))
            };
            format!("backends: [{}]", (0..2).filter_map(one).collect::<String>())
        })
    }

    fn new_connections(&self, family: usize, count: usize) -> Vec<String> {
        (0..count).map(|_| self.talk(family).backend).collect()
    }
}

macro_rules! ways {
    ($test:ident: $($name:ident $way:ident $hook:ident,)*) => {
        mod $test {
            $(#[test]
            fn $name() {
                if $crate::harness::may_run() {
                    super::$test(super::Way::$way, super::Hook::$hook);
                }
            })*
        }
    };
}

ways! { long_connections_survive_changes_of_the_pool: nat_xdp Nat Xdp, snat_tc Snat Tc, dr_xdp Dr Xdp, tunnel_tc Tunnel Tc, }

fn long_connections_survive_changes_of_the_pool(way: Way, hook: Hook) {
    let mut stage = Stage::new(way, hook, "", "");
    let mut talks: Vec<Talk> = (0..8).map(|n| stage.talk(n % 2)).collect();
    let askers = [stage.asker_of(0, "b1"), stage.asker_of(1, "b1")];
    let mut everybody_goes_on = |what: &str| {
        talks.iter_mut().for_each(|t| t.say(what));
        for asker in &askers {
            assert_eq!(asker.ask(what.as_bytes()), "b1", "{what}");
        }
    };
    everybody_goes_on("nothing happened");
    for (what, keys) in [
        ("other weights", [Some(", weight: 1"), Some(", weight: 9")]),
        ("weight 0", [Some(", weight: 0"), Some("")]),
        ("drain", [Some(", state: drain"), Some("")]),
        ("all as it was", [Some(""), Some("")]),
    ] {
        let pools = stage.pools(keys);
        stage.reload("", pools);
        everybody_goes_on(what);
    }
    stage.lb.cli_ok(&["backend", "drain", "v4/b2"]);
    everybody_goes_on("drained by hand");
    stage.lb.cli_ok(&["backend", "ready", "v4/b2"]);
    everybody_goes_on("ready again");
}

#[test]
fn a_backend_that_joins_takes_only_what_is_new() {
    if !may_run() {
        return;
    }
    let service = Service::new(Way::Dr, Hook::Tc);
    let echoes = service.echoes(PORT);
    let only_b1 = |family| format!("backends: [{{ name: b1, address: \"{}\" }}]", service.net.backend(0, family));
    let lb = service.start(&service.config_with(PORT, "", [0, 1].map(only_b1)));
    let mut stage = Stage { lb, service, _echoes: echoes };
    let mut talks: Vec<Talk> = (0..6).map(|n| stage.talk(n % 2)).collect();
    let both = stage.pools([Some(""), Some("")]);
    stage.reload("", both);
    talks.iter_mut().for_each(|t| t.say("still with b1"));
    for family in 0..2 {
        assert!(stage.new_connections(family, 6).contains(&"b2".to_owned()));
    }
}

#[test]
fn weight_0_drain_and_maint_take_nothing_new() {
    if !may_run() {
        return;
    }
    let mut stage = Stage::new(Way::Nat, Hook::Tc, "", "");
    for keys in [", weight: 0", ", state: drain", ", state: maint"] {
        let pools = stage.pools([Some(keys), Some("")]);
        stage.reload("", pools);
        for family in 0..2 {
            assert_eq!(stage.new_connections(family, 6), ["b2"; 6], "{keys}");
        }
    }
}

#[test]
fn a_reused_source_port_on_a_drained_backend_is_scheduled_anew() {
    if !may_run() {
        return;
    }
    let stage = Stage::new(Way::Nat, Hook::Tc, "", "");
    let net = &stage.service.net;
    let old = stage.talk_with(0, "b1");
    let port = old.local().port();
    // The client goes without a word, as one that lost its power.
    mute_resets(&net.client);
    old.reset();
    stage.lb.cli_ok(&["backend", "drain", "v4/b1"]);
    assert_eq!(Talk::open_from(net, port, vip(0, PORT)).backend, "b2");
}

/// Whoever drains a backend to take it away wants to know when it has been left.
#[test]
fn a_drained_backend_is_waited_for_until_its_last_flow_has_ended() {
    if !may_run() {
        return;
    }
    let stage = Stage::new(Way::Nat, Hook::Tc, "", "");
    let mut talk = stage.talk_with(0, "b1");
    talk.say("established");
    let drain = ["backend", "drain", "v4/b1", "--wait", "--timeout"];
    let late = stage.lb.cli(&[&drain[..], &["100ms"]].concat());
    let why = String::from_utf8_lossy(&late.stderr);
    assert!(late.status.code() == Some(1) && why.contains("1 established flow,"), "{why}");
    talk.reset();
    let left = stage.lb.cli_ok(&[&drain[..], &["30s"]].concat());
    assert!(left.contains("0 requests in flight"), "{left}");
}

fn mute_resets(host: &Space) {
    host.run("nft add table ip silence");
    host.run("nft add chain ip silence out { type filter hook output priority 0 ; }");
    host.run("nft add rule ip silence out tcp flags rst drop");
}

/// How a backend goes away.
#[derive(Clone, Copy, PartialEq)]
enum Gone {
    Removed,
    Down,
}

/// A stage where b1 went after a connection and a stream of datagrams were with it.
fn with_b1_gone(gone: Gone, on_down: &str) -> (Stage, Talk, Asker) {
    let service = Service::new(Way::Nat, Hook::Tc);
    let echoes = service.echoes(PORT);
    // What is checked is not what serves: a backend can be down for lb and go on.
    let checked: Vec<TcpListener> =
        service.net.backends.iter().map(|b| b.enter(|| TcpListener::bind("[::]:9").unwrap())).collect();
    let check = if gone == Gone::Down { "check: { tcp: {}, port: 9, interval: 50ms, rise: 1, fall: 1 }" } else { "" };
    let frontend = format!("on_backend_down: {on_down}");
    let lb = service.start(&service.config(PORT, &frontend, check));
    let mut stage = Stage { lb, service, _echoes: echoes };
    let talk = stage.talk_with(0, "b1");
    let asker = stage.asker_of(0, "b1");
    match gone {
        Gone::Removed => {
            let pools = stage.pools([None, Some("")]);
            stage.reload(&frontend, pools);
        }
        Gone::Down => {
            eventually("both are up", || (0..2).all(|n| stage.lb.backend("v4", ["b1", "b2"][n])["health"] == "up"));
            let mut checked = checked.into_iter();
            drop(checked.next());
            // One that is half open when b1 goes down is reset by b2.
            let next = || Talk::try_open(&stage.service.net, vip(0, PORT)).map(|t| t.backend);
            eventually("b1 is down", || (0..4).all(|_| next().is_ok_and(|b| b == "b2")));
            std::mem::forget(checked);
        }
    }
    assert_eq!(stage.new_connections(0, 4), ["b2"; 4]);
    (stage, talk, asker)
}

fn flows_are_kept(gone: Gone) {
    let (_stage, mut talk, asker) = with_b1_gone(gone, "keep");
    talk.say("still here");
    assert_eq!(asker.ask(b"still here"), "b1");
}

fn flows_are_rebound(gone: Gone) {
    let (_stage, mut talk, asker) = with_b1_gone(gone, "rebind");
    assert_eq!(asker.ask(b"anybody"), "b2");
    let error = talk.try_say(b"anybody").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "b2 knows nothing of the connection");
}

fn flows_are_reset(gone: Gone) {
    let (stage, mut talk, asker) = with_b1_gone(gone, "reset");
    // b2 would reset it as well: with b2 dumb it can only have been lb.
    mute_resets(&stage.service.net.backends[1]);
    let error = talk.try_say(b"anybody").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    asker.socket.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
    let answers: BTreeSet<String> = (0..6).filter_map(|_| asker.try_ask(b"anybody").ok()).collect();
    assert_eq!(answers, BTreeSet::from(["b2".to_owned()]), "datagrams are scheduled anew");
}

macro_rules! gone {
    ($($name:ident: $what:ident $gone:ident,)*) => {$(
        #[test]
        fn $name() {
            if may_run() {
                $what(Gone::$gone);
            }
        }
    )*};
}

gone! {
    flows_of_a_removed_backend_are_kept: flows_are_kept Removed,
    flows_of_a_removed_backend_are_rebound: flows_are_rebound Removed,
    flows_of_a_removed_backend_are_reset: flows_are_reset Removed,
    flows_of_a_down_backend_are_kept: flows_are_kept Down,
    flows_of_a_down_backend_are_rebound: flows_are_rebound Down,
    flows_of_a_down_backend_are_reset: flows_are_reset Down,
}

#[test]
fn a_backend_that_is_up_again_takes_new_flows() {
    if !may_run() {
        return;
    }
    let (stage, _, _) = with_b1_gone(Gone::Down, "rebind");
    let _checked = stage.service.net.backends[0].enter(|| TcpListener::bind("[::]:9").unwrap());
    eventually("b1 is up", || stage.lb.backend("v4", "b1")["health"] == "up");
    eventually("it serves", || stage.talk(0).backend == "b1");
}

/// Eight clients of one /24 and /64 (IPv4: .50 to .57).
fn clients(stage: &Stage, family: usize) -> Vec<String> {
    let addresses: Vec<String> = (50..58).map(|n| format!("{}{n}", ["198.51.100.", "2001:db8:1::"][family])).collect();
    for address in &addresses {
        stage.service.net.client.ip(&format!(
            "addr add {address}/{} dev eth0 {}",
            [24, 64][family],
            ["", "nodad"][family]
        ));
    }
    addresses
}

#[test]
fn clients_persist_on_a_backend() {
    if !may_run() {
        return;
    }
    let stage = Stage::new(Way::Nat, Hook::Tc, "persistence: 1m", "");
    for family in 0..2 {
        let mut seen = BTreeSet::new();
        for client in clients(&stage, family) {
            let to = vip(family, PORT);
            let backends: BTreeSet<String> =
                (0..4).map(|_| Talk::open_as(&stage.service.net, &client, to).backend).collect();
            assert_eq!(backends.len(), 1, "{client} was at {backends:?}");
            seen.extend(backends);
        }
        assert_eq!(seen.len(), 2, "and others are elsewhere");
    }
}

#[test]
fn clients_of_one_network_persist_together() {
    if !may_run() {
        return;
    }
    let stage = Stage::new(Way::Dr, Hook::Xdp, "persistence: { timeout: 1m, netmask: 24, netmask6: 64 }", "");
    for family in 0..2 {
        let to = vip(family, PORT);
        let at = |client: &String| Talk::open_as(&stage.service.net, client, to).backend;
        let backends: BTreeSet<String> = clients(&stage, family).iter().map(at).collect();
        assert_eq!(backends.len(), 1, "{backends:?}");
    }
}

#[test]
fn a_drained_backend_loses_its_persistent_clients() {
    if !may_run() {
        return;
    }
    let stage = Stage::new(Way::Nat, Hook::Tc, "persistence: 1m", "");
    let first = stage.talk(0).backend;
    let other = if first == "b1" { "b2" } else { "b1" };
    stage.lb.cli_ok(&["backend", "drain", &format!("v4/{first}")]);
    assert_eq!(stage.new_connections(0, 3), [other; 3]);
    stage.lb.cli_ok(&["backend", "ready", &format!("v4/{first}")]);
    assert_eq!(stage.new_connections(0, 3), [other; 3], "they persist on the new one");
}

#[test]
fn ip_hash_sends_a_client_always_to_the_same_backend() {
    if !may_run() {
        return;
    }
    let stage = Stage::new(Way::Nat, Hook::Tc, "", "scheduler: ip-hash");
    for family in 0..2 {
        let to = vip(family, PORT);
        let mut seen = BTreeSet::new();
        for client in clients(&stage, family) {
            let talks: BTreeSet<String> =
                (0..3).map(|_| Talk::open_as(&stage.service.net, &client, to).backend).collect();
            assert_eq!(talks.len(), 1, "{client} was at {talks:?}");
            seen.extend(talks);
        }
        assert_eq!(seen.len(), 2, "eight clients at both");
    }
}

#[test]
fn maglev_spreads_connections_of_one_client() {
    if !may_run() {
        return;
    }
    let stage = Stage::new(Way::Tunnel, Hook::Tc, "", "scheduler: maglev");
    for family in 0..2 {
        // Forty at one of two by chance: once in 2^39 runs.
        let seen: BTreeSet<String> = stage.new_connections(family, 40).into_iter().collect();
        assert_eq!(seen.len(), 2);
    }
}

#[test]
fn least_connections_evens_out_what_is_open() {
    if !may_run() {
        return;
    }
    let mut stage = Stage::new(Way::Nat, Hook::Tc, "", "scheduler: least-connections");
    let with = |stage: &Stage, keys| stage.pools(keys).map(|p| format!("scheduler: least-connections, {p}"));
    let only_b2 = with(&stage, [Some(", state: drain"), Some("")]);
    stage.reload("", only_b2);
    let open: Vec<Talk> = (0..6).map(|_| stage.talk(0)).collect();
    assert!(open.iter().all(|t| t.backend == "b2"));
    let both = with(&stage, [Some(""), Some("")]);
    stage.reload("", both);
    let next: Vec<Talk> = (0..6).map(|_| stage.talk(0)).collect();
    assert!(next.iter().all(|t| t.backend == "b1"), "b2 has six already");
}

#[test]
fn weights_are_shares() {
    if !may_run() {
        return;
    }
    let mut stage = Stage::new(Way::Dr, Hook::Tc, "", "");
    let pools = stage.pools([Some(", weight: 3"), Some(", weight: 1")]);
    stage.reload("", pools);
    let got = stage.new_connections(0, 40);
    // Each core counts for itself and may end in the middle of its ring.
    let b1 = got.iter().filter(|b| *b == "b1").count();
    assert!((26..=34).contains(&b1), "{b1} of 40 where 30 are due");
}
