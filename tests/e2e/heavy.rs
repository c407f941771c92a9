//! Tests that want much of the machine; they run one at a time (see .config/nextest.toml).

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::harness::{Authority, Client, Lb, Nginx, Speaks, eventually};

/// Sixty, as the promise is; LB_TEST_RELOAD_SECONDS shortens it at a desk.
fn seconds() -> u64 {
    std::env::var("LB_TEST_RELOAD_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(60)
}

const CHANGES: u32 = 30;

/// What the file says at one moment of the test.
struct Desired {
    step: u32,
}

impl Desired {
    fn is_broken(&self) -> bool {
        self.step % 6 == 5
    }

    /// Backends come, go, change their weight and are drained; `a` is always there.
    fn backends(&self) -> String {
        let step = self.step;
        let mut list = vec![format!("{{ address: @a, weight: {} }}", 1 + step % 4)];
        if step % 3 != 1 {
            list.push(format!("{{ address: @b, weight: {} }}", 1 + step % 2));
        }
        if step % 4 >= 1 {
            let state = if step % 8 >= 5 { "drain" } else { "ready" };
            list.push(format!("{{ address: @c, state: {state} }}"));
        }
        list.join(", ")
    }

    fn has_extra(&self) -> bool {
        self.step % 5 >= 2
    }

    fn config(&self) -> String {
        let extra = if self.has_extra() { "  extra: { mode: http, listen: @extra, pool: web }\n" } else { "" };
        let broken = if self.is_broken() { "  web2: { backend: [nonsense] }\n" } else { "" };
        format!(
            "
workers: 2
frontends:
  clear: {{ mode: http, listen: @clear, pool: web }}
  tls:
    mode: http
    listen: @tls
    tls: {{ certificates: [{{ cert: @dir/site.crt, key: @dir/site.key }}] }}
    pool: web
{extra}pools:
  web:
    check: {{ http: {{ path: / }}, interval: 2s, timeout: 1900ms, fall: 5 }}
    backends: [{}]
{broken}log: {{ level: info, access: none }}
",
            self.backends()
        )
    }
}

/// A load generator and how to read from its output that nothing went wrong.
struct Load {
    name: &'static str,
    child: Child,
}

fn h2load(name: &'static str, url: &str, more: &[&str]) -> Load {
    let duration = format!("--duration={}", seconds());
    let mut command = Command::new("h2load");
    command.args([&duration, "--clients=4"]).args(more).arg(url);
    Load { name, child: command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("h2load is installed") }
}

fn wrk(name: &'static str, url: &str) -> Load {
    let duration = format!("-d{}s", seconds());
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c4", "--timeout", "10s", &duration, url]);
    Load { name, child: command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("wrk is installed") }
}

impl Load {
    /// How many requests were served; any other end of one fails the test.
    fn finish(self) -> u64 {
        let output = self.child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let number = |before: &str| -> u64 {
            let end = text.find(before).unwrap_or_else(|| panic!("{}: no {before:?} in\n{text}", self.name));
            text[..end].split_whitespace().next_back().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{text}"))
        };
        if text.contains("requests in") {
            assert!(!text.contains("Socket errors") && !text.contains("Non-2xx"), "{}:\n{text}", self.name);
            return number(" requests in");
        }
        for bad in [" failed,", " errored,", " timeout", " 3xx,", " 4xx,", " 5xx"] {
            assert_eq!(number(bad), 0, "{}:\n{text}", self.name);
        }
        number(" succeeded,")
    }
}

/// A new connection for each request, until it is told to stop; how many were served.
fn probe(to: SocketAddr, stop: Arc<AtomicBool>) -> thread::JoinHandle<u64> {
    thread::spawn(move || {
        let mut served = 0;
        while !stop.load(Ordering::SeqCst) {
            let mut client = Client::connect(to);
            let response = client.ask("GET /probe HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
            assert_eq!(response.status, 200, "after {served}: {}", response.text());
            served += 1;
            thread::sleep(Duration::from_millis(2));
        }
        served
    })
}

#[test]
fn reloads_under_load_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new(dir.path(), "ca");
    ca.issue("site", &["localhost"]);
    let origins = ["a", "b", "c"].map(|name| (name, Nginx::start(name, Speaks::Http1)));
    let names: Vec<_> = origins.iter().map(|(name, origin)| (*name, origin.addr)).collect();
    let mut lb = Lb::start_in(dir, &Desired { step: 0 }.config(), &names);
    let a = lb.addr("a").to_string();
    eventually("a is checked", || lb.backend("web", &a)["health"] == "up");

    let (clear, tls) = (lb.url("clear", "/"), format!("https://{}/", lb.addr("tls")));
    let loads = [
        h2load("h2load, HTTP/1.1", &clear, &["--h1"]),
        h2load("h2load, h2c", &clear, &["--max-concurrent-streams=8"]),
        h2load("h2load, h2 over TLS", &tls, &["--max-concurrent-streams=8"]),
        wrk("wrk, HTTP/1.1", &clear),
        wrk("wrk, TLS", &tls),
    ];
    let stop = Arc::new(AtomicBool::new(false));
    let probe = probe(lb.addr("clear"), stop.clone());

    let start = Instant::now();
    let pause = Duration::from_secs(seconds()) * 9 / 10 / CHANGES;
    let mut refused = 0;
    for step in 1..=CHANGES {
        thread::sleep((start + pause * step).saturating_duration_since(Instant::now()));
        change(&mut lb, &ca, &Desired { step }, &mut refused);
    }
    let served: Vec<_> = loads.into_iter().map(|load| (load.name, load.finish())).collect();
    stop.store(true, Ordering::SeqCst);
    let probed = probe.join().unwrap();
    println!("served {served:?}, {probed} on connections of their own");
    assert!(served.iter().all(|(_, n)| *n > 100) && probed > 100, "{served:?} {probed}");

    assert_eq!(refused, 5);
    assert_eq!(lb.metric("lb_config_reloads_total", &[("result", "refused")]), 5.0);
    assert_eq!(lb.metric("lb_config_reloads_total", &[("result", "applied")]), f64::from(CHANGES - 5));
    let kept = [("backend", a.as_str())];
    assert_eq!(lb.metric("lb_backend_up", &kept), 1.0);
    // Its health was found out once and not again after each reload.
    assert_eq!(lb.metric("lb_backend_health_transitions_total", &kept), 1.0);
    let counted = lb.metric("lb_frontend_http_requests_total", &[("code", "2xx")]);
    assert!(counted >= served.iter().map(|(_, n)| *n as f64).sum(), "{counted} counted");
}

fn change(lb: &mut Lb, ca: &Authority, desired: &Desired, refused: &mut u32) {
    let before = lb.metric("lb_backend_requests_total", &[("backend", &lb.addr("a").to_string())]);
    if desired.step % 7 == 3 {
        ca.issue("site", &["localhost"]);
    }
    if desired.is_broken() {
        let output = lb.try_reload(&desired.config());
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "step {}: {said}", desired.step);
        assert!(said.contains("did you mean `backends`"), "{said}");
        *refused += 1;
    } else {
        lb.reload(&desired.config());
        if desired.has_extra() {
            assert_eq!(lb.get("extra", "/").status, 200, "step {}", desired.step);
        }
    }
    let after = lb.metric("lb_backend_requests_total", &[("backend", &lb.addr("a").to_string())]);
    assert!(after >= before, "step {}: the counter went from {before} to {after}", desired.step);
}

const CROWD: usize = 15_000;

#[test]
fn fifteen_thousand_connections_at_once() {
    raise_descriptors();
    let origin = Nginx::start("a", Speaks::Http1);
    let text = "
frontends:
  web: { mode: http, listen: @web, pool: web, timeouts: { header: 10m, idle: 10m } }
pools:
  web: { max_idle: 64, backends: [{ address: @a, max_connections: 64 }] }
log: { access: none }
";
    let lb = Lb::start(text, &[("a", origin.addr)]);
    let before = lb.rss_kib();
    // A third says nothing, a third stops in the middle of a head, a third was served and stays.
    let mut crowd: Vec<Client> = (0..CROWD).map(|_| Client::connect(lb.addr("web"))).collect();
    for (n, client) in crowd.iter_mut().enumerate() {
        match n % 3 {
            0 => {}
            1 => client.send("GET / HTTP/1.1\r\nHost: t\r\nX-Slow: "),
            _ => assert_eq!(client.get("/").status, 200),
        }
    }
    eventually("all are there", || lb.metric("lb_frontend_connections_active", &[]) == CROWD as f64);
    let held = (lb.rss_kib() - before) as usize * 1024 / CROWD;
    println!("{held} bytes of lb's memory for each of {CROWD} connections");
    assert!(held < 32 << 10, "{held} bytes for each connection");
    for _ in 0..100 {
        assert_eq!(lb.get("web", "/").status, 200, "newcomers are served");
    }
    for (n, client) in crowd.iter_mut().enumerate() {
        let response = match n % 3 {
            1 => client.ask("done\r\n\r\n"),
            _ => client.get("/"),
        };
        assert_eq!(response.status, 200, "connection {n}");
    }
    drop(crowd);
    eventually("all are gone", || lb.metric("lb_frontend_connections_active", &[]) == 0.0);
}

fn raise_descriptors() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    assert!(hard as usize > CROWD + 1000, "this machine allows {hard} descriptors");
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    println!("{hard} descriptors, ports {}", range.trim());
}
