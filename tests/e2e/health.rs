//! Health checks of every kind, and what they do to traffic.

use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use crate::harness::{Authority, Lb, Nginx, Origin, Reply, Speaks, eventually, free_listener};

/// A machine that is busy with other tests must not look like a dead backend.
const QUICK: &str = "interval: 200ms, timeout: 190ms, rise: 1, fall: 3";

fn config(check: &str, backends: &str) -> String {
    format!(
        "
frontends:
  web: {{ mode: http, listen: @web, pool: web }}
pools:
  web:
    check: {{ {check}, {QUICK} }}
    backends: [{backends}]
"
    )
}

fn health(lb: &Lb, name: &str) -> String {
    lb.backend("web", &lb.addr(name).to_string())["health"].as_str().unwrap_or("absent").to_owned()
}

fn becomes(lb: &Lb, name: &str, expected: &str) {
    eventually(&format!("{name} is {expected}"), || health(lb, name) == expected);
}

#[test]
fn tcp_sees_a_server_go_and_come_back() {
    let listener = free_listener();
    let addr = listener.local_addr().unwrap();
    let origin = Origin::on(listener, |_| Reply::ok("a"));
    let lb = Lb::start(&config("tcp: {}", "@a"), &[("a", addr)]);
    becomes(&lb, "a", "up");
    drop(origin);
    becomes(&lb, "a", "down");
    assert_eq!(lb.get("web", "/").status, 503);
    let labels = [("pool", "web"), ("reason", "connect")];
    assert!(lb.metric("lb_backend_check_failures_total", &labels) >= 1.0);
    assert_eq!(lb.metric("lb_backend_up", &[]), 0.0);
    assert_eq!(lb.metric("lb_pool_backends_available", &[("role", "primary")]), 0.0);
    let origin = Origin::on(TcpListener::bind(addr).unwrap(), |_| Reply::ok("back"));
    becomes(&lb, "a", "up");
    assert_eq!(lb.get("web", "/").text(), "back");
    assert!(lb.stderr().contains(&addr.to_string()), "the changes are logged");
    drop(origin);
}

#[test]
fn http_looks_at_status_and_body() {
    let status = Arc::new(AtomicU16::new(200));
    let healthy = Arc::new(AtomicBool::new(true));
    let (now, says) = (status.clone(), healthy.clone());
    let origin = Origin::start(move |request| {
        if request.target != "/check?deep" {
            return Reply::ok("page");
        }
        let told = request.method == "OPTIONS" && request.get("host") == Some("check.test");
        let body = if told && says.load(Ordering::SeqCst) { "all is fine" } else { "all is lost" };
        Reply::status(now.load(Ordering::SeqCst), body)
    });
    let check = "http: { method: OPTIONS, path: '/check?deep', host: check.test, expect: [200-204, 301], body_contains: is fine }";
    let lb = Lb::start(&config(check, "@a"), &[("a", origin.addr)]);
    becomes(&lb, "a", "up");
    for (code, expected) in [(503, "down"), (301, "up"), (205, "down"), (204, "down"), (200, "up")] {
        // A 204 has no body, so that the words are missing.
        status.store(code, Ordering::SeqCst);
        becomes(&lb, "a", expected);
    }
    healthy.store(false, Ordering::SeqCst);
    becomes(&lb, "a", "down");
    for reason in ["status", "body"] {
        assert!(lb.metric("lb_backend_check_failures_total", &[("reason", reason)]) >= 1.0, "{reason}");
    }
}

#[test]
fn https_verifies_as_the_pool_does() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new(dir.path(), "ca");
    Authority::new(dir.path(), "other");
    let origin = Nginx::start("a", Speaks::Tls(&ca.issue("backend", &["backend.test"])));
    let pool = |ca: &str| {
        config("https: { path: / }", "@a").replace(
            "  web:\n    check",
            &format!("  web:\n    tls: {{ ca: @dir/{ca}.pem, server_name: backend.test }}\n    check"),
        )
    };
    let mut lb = Lb::start_in(dir, &pool("ca"), &[("a", origin.addr)]);
    becomes(&lb, "a", "up");
    lb.reload(&pool("other"));
    becomes(&lb, "a", "down");
    assert!(lb.metric("lb_backend_check_failures_total", &[("reason", "tls")]) >= 1.0);
}

#[test]
fn udp_sends_and_expects() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let answers = Arc::new(AtomicBool::new(true));
    let on = answers.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((n, from)) = socket.recv_from(&mut buffer) {
            let answer: &[u8] = if on.load(Ordering::SeqCst) { b"<pong>" } else { b"<nonsense>" };
            assert_eq!(&buffer[..n], b"ping");
            let _ = socket.send_to(answer, from);
        }
    });
    let origin = Origin::named("a");
    let lb =
        Lb::start(&config(&format!("udp: {{ send: ping, expect: pong }}, port: {port}"), "@a"), &[("a", origin.addr)]);
    becomes(&lb, "a", "up");
    answers.store(false, Ordering::SeqCst);
    becomes(&lb, "a", "down");
}

#[test]
fn scripts_decide_by_their_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("check");
    std::fs::write(&script, "#!/bin/sh\n[ \"$1\" = 'no shell; exit 1' ] || exit 9\necho $LB_POOL $LB_BACKEND $LB_ADDRESS $LB_PORT >\"${0%check}seen\"\n[ -e \"${0%check}well\" ]\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(dir.path().join("well"), "").unwrap();
    let origin = Origin::named("a");
    let check = "script: [@dir/check, 'no shell; exit 1']";
    let text = config(check, "@a");
    let lb = Lb::start_in(dir, &text, &[("a", origin.addr)]);
    becomes(&lb, "a", "up");
    let expected = format!("web {0} 127.0.0.1 {1}", origin.addr, origin.addr.port());
    let seen = || std::fs::read_to_string(lb.dir().join("seen")).unwrap_or_default();
    eventually("it is told what to check", || seen().trim() == expected);
    std::fs::remove_file(lb.dir().join("well")).unwrap();
    becomes(&lb, "a", "down");
    assert!(lb.metric("lb_backend_check_failures_total", &[("reason", "exit")]) >= 1.0);
}

#[test]
fn a_script_that_hangs_is_ended() {
    let origin = Origin::named("a");
    let lb = Lb::start(&config("script: [/bin/sleep, '1234567']", "@a"), &[("a", origin.addr)]);
    becomes(&lb, "a", "down");
    assert!(lb.metric("lb_backend_check_failures_total", &[("reason", "timeout")]) >= 1.0);
    let children = || {
        let list = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", lb.pid())).unwrap_or_default();
        list.split_whitespace().count()
    };
    assert!(children() <= 2, "scripts are left behind");
}

#[test]
fn a_server_that_accepts_and_says_nothing_is_down() {
    let origin = Origin::raw(|mut stream, _| {
        let _ = std::io::Read::read_to_end(&mut stream, &mut Vec::new());
    });
    let lb = Lb::start(&config("http: { path: / }", "@a"), &[("a", origin.addr)]);
    becomes(&lb, "a", "down");
    assert!(lb.metric("lb_backend_check_failures_total", &[("reason", "timeout")]) >= 1.0);
    eventually("the log says what that means", || lb.stderr().contains("no other of its pool is available"));
}

#[test]
fn another_port_may_be_checked() {
    let (checked, serving) = (Origin::named("checked"), Origin::named("serving"));
    let check = format!("http: {{ path: /well }}, port: {}", checked.addr.port());
    let lb = Lb::start(&config(&check, "@a"), &[("a", serving.addr)]);
    becomes(&lb, "a", "up");
    assert_eq!(lb.get("web", "/").text(), "serving");
    assert!(serving.requests().iter().all(|r| r.target == "/"));
    assert!(checked.requests().iter().all(|r| r.target == "/well"));
}

#[test]
fn a_backend_that_is_down_gets_no_new_request() {
    let well = Arc::new(AtomicBool::new(true));
    let says = well.clone();
    let sick = Origin::start(move |request| match request.target.as_str() {
        "/check" if !says.load(Ordering::SeqCst) => Reply::status(500, ""),
        "/check" => Reply::ok(""),
        _ => Reply::ok("sick"),
    });
    let fine = Origin::named("fine");
    let lb = Lb::start(&config("http: { path: /check }", "@sick, @fine"), &[("sick", sick.addr), ("fine", fine.addr)]);
    becomes(&lb, "sick", "up");
    let mut client = lb.client("web");
    let served = |client: &mut crate::harness::Client| (0..10).map(|_| client.get("/").text()).collect::<Vec<_>>();
    assert!(served(&mut client).contains(&"sick".to_owned()));
    well.store(false, Ordering::SeqCst);
    becomes(&lb, "sick", "down");
    assert!(!served(&mut client).contains(&"sick".to_owned()));
    well.store(true, Ordering::SeqCst);
    becomes(&lb, "sick", "up");
    assert!(served(&mut client).contains(&"sick".to_owned()));
    assert!(lb.metric("lb_backend_health_transitions_total", &[("backend", &sick.addr.to_string())]) >= 2.0);
}

#[test]
fn requests_that_wait_for_a_backend_move_on_when_it_goes_down() {
    let (well, release) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let (says, go) = (well.clone(), release.clone());
    let sick = Origin::start(move |request| {
        if request.target == "/check" {
            return if says.load(Ordering::SeqCst) { Reply::ok("") } else { Reply::status(500, "") };
        }
        eventually("released", || go.load(Ordering::SeqCst));
        Reply::ok("sick")
    });
    let spare = Origin::start(|_| Reply::ok("spare"));
    let text = config("http: { path: /check }", "{ address: @sick, max_connections: 1 }") + "    backup: [@spare]\n";
    let lb = Lb::start(&text, &[("sick", sick.addr), ("spare", spare.addr)]);
    becomes(&lb, "sick", "up");
    let ask = || {
        let mut client = lb.client("web");
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
        client
    };
    let mut first = ask();
    eventually("it has the slot", || lb.metric("lb_backend_requests_active", &[]) == 1.0);
    let mut waiting = ask();
    eventually("one waits", || lb.metric("lb_pool_queued", &[]) == 1.0);
    well.store(false, Ordering::SeqCst);
    assert_eq!(waiting.response().text(), "spare");
    release.store(true, Ordering::SeqCst);
    assert_eq!(first.response().text(), "sick", "what was in flight finishes");
}

#[test]
fn the_initial_state_is_chosen() {
    let origin = Origin::named("a");
    // No check ends before the test does.
    let slow = |initial: &str| {
        config(&format!("initial: {initial}, tcp: {{}}"), "@a")
            .replace("interval: 200ms, timeout: 190ms", "interval: 1h")
    };
    let silent = free_listener();
    for (initial, status) in [("down", 503), ("up", 200), ("unknown", 200)] {
        let port = silent.local_addr().unwrap().port();
        let check = slow(initial).replace("tcp: {}", &format!("udp: {{ send: x }}, port: {port}"));
        let lb = Lb::start(&check, &[("a", origin.addr)]);
        assert_eq!(lb.get("web", "/").status, status, "{initial}");
    }
}

#[test]
fn a_backend_in_maintenance_is_not_checked() {
    let origin = Origin::named("a");
    let lb = Lb::start(&config("http: { path: /check }", "@a"), &[("a", origin.addr)]);
    becomes(&lb, "a", "up");
    lb.cli_ok(&["backend", "maint", &format!("web/{}", origin.addr)]);
    let mut last = usize::MAX;
    eventually("checks stop", || {
        std::thread::sleep(std::time::Duration::from_millis(600));
        std::mem::replace(&mut last, origin.requests().len()) == origin.requests().len()
    });
    lb.cli_ok(&["backend", "ready", &format!("web/{}", origin.addr)]);
    eventually("checks go on", || origin.requests().len() > last);
}
