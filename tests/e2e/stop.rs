//! SIGTERM: listeners closed, what is in flight finished, idle connections told, and all of it bounded.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::h2::{GOAWAY, H2, HEADERS};
use crate::harness::{Lb, Origin, Reply, eventually};

fn config(drain: &str) -> String {
    format!(
        "
frontends:
  web: {{ mode: http, listen: @web, pool: web }}
pools:
  web: {{ backends: [@a] }}
reload: {{ drain_timeout: {drain} }}
"
    )
}

/// Answers `/hold` only once it is released.
fn holding() -> (Origin, Arc<AtomicBool>) {
    let release = Arc::new(AtomicBool::new(false));
    let go = release.clone();
    let origin = Origin::start(move |request| {
        if request.target == "/hold" {
            eventually("released", || go.load(Ordering::SeqCst));
        }
        Reply::ok("done")
    });
    (origin, release)
}

fn is_refused(lb: &Lb) -> bool {
    TcpStream::connect(lb.addr("web")).is_err()
}

#[test]
fn requests_in_flight_finish() {
    let (origin, release) = holding();
    let mut lb = Lb::start(&config("30s"), &[("a", origin.addr)]);
    let mut idle = lb.client("web");
    assert_eq!(idle.get("/").status, 200);
    let mut busy = lb.client("web");
    busy.send("GET /hold HTTP/1.1\r\nHost: t\r\n\r\n");
    eventually("it is in flight", || lb.metric("lb_backend_requests_active", &[]) == 1.0);
    lb.signal(Signal::SIGTERM);
    eventually("the listener is closed", || is_refused(&lb));
    assert!(idle.is_closed(), "a connection without a request goes at once");
    assert!(lb.is_running(), "it waits for the one in flight");
    assert_eq!(crate::harness::get(lb.addr("metrics"), "/readyz").status, 503);
    release.store(true, Ordering::SeqCst);
    let response = busy.response();
    assert_eq!((response.text().as_str(), response.get("connection")), ("done", Some("close")));
    assert!(busy.is_closed());
    assert_eq!(lb.wait_for_exit().code(), Some(0));
}

#[test]
fn h2_clients_get_goaway_and_their_answers() {
    let (origin, release) = holding();
    let mut lb = Lb::start(&config("30s"), &[("a", origin.addr)]);
    let mut idle = H2::connect(lb.addr("web"));
    idle.get(1, "/").unwrap();
    idle.expect(HEADERS);
    let mut busy = H2::connect(lb.addr("web"));
    busy.get(1, "/hold").unwrap();
    eventually("it is in flight", || lb.metric("lb_backend_requests_active", &[]) == 1.0);
    lb.signal(Signal::SIGTERM);
    assert_eq!(idle.expect(GOAWAY).error_code(), 0);
    assert!(idle.rest().iter().all(|f| f.kind != HEADERS));
    assert_eq!(busy.expect(GOAWAY).error_code(), 0);
    release.store(true, Ordering::SeqCst);
    busy.expect(HEADERS);
    busy.rest();
    assert_eq!(lb.wait_for_exit().code(), Some(0));
}

#[test]
fn an_h2_client_that_fell_silent_holds_up_nothing() {
    let (origin, _) = holding();
    let mut lb = Lb::start(&config("1h"), &[("a", origin.addr)]);
    let mut silent = H2::connect(lb.addr("web"));
    silent.get(1, "/").unwrap();
    silent.expect(HEADERS);
    // It answers no PING from here on, and does not close.
    lb.signal(Signal::SIGTERM);
    assert_eq!(lb.wait_for_exit().code(), Some(0));
}

#[test]
fn the_drain_is_bounded() {
    let (origin, _release) = holding();
    let mut lb = Lb::start(&config("500ms"), &[("a", origin.addr)]);
    let mut busy = lb.client("web");
    busy.send("GET /hold HTTP/1.1\r\nHost: t\r\n\r\n");
    eventually("it is in flight", || lb.metric("lb_backend_requests_active", &[]) == 1.0);
    let start = Instant::now();
    lb.signal(Signal::SIGTERM);
    lb.wait_for_exit();
    assert!(start.elapsed() >= Duration::from_millis(500), "it waited for less than was allowed");
    assert!(busy.is_closed());
    assert!(!lb.dir().join("admin.sock").exists(), "the admin socket is removed");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (origin, _release) = holding();
    let mut lb = Lb::start(&config("1h"), &[("a", origin.addr)]);
    let mut busy = lb.client("web");
    busy.send("GET /hold HTTP/1.1\r\nHost: t\r\n\r\n");
    eventually("it is in flight", || lb.metric("lb_backend_requests_active", &[]) == 1.0);
    lb.signal(Signal::SIGTERM);
    eventually("the listener is closed", || is_refused(&lb));
    lb.signal(Signal::SIGTERM);
    assert_eq!(lb.wait_for_exit().code(), Some(143));
}

#[test]
fn a_new_lb_may_start_at_once_on_the_same_ports() {
    let (origin, _) = holding();
    let mut lb = Lb::start(&config("5s"), &[("a", origin.addr)]);
    let mut client = lb.client("web");
    assert_eq!(client.get("/").status, 200);
    let (web, metrics) = (lb.addr("web"), lb.addr("metrics"));
    lb.signal(Signal::SIGTERM);
    assert_eq!(lb.wait_for_exit().code(), Some(0));
    let text = format!("{}metrics: {{ listen: {metrics} }}\n", config("5s"));
    let again = Lb::start(&text, &[("a", origin.addr), ("web", web), ("metrics", metrics)]);
    assert_eq!(again.get("web", "/").text(), "done");
}
