//! Each scheduler seen from outside: which backend answers.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::harness::{Client, Lb, Origin, Reply, eventually, over};

/// Backends that answer with their own name.
fn origins(names: &[&'static str]) -> Vec<(&'static str, Origin)> {
    names.iter().map(|name| (*name, Origin::named(name))).collect()
}

fn start(origins: &[(&'static str, Origin)], pool: &str) -> Lb {
    let names: Vec<_> = origins.iter().map(|(name, origin)| (*name, origin.addr)).collect();
    Lb::start(&over(pool), &names)
}

/// How often each backend answered.
fn tally(lb: &Lb, requests: usize) -> BTreeMap<String, usize> {
    let mut client = lb.client("web");
    let mut tally = BTreeMap::new();
    for _ in 0..requests {
        *tally.entry(client.get("/").text()).or_default() += 1;
    }
    tally
}

fn expected<const N: usize>(counts: [(&str, usize); N]) -> BTreeMap<String, usize> {
    counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
}

/// Who answers each of many clients, told apart by their loopback address.
fn by_client(lb: &Lb, clients: u8) -> Vec<String> {
    (1..=clients).map(|n| ask_from(lb.addr("web"), Ipv4Addr::new(127, 0, 1, n).into())).collect()
}

fn ask_from(to: SocketAddr, from: IpAddr) -> String {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    Client::over(socket.into()).get("/").text()
}

#[test]
fn round_robin_honours_weights() {
    let origins = origins(&["a", "b", "c"]);
    let lb = start(
        &origins,
        "    scheduler: round-robin
    backends: [{ address: @a, weight: 3 }, { address: @b, weight: 1 }, { address: @c, weight: 0 }]",
    );
    assert_eq!(tally(&lb, 40), expected([("a", 30), ("b", 10)]));
}

#[test]
fn round_robin_is_smooth() {
    let origins = origins(&["a", "b"]);
    let lb = start(&origins, "    backends: [{ address: @a, weight: 2 }, { address: @b, weight: 2 }]");
    let mut client = lb.client("web");
    let turns: String = (0..8).map(|_| client.get("/").text()).collect();
    assert!(turns == "abababab" || turns == "babababa", "{turns}");
}

#[test]
fn least_connections_goes_where_least_is_in_flight() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let slow = Origin::start(move |request| {
        if request.target == "/hold" {
            let _ = held.lock().unwrap().recv();
        }
        Reply::ok("slow")
    });
    let origins = [("slow", slow), ("quick", Origin::named("quick"))];
    let lb = start(&origins, "    scheduler: least-connections\n    backends: [@slow, @quick]");
    // Of two requests at most one goes to the quick one before the slow one holds the other.
    let busy = || lb.metric("lb_backend_requests_active", &[("backend", &lb.addr("slow").to_string())]);
    let mut holders = Vec::new();
    eventually("one hangs at the slow one", || {
        let mut client = lb.client("web");
        client.send("GET /hold HTTP/1.1\r\nHost: t\r\n\r\n");
        holders.push(client);
        eventually("it is on its way", || lb.metric("lb_pool_requests_total", &[]) == holders.len() as f64);
        busy() >= 1.0
    });
    assert_eq!(tally(&lb, 20), expected([("quick", 20)]));
    drop(release);
}

fn hashes_by_client(scheduler: &str) {
    let mut origins = origins(&["a", "b", "c", "d"]);
    let pool = |backends: &str| format!("    scheduler: {scheduler}\n    backends: [{backends}]");
    let mut lb = start(&origins, &pool("@a, @b, @c, @d"));
    let first = by_client(&lb, 100);
    assert_eq!(by_client(&lb, 100), first, "the same client finds the same backend");
    for (name, _) in &origins {
        let share = first.iter().filter(|seen| seen == name).count();
        assert!((8..=50).contains(&share), "{name} has {share} of 100 clients");
    }
    lb.reload(&over(&pool("@a, @b, @d")));
    drop(origins.remove(2));
    let moved = |a: &[String], b: &[String]| a.iter().zip(b).filter(|(a, b)| a != b && *a != "c").count();
    let second = by_client(&lb, 100);
    assert!(second.iter().all(|seen| seen != "c"));
    let allowed = if scheduler == "maglev" { 12 } else { 0 };
    assert!(moved(&first, &second) <= allowed, "{} clients moved without need", moved(&first, &second));
}

#[test]
fn ip_hash_moves_only_the_clients_of_a_backend_that_left() {
    hashes_by_client("ip-hash");
}

#[test]
fn maglev_moves_few_clients() {
    hashes_by_client("maglev");
}

#[test]
fn random_uses_every_backend() {
    let origins = origins(&["a", "b", "c"]);
    let lb = start(&origins, "    scheduler: random\n    backends: [@a, @b, @c]");
    let tally = tally(&lb, 300);
    assert!(["a", "b", "c"].iter().all(|name| tally[*name] > 40), "{tally:?}");
}

#[test]
fn states_in_the_file_are_honoured() {
    let origins = origins(&["a", "b", "c"]);
    let lb = start(&origins, "    backends: [@a, { address: @b, state: drain }, { address: @c, state: maint }]");
    assert_eq!(tally(&lb, 10), expected([("a", 10)]));
}

#[test]
fn backups_serve_while_no_primary_can() {
    let origins = origins(&["a", "b", "spare"]);
    let lb = start(&origins, "    backends: [@a, @b]\n    backup: [@spare]");
    assert_eq!(tally(&lb, 10), expected([("a", 5), ("b", 5)]));
    let id = |name: &str| format!("web/{}", lb.addr(name));
    lb.cli_ok(&["backend", "drain", &id("a")]);
    assert_eq!(tally(&lb, 10), expected([("b", 10)]));
    lb.cli_ok(&["backend", "drain", &id("b")]);
    assert_eq!(tally(&lb, 10), expected([("spare", 10)]));
    lb.cli_ok(&["backend", "ready", &id("a")]);
    assert_eq!(tally(&lb, 10), expected([("a", 10)]));
}
