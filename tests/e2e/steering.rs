//! What an operator sees and commands.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::{Lb, Origin, Reply, eventually, get};

const CONFIG: &str = "
frontends:
  web: { mode: http, listen: @web, pool: web }
pools:
  web: { backends: [{ address: @a, name: first }, { address: @b, name: second }] }
";

fn start() -> (Lb, Origin, Origin) {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    (Lb::start(CONFIG, &[("a", a.addr), ("b", b.addr)]), a, b)
}

#[test]
fn status_shows_what_serves() {
    let (lb, _a, _b) = start();
    for _ in 0..4 {
        assert_eq!(lb.get("web", "/").status, 200);
    }
    let status = lb.status();
    assert_eq!((&status["phase"], &status["pid"]), (&"serving".into(), &lb.pid().into()));
    let frontend = &status["frontends"][0];
    assert_eq!((&frontend["name"], &frontend["requests_total"]), (&"web".into(), &4.into()));
    let pool = &status["pools"][0];
    assert_eq!((&pool["name"], &pool["available"]), (&"web".into(), &2.into()));
    assert_eq!(lb.backend("web", "first")["requests_total"], 2);
    let table = lb.cli_ok(&["status"]);
    for word in ["web", "first", "second", &lb.addr("web").to_string()] {
        assert!(table.contains(word), "{word} is not in\n{table}");
    }
}

#[test]
fn a_backend_is_drained_and_comes_back() {
    let (lb, _a, _b) = start();
    let said = lb.cli_ok(&["backend", "drain", "web/first"]);
    assert!(said.contains("web/first"), "{said}");
    assert!((0..10).all(|_| lb.get("web", "/").text() == "b"));
    let backend = lb.backend("web", "first");
    assert_eq!((&backend["state"], &backend["overridden"]), (&"drain".into(), &true.into()));
    lb.cli_ok(&["backend", "ready", "web/first"]);
    assert_eq!(lb.backend("web", "first")["overridden"], false, "what the file says is no override");
    assert!((0..10).any(|_| lb.get("web", "/").text() == "a"));
}

#[test]
fn waiting_for_a_drain_ends_with_the_last_request() {
    let release = Arc::new(AtomicBool::new(false));
    let go = release.clone();
    let a = Origin::start(move |_| {
        eventually("released", || go.load(Ordering::SeqCst));
        Reply::ok("a")
    });
    let text = CONFIG.replace(", { address: @b, name: second }", "");
    let lb = Lb::start(&text, &[("a", a.addr)]);
    let mut client = lb.client("web");
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    eventually("it is in flight", || lb.backend("web", "first")["requests_active"] == 1);
    let impatient = lb.cli(&["backend", "drain", "web/first", "--wait", "--timeout", "200ms"]);
    assert_eq!(impatient.status.code(), Some(1));
    let mut waiting = Command::new(env!("CARGO_BIN_EXE_lb"))
        .args(["backend", "drain", "web/first", "--wait", "--socket"])
        .arg(lb.dir().join("admin.sock"))
        .spawn()
        .unwrap();
    assert!(waiting.try_wait().unwrap().is_none());
    release.store(true, Ordering::SeqCst);
    assert_eq!(client.response().text(), "a");
    assert!(waiting.wait().unwrap().success());
}

#[test]
fn a_backend_that_is_not_there_is_told() {
    let (lb, _a, _b) = start();
    let output = lb.cli(&["backend", "drain", "web/frist"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("frist"));
}

#[test]
fn without_a_running_lb_it_is_code_2() {
    let (mut lb, _a, _b) = start();
    lb.signal(nix::sys::signal::Signal::SIGKILL);
    lb.wait_for_exit();
    for verb in [&["status"][..], &["reload"], &["backend", "drain", "web/first"], &["explain", "http://x/"]] {
        assert_eq!(lb.cli(verb).status.code(), Some(2), "{verb:?}");
    }
}

#[test]
fn explain_names_the_way() {
    let (lb, _a, _b) = start();
    let said = lb.cli_ok(&["explain", &lb.url("web", "/path")]);
    for word in ["frontend web", "pool web", "first", "second", &lb.addr("web").to_string()] {
        assert!(said.contains(word), "{word} is not in\n{said}");
    }
    lb.cli_ok(&["backend", "maint", "web/first"]);
    let said = lb.cli_ok(&["explain", &lb.url("web", "/path")]);
    assert!(said.contains("maint") && said.contains("second"), "{said}");

    let other = lb.cli(&["explain", &lb.url("web", "/").replace("http:", "ftp:")]);
    assert_eq!(other.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&other.stderr).contains("is not a URL: expected http://"));
}

#[test]
fn the_metrics_port_answers_for_health_and_readiness() {
    let (lb, _a, _b) = start();
    let metrics = lb.addr("metrics");
    assert_eq!((get(metrics, "/healthz").status, get(metrics, "/readyz").status), (200, 200));
    assert_eq!(get(metrics, "/else").status, 404);
}

#[test]
fn sd_notify_tells_the_service_manager() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(crate::harness::PATIENCE)).unwrap();
    let heard = |word: &str| {
        let mut buffer = [0; 4096];
        loop {
            let n = manager.recv(&mut buffer).unwrap_or_else(|e| panic!("waiting for {word}: {e}"));
            if String::from_utf8_lossy(&buffer[..n]).lines().any(|l| l == word) {
                return;
            }
        }
    };
    let a = Origin::named("a");
    let (notify, watchdog) = (format!("NOTIFY_SOCKET={}", socket.display()), "WATCHDOG_USEC=200000");
    let wrapper = ["env", &notify, watchdog];
    let text = CONFIG.replace(", { address: @b, name: second }", "");
    let mut lb = Lb::start_as(dir, &text, &[("a", a.addr)], &wrapper);
    heard("READY=1");
    heard("WATCHDOG=1");
    lb.signal(nix::sys::signal::Signal::SIGHUP);
    heard("RELOADING=1");
    heard("READY=1");
    lb.signal(nix::sys::signal::Signal::SIGTERM);
    heard("STOPPING=1");
    assert_eq!(lb.wait_for_exit().code(), Some(0));
}

#[test]
fn the_demo_runs_and_ends_by_itself() {
    let free = || crate::harness::Port::reserve().addr.port().to_string();
    let (port, tls_port) = (free(), free());
    let mut demo = Command::new(env!("CARGO_BIN_EXE_lb"))
        .args(["demo", "--for", "4s", "--port", &port, "--tls-port", &tls_port, "--metrics", "127.0.0.1:0"])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let (clear, tls) = (format!("http://127.0.0.1:{port}/"), format!("https://127.0.0.1:{tls_port}/"));
    let mut seen = std::collections::BTreeSet::new();
    eventually("three backends answer", || {
        seen.insert(crate::harness::curl(&[&clear]).text());
        seen.remove("");
        seen.len() == 3
    });
    assert_eq!(crate::harness::curl(&["--insecure", &tls]).status(), 200);
    assert!(demo.try_wait().unwrap().is_none());
    let output = demo.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("curl"), "it says what to try");
}

/// In bash itself, which breaks words at colons.
#[test]
fn a_shell_completes_the_names_of_what_runs() {
    let lb = Lb::start(
        "
frontends:
  web: { mode: http, listen: @web, pool: web }
pools:
  web: { backends: ['127.0.0.1:7001', '127.0.0.1:7002', { address: '127.0.0.2:7003', name: third }] }
",
        &[],
    );
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_lb")).parent().unwrap();
    let completed = |line: &str| {
        let script = "set -u; eval \"$(lb completions bash)\"; COMP_LINE=$1 COMP_POINT=${#1}; COMP_WORDBREAKS=$' \\t\\n:='; \
                      _lb; printf '%s\\n' \"${COMPREPLY[@]}\"";
        let output = Command::new("bash")
            .args(["-c", script, "bash", line])
            .env("PATH", format!("{}:{}", program.display(), std::env::var("PATH").unwrap()))
            .env("LB_SOCKET", lb.dir().join("admin.sock"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(completed("lb backend drain "), ["web/127.0.0.1:7001", "web/127.0.0.1:7002", "web/third"]);
    assert_eq!(completed("lb backend drain web/t"), ["web/third"]);
    // What stands before the colon stays as it is; only what comes after it is replaced.
    assert_eq!(completed("lb backend drain web/127.0.0.1:"), ["7001", "7002"]);
    assert_eq!(completed("lb flows --frontend "), ["web"]);
    assert_eq!(completed("lb backend dr"), ["drain"]);
}
