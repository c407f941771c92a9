//! Connections to backends: reuse, limits and queues, retries, timeouts, and backends that go away.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use crate::harness::{Client, Lb, Origin, PATIENCE, Port, Reply, eventually, free_listener, over, read_request};

/// An address at which nobody listens, for as long as the port lives.
fn dead() -> Port {
    Port::reserve()
}

/// An origin that answers each request only when the test says so.
struct Held {
    origin: Origin,
    release: mpsc::Sender<()>,
}

fn held(name: &'static str) -> Held {
    let (release, gate) = mpsc::channel();
    let gate = Mutex::new(gate);
    let origin = Origin::start(move |_| {
        let _ = gate.lock().unwrap().recv_timeout(PATIENCE);
        Reply::ok(name)
    });
    Held { origin, release }
}

fn asking(lb: &Lb, path: &str) -> Client {
    let mut client = lb.client("web");
    client.send(format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n"));
    client
}

#[test]
fn connections_are_pooled_and_reused() {
    let origin = Origin::named("a");
    let lb = Lb::start(&over("    backends: [@a]"), &[("a", origin.addr)]);
    for _ in 0..20 {
        assert_eq!(lb.get("web", "/").text(), "a");
    }
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn idle_connections_are_closed_after_their_time() {
    let origin = Origin::named("a");
    let lb = Lb::start(&over("    timeouts: { idle: 100ms }\n    backends: [@a]"), &[("a", origin.addr)]);
    lb.get("web", "/");
    eventually("the pooled connection is closed", || lb.metric("lb_backend_connections_active", &[]) == 0.0);
    assert_eq!(lb.get("web", "/").text(), "a");
    assert_eq!(origin.accepted(), 2);
}

#[test]
fn a_pooled_connection_that_the_backend_closed_costs_nobody_a_request() {
    let origin = Origin::named("a");
    let lb = Lb::start(&over("    backends: [@a]"), &[("a", origin.addr)]);
    let mut client = lb.client("web");
    let post = "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\nx";
    for _ in 0..20 {
        assert_eq!(client.ask(post).text(), "a");
        origin.hang_up();
        eventually("the connection is gone", || lb.metric("lb_backend_connections_active", &[]) == 0.0);
    }
}

#[test]
fn requests_beyond_max_connections_wait_their_turn() {
    let slow = held("a");
    let lb = Lb::start(&over("    backends: [{ address: @a, max_connections: 2 }]"), &[("a", slow.origin.addr)]);
    let mut clients: Vec<_> = (0..5).map(|_| asking(&lb, "/")).collect();
    eventually("three wait", || lb.metric("lb_pool_queued", &[("pool", "web")]) == 3.0);
    assert_eq!(lb.metric("lb_backend_requests_active", &[]), 2.0);
    for _ in 0..5 {
        slow.release.send(()).unwrap();
    }
    assert!(clients.iter_mut().all(|c| c.response().text() == "a"));
    assert_eq!(lb.metric("lb_pool_queued", &[]), 0.0);
}

#[test]
fn waiting_ends_with_503() {
    let slow = held("a");
    let pool = "    timeouts: { queue: 2s }\n    max_queue: 1\n    backends: [{ address: @a, max_connections: 1 }]";
    let lb = Lb::start(&over(pool), &[("a", slow.origin.addr)]);
    let mut first = asking(&lb, "/first");
    eventually("the slot is taken", || lb.metric("lb_backend_requests_active", &[]) == 1.0);
    let mut waiting = asking(&lb, "/waiting");
    eventually("one waits", || lb.metric("lb_pool_queued", &[]) == 1.0);
    let overflow = lb.get("web", "/overflow");
    assert_eq!(overflow.status, 503);
    let timed_out = waiting.response();
    assert_eq!(timed_out.status, 503);
    assert!(!timed_out.text().is_empty(), "a short reason");
    for (path, metric) in [("/overflow", "lb_pool_queue_overflows_total"), ("/waiting", "lb_pool_queue_timeouts_total")]
    {
        let line = lb.logged(path);
        assert_eq!((&line["status"], &line["fault"]), (&503.into(), &"lb".into()), "{line}");
        assert_eq!(lb.metric(metric, &[("pool", "web")]), 1.0);
    }
    slow.release.send(()).unwrap();
    assert_eq!(first.response().text(), "a");
}

#[test]
fn who_waits_for_a_backend_that_leaves_moves_on() {
    let slow = held("slow");
    let spare = Origin::named("spare");
    let pool = "    backends: [{ address: @slow, max_connections: 1 }]\n    backup: [@spare]";
    let lb = Lb::start(&over(pool), &[("slow", slow.origin.addr), ("spare", spare.addr)]);
    let mut first = asking(&lb, "/");
    eventually("the slot is taken", || lb.metric("lb_backend_requests_active", &[]) == 1.0);
    let mut waiting = asking(&lb, "/");
    eventually("one waits", || lb.metric("lb_pool_queued", &[]) == 1.0);
    lb.cli_ok(&["backend", "drain", &format!("web/{}", lb.addr("slow"))]);
    assert_eq!(waiting.response().text(), "spare");
    slow.release.send(()).unwrap();
    assert_eq!(first.response().text(), "slow", "what was in flight finishes");
}

#[test]
fn who_waits_moves_on_to_what_a_reload_brings() {
    let slow = held("slow");
    let spare = Origin::named("spare");
    let pool = |backends: &str| over(&format!("    timeouts: {{ queue: 1h }}\n    backends: [{backends}]"));
    let slow_for = |slots: u32| format!("{{ address: @slow, max_connections: {slots} }}");
    let mut lb = Lb::start(&pool(&slow_for(1)), &[("slow", slow.origin.addr), ("spare", spare.addr)]);
    let mut first = asking(&lb, "/");
    eventually("the slot is taken", || lb.metric("lb_backend_requests_active", &[]) == 1.0);
    let mut waiting = [asking(&lb, "/1"), asking(&lb, "/2"), asking(&lb, "/3")];
    eventually("three wait", || lb.metric("lb_pool_queued", &[]) == 3.0);
    // Nothing changes for them, and their places stay counted.
    lb.reload(&pool(&slow_for(1)));
    assert_eq!(lb.metric("lb_pool_queued", &[]), 3.0);
    // More slots at the same backend, for the one that waited longest.
    lb.reload(&pool(&slow_for(2)));
    eventually("two wait", || lb.metric("lb_pool_queued", &[]) == 2.0);
    // And a new backend for the others.
    lb.reload(&pool(&format!("{}, @spare", slow_for(2))));
    assert_eq!((waiting[1].response().text(), waiting[2].response().text()), ("spare".into(), "spare".into()));
    assert!(lb.logged("/2")["queue_us"].as_u64().unwrap() > 0);
    slow.release.send(()).unwrap();
    slow.release.send(()).unwrap();
    assert_eq!((first.response().text(), waiting[0].response().text()), ("slow".into(), "slow".into()));
    assert_eq!(lb.metric("lb_pool_queued", &[]), 0.0);
}

#[test]
fn a_dead_backend_costs_nobody_a_request() {
    let (alive, gone) = (Origin::named("alive"), dead());
    let lb = Lb::start(
        &over("    retry: { budget: 100% }\n    backends: [@alive, @gone]"),
        &[("alive", alive.addr), ("gone", gone.addr)],
    );
    let mut client = lb.client("web");
    for _ in 0..10 {
        assert_eq!(client.get("/").text(), "alive");
        // Nothing was sent to the dead one, so that even a POST may be tried again.
        assert_eq!(client.ask("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nbody").text(), "alive");
    }
    assert!(alive.requests().iter().filter(|r| r.method == "POST").all(|r| r.text() == "body"));
    assert!(lb.metric("lb_pool_retries_total", &[("pool", "web")]) >= 5.0);
    assert!(lb.metric("lb_backend_connect_failures_total", &[("backend", &gone.addr.to_string())]) >= 5.0);
}

#[test]
fn without_a_backend_that_answers_it_is_502_or_503() {
    let gone = dead();
    let mut lb = Lb::start(&over("    backends: [@gone]"), &[("gone", gone.addr)]);
    assert_eq!(lb.get("web", "/refused").status, 502);
    let line = lb.logged("/refused");
    assert_eq!((&line["fault"], &line["backend"]), (&"backend".into(), &gone.addr.to_string().into()), "{line}");
    assert!(line["reason"].as_str().unwrap().contains("connect"), "{line}");
    lb.reload(&over("    backends: [{ address: @gone, state: drain }]"));
    assert_eq!(lb.get("web", "/none").status, 503);
    assert_eq!(lb.logged("/none")["fault"], "lb");
    eventually("it is counted", || lb.metric("lb_pool_no_backend_total", &[("pool", "web")]) == 1.0);
}

#[test]
fn retries_end_with_their_budget() {
    let gone = dead();
    let lb = Lb::start(&over("    retry: { attempts: 2, budget: 10% }\n    backends: [@gone]"), &[("gone", gone.addr)]);
    let mut client = lb.client("web");
    for _ in 0..200 {
        assert_eq!(client.get("/").status, 502);
    }
    let retries = lb.metric("lb_pool_retries_total", &[("pool", "web")]);
    assert!((1.0..=100.0).contains(&retries), "{retries} retries of 200 requests, where 400 were asked for");
    assert!(lb.metric("lb_pool_retries_refused_total", &[("pool", "web")]) > 100.0);
}

/// Reads a request and hangs up, the first `times` times; answers with its name from then on.
fn breaks_off(times: usize) -> (Origin, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    let origin = Origin::raw(move |mut stream: TcpStream, _| {
        let mut input = BufReader::new(stream.try_clone().unwrap());
        while let Ok(Some(_)) = read_request(&mut input) {
            if count.fetch_add(1, Ordering::SeqCst) < times {
                return;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        }
    });
    (origin, taken)
}

#[test]
fn an_idempotent_request_is_sent_again_after_a_lost_connection() {
    let (origin, taken) = breaks_off(1);
    let lb = Lb::start(&over("    backends: [@a]"), &[("a", origin.addr)]);
    assert_eq!(lb.get("web", "/again").text(), "ok");
    assert_eq!(taken.load(Ordering::SeqCst), 2);
    assert_eq!(lb.logged("/again")["retries"], 1);
}

#[test]
fn a_request_that_may_have_been_carried_out_is_not_sent_again() {
    let (origin, taken) = breaks_off(1);
    let other = Origin::named("other");
    let lb = Lb::start(&over("    backends: [@a]\n    backup: [@other]"), &[("a", origin.addr), ("other", other.addr)]);
    let response = lb.client("web").ask("POST /once HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\nx");
    assert_eq!(response.status, 502);
    assert_eq!(taken.load(Ordering::SeqCst), 1);
    assert!(other.requests().is_empty());
    assert_eq!(lb.logged("/once")["fault"], "backend");
}

#[test]
fn a_response_that_does_not_come_is_504() {
    let origin = Origin::raw(|mut stream, _| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let lb = Lb::start(&over("    timeouts: { response: 300ms }\n    backends: [@a]"), &[("a", origin.addr)]);
    let start = Instant::now();
    let response = lb.get("web", "/late");
    assert_eq!(response.status, 504);
    assert!(start.elapsed() >= Duration::from_millis(300));
    let line = lb.logged("/late");
    assert_eq!(line["fault"], "backend", "{line}");
    assert!(line["reason"].as_str().unwrap().contains("timeout"), "{line}");
    eventually("no connection is left", || lb.metric("lb_backend_connections_active", &[]) == 0.0);
}

#[test]
fn a_body_that_stops_ends_the_clients_connection() {
    let origin = Origin::raw(|mut stream, _| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf.").unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let lb = Lb::start(&over("    timeouts: { response: 2s }\n    backends: [@a]"), &[("a", origin.addr)]);
    let mut client = asking(&lb, "/half");
    assert!(client.try_response("GET").is_err(), "half a body must not look like a whole one");
    assert_eq!(lb.logged("/half")["fault"], "backend");
}

#[test]
fn a_connect_that_hangs_is_given_up() {
    let (addr, _full) = full_backlog();
    let spare = Origin::named("spare");
    let lb = Lb::start(
        &over("    timeouts: { connect: 300ms }\n    backends: [@hang]"),
        &[("hang", addr), ("spare", spare.addr)],
    );
    let response = lb.get("web", "/hang");
    assert!(matches!(response.status, 502..=504), "{}", response.status);
    let line = lb.logged("/hang");
    assert_eq!(line["fault"], "backend", "{line}");
    assert!(line["reason"].as_str().unwrap().contains("connect"), "{line}");
}

#[test]
fn a_connect_that_hangs_is_tried_elsewhere() {
    let (addr, _full) = full_backlog();
    let spare = Origin::named("spare");
    let lb = Lb::start(
        &over("    timeouts: { connect: 300ms }\n    backends: [{ address: @hang, weight: 100 }, @spare]"),
        &[("hang", addr), ("spare", spare.addr)],
    );
    assert_eq!(lb.get("web", "/").text(), "spare");
}

/// A listener whose queue is full: further connects get no answer.
fn full_backlog() -> (SocketAddr, (TcpListener, Vec<socket2::Socket>)) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let listener: TcpListener = socket.into();
    let addr = listener.local_addr().unwrap();
    let connects = (0..4).map(|_| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&addr.into());
        socket
    });
    let connects = connects.collect();
    (addr, (listener, connects))
}

#[test]
fn a_backend_that_comes_up_late_is_found() {
    let listener = free_listener();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let lb = Lb::start(&over("    backends: [@a]"), &[("a", addr)]);
    assert_eq!(lb.get("web", "/").status, 502);
    let origin = Origin::on(TcpListener::bind(addr).unwrap(), |_| Reply::ok("up"));
    assert_eq!(lb.get("web", "/").text(), "up");
    drop(origin);
}
