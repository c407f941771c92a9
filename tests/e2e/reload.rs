//! A reload applies all of a file or nothing, and nobody notices.

use std::fs;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;

use crate::harness::{Lb, Origin, Reply, eventually, free_listener};

fn config(frontends: &str, pool: &str) -> String {
    format!(
        "
frontends:
  web: {{ mode: http, listen: @web, pool: web }}
{frontends}
pools:
  web: {{ {pool} }}
"
    )
}

fn text(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_broken_file_is_refused_with_its_diagnostics() {
    let origin = Origin::named("a");
    let good = config("", "backends: [@a]");
    let mut lb = Lb::start(&good, &[("a", origin.addr)]);
    let sha = lb.status()["config"]["sha256"].clone();
    let broken = good.replace("pool: web }", "pool: wep }").replace("backends: [", "shedule: x, backends: [");
    let refused = lb.try_reload(&broken);
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused);
    for part in ["wep", "did you mean `web`", "shedule", "lb.yaml:"] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
    assert_eq!(lb.get("web", "/").text(), "a");
    assert_eq!(lb.metric("lb_config_last_reload_successful", &[]), 0.0);
    assert_eq!(lb.metric("lb_config_reloads_total", &[("result", "refused")]), 1.0);
    let status = lb.status();
    assert_eq!((&status["config"]["sha256"], &status["config"]["generation"]), (&sha, &1.into()));
    lb.reload(&good);
    assert_eq!(lb.metric("lb_config_last_reload_successful", &[]), 1.0);
}

#[test]
fn connections_stay_open_and_take_the_new_routes() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let mut lb = Lb::start(&config("", "backends: [@a]"), &[("a", a.addr), ("b", b.addr)]);
    let mut client = lb.client("web");
    assert_eq!(client.get("/").text(), "a");
    lb.reload(&config("", "backends: [@b]"));
    assert_eq!(client.get("/").text(), "b", "on the same connection");
}

#[test]
fn requests_in_flight_keep_what_they_began_with() {
    let release = Arc::new(AtomicBool::new(false));
    let go = release.clone();
    let a = Origin::start(move |_| {
        eventually("released", || go.load(Ordering::SeqCst));
        Reply::ok("a")
    });
    let b = Origin::named("b");
    let mut lb = Lb::start(&config("", "backends: [@a]"), &[("a", a.addr), ("b", b.addr)]);
    let mut client = lb.client("web");
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    eventually("it is in flight", || lb.metric("lb_backend_requests_active", &[]) == 1.0);
    lb.reload(&config("", "backends: [@b]"));
    assert_eq!(lb.get("web", "/").text(), "b");
    release.store(true, Ordering::SeqCst);
    assert_eq!(client.response().text(), "a");
}

#[test]
fn health_and_counters_are_kept() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let check = "check: { http: { path: / }, interval: 200ms, rise: 1, initial: down }";
    let mut lb = Lb::start(&config("", &format!("{check}, backends: [@a]")), &[("a", a.addr), ("b", b.addr)]);
    eventually("a is up", || lb.backend("web", &a.addr.to_string())["health"] == "up");
    for _ in 0..10 {
        assert_eq!(lb.get("web", "/").status, 200);
    }
    lb.reload(&config("", &format!("{check}, backends: [{{ address: @a, weight: 7 }}, @b]")));
    let kept = lb.backend("web", &a.addr.to_string());
    assert_eq!((&kept["health"], &kept["weight"]), (&"up".into(), &7.into()), "{kept}");
    assert!(kept["requests_total"].as_u64().unwrap() >= 10);
    assert_eq!(lb.metric("lb_frontend_http_requests_total", &[("code", "2xx")]), 10.0);
    eventually("the new one is checked", || lb.backend("web", &b.addr.to_string())["health"] == "up");
}

#[test]
fn frontends_come_go_and_move() {
    let origin = Origin::named("a");
    let mut lb = Lb::start(&config("", "backends: [@a]"), &[("a", origin.addr)]);
    lb.reload(&config("  extra: { mode: http, listen: @extra, pool: web }", "backends: [@a]"));
    let mut kept = lb.client("extra");
    assert_eq!(kept.get("/").text(), "a");
    lb.reload(&config("  extra: { mode: http, listen: @moved, pool: web }", "backends: [@a]"));
    assert_eq!(lb.get("moved", "/").text(), "a");
    let old = lb.addr("extra");
    eventually("the old address is closed", || std::net::TcpStream::connect(old).is_err());
    lb.reload(&config("", "backends: [@a]"));
    let moved = lb.addr("moved");
    eventually("the frontend is gone", || std::net::TcpStream::connect(moved).is_err());
    assert_eq!(lb.get("web", "/").text(), "a");
}

#[test]
fn a_frontend_and_a_pool_that_leave_finish_what_they_have() {
    let release = Arc::new(AtomicBool::new(false));
    let go = release.clone();
    let slow = Origin::start(move |_| {
        eventually("released", || go.load(Ordering::SeqCst));
        Reply::ok("slow")
    });
    let a = Origin::named("a");
    let extra = "  extra: { mode: http, listen: @extra, pool: slow }";
    let both = config(extra, "backends: [@a]") + "  slow: { backends: [@slow] }\n";
    let mut lb = Lb::start(&both, &[("a", a.addr), ("slow", slow.addr)]);
    let mut client = lb.client("extra");
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    eventually("it is in flight", || lb.metric("lb_backend_requests_active", &[("pool", "slow")]) == 1.0);
    lb.reload(&config("", "backends: [@a]"));
    let old = lb.addr("extra");
    eventually("the frontend is gone", || std::net::TcpStream::connect(old).is_err());
    release.store(true, Ordering::SeqCst);
    let response = client.response();
    assert_eq!((response.text().as_str(), response.get("connection")), ("slow", Some("close")));
    assert!(client.is_closed());
}

#[test]
fn sighup_reloads() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let mut lb = Lb::start(&config("", "backends: [@a]"), &[("a", a.addr), ("b", b.addr)]);
    lb.write_config(&config("", "backends: [@b]"));
    assert_eq!(lb.get("web", "/").text(), "a");
    lb.signal(Signal::SIGHUP);
    eventually("the new file serves", || lb.get("web", "/").text() == "b");
}

#[test]
fn the_watcher_reloads_where_it_is_switched_on() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let watched = |pool: &str| config("", pool) + "reload: { watch: true }\n";
    let mut lb = Lb::start(&watched("backends: [@a]"), &[("a", a.addr), ("b", b.addr)]);
    assert_eq!(lb.get("web", "/").text(), "a");
    lb.write_config(&watched("backends: [@b]"));
    eventually("the new file serves", || lb.get("web", "/").text() == "b");
    // Written in place, as some editors do it, and broken.
    let path = lb.dir().join("lb.yaml");
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"nonsense: true\n").unwrap();
    eventually("it is refused", || lb.metric("lb_config_reloads_total", &[("result", "refused")]) >= 1.0);
    assert_eq!(lb.get("web", "/").text(), "b");
}

#[test]
fn a_busy_port_is_refused_and_changes_nothing() {
    let origin = Origin::named("a");
    let busy = free_listener();
    let mut lb = Lb::start(&config("", "backends: [@a]"), &[("a", origin.addr), ("busy", busy.local_addr().unwrap())]);
    let two = "  other: { mode: http, listen: @other, pool: web }\n  extra: { mode: http, listen: @busy, pool: web }";
    let refused = lb.try_reload(&config(two, "backends: [@a]"));
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused);
    assert!(said.contains(&busy.local_addr().unwrap().to_string()) && said.contains("in use"), "{said}");
    assert_eq!(lb.get("web", "/").text(), "a");
    let other = lb.addr("other");
    assert!(std::net::TcpStream::connect(other).is_err(), "nothing of a refused file stays");
    drop(busy);
    lb.reload(&config(two, "backends: [@a]"));
    assert_eq!(lb.get("busy", "/").text(), "a");
}

#[test]
fn an_override_holds_until_the_file_speaks() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let mut lb = Lb::start(&config("", "backends: [@a, @b]"), &[("a", a.addr), ("b", b.addr)]);
    let id = format!("web/{}", a.addr);
    let state = |lb: &Lb| lb.backend("web", &a.addr.to_string())["state"].clone();
    lb.cli_ok(&["backend", "drain", &id]);
    lb.reload(&config("", "backends: [@a, { address: @b, weight: 2 }]"));
    assert_eq!(state(&lb), "drain", "the file did not touch this backend's state");
    assert!((0..10).all(|_| lb.get("web", "/").text() == "b"));
    lb.reload(&config("", "backends: [{ address: @a, state: maint }, @b]"));
    assert_eq!(state(&lb), "maint", "the file's own word");
    lb.reload(&config("", "backends: [@a, @b]"));
    assert_eq!(state(&lb), "ready");
}

#[test]
fn a_diff_says_what_a_reload_would_do() {
    let origin = Origin::named("a");
    let mut lb = Lb::start(&config("", "backends: [@a]"), &[("a", origin.addr)]);
    let path = lb.dir().join("lb.yaml").display().to_string();
    lb.write_config(&config("", "backends: [@a, 127.0.0.1:1]"));
    let said = lb.cli_ok(&["config", "diff", &path]);
    assert!(said.contains("127.0.0.1:1"), "{said}");
    assert_eq!(lb.status()["config"]["generation"], 1, "and does nothing");
}

#[test]
fn ten_thousand_backends_in_five_hundred_pools_reload_while_traffic_flows() {
    let origin = Origin::named("a");
    let mut lb = Lb::start(&config("", "backends: [@a]"), &[("a", origin.addr)]);
    let many = |weight: usize| {
        let mut text = config("", "backends: [@a]");
        for pool in 0..500 {
            text += &format!("  p{pool}: {{ check: {{ tcp: {{}}, interval: 1h, initial: up }}, backends: [");
            for backend in 0..20 {
                text +=
                    &format!("{{ address: 127.{}.{}.{backend}:9, weight: {weight} }}, ", 1 + pool / 250, pool % 250);
            }
            text += "] }\n";
        }
        text
    };
    let addr = lb.addr("web");
    let stop = Arc::new(AtomicBool::new(false));
    let until = stop.clone();
    let traffic = std::thread::spawn(move || {
        let mut client = crate::harness::Client::connect(addr);
        let mut served = 0;
        while !until.load(Ordering::SeqCst) {
            assert_eq!(client.get("/").text(), "a");
            served += 1;
        }
        served
    });
    for weight in 1..4 {
        lb.reload(&many(weight));
    }
    stop.store(true, Ordering::SeqCst);
    assert!(traffic.join().unwrap() > 0);
    assert_eq!(lb.metrics().0.iter().filter(|s| s.name == "lb_backend_up").count(), 10_001);
}
