//! What lb needs of the machine and may not get: ports, descriptors, files.

use std::net::TcpStream;

use crate::harness::{Authority, Client, Lb, Origin, eventually, free_listener};

const CONFIG: &str = "
workers: 1
frontends:
  web: { mode: http, listen: @web, pool: web, timeouts: { idle: 60s } }
pools:
  web: { backends: [@a] }
";

/// `code`: 1 may succeed another time, 2 will not.
fn start_that_fails(code: i32, config: &str, names: &[(&str, std::net::SocketAddr)]) -> String {
    let mut lb = Lb::spawn(tempfile::tempdir().unwrap(), config, names, &[]);
    assert_eq!(lb.wait_for_exit().code(), Some(code), "{}", lb.stderr());
    lb.stderr()
}

#[test]
fn a_busy_port_at_start_is_named() {
    let busy = free_listener();
    let addr = busy.local_addr().unwrap();
    let said = start_that_fails(1, CONFIG, &[("web", addr), ("a", addr)]);
    assert!(said.contains(&addr.to_string()) && said.contains("in use") && said.contains("web"), "{said}");
}

#[test]
fn a_missing_certificate_at_start_is_named() {
    let tls = CONFIG.replace("pool: web,", "pool: web, tls: { certificates: [{ cert: /none.crt, key: /none.key }] },");
    let said = start_that_fails(2, &tls, &[("a", "127.0.0.1:1".parse().unwrap())]);
    assert!(said.contains("/none.crt"), "{said}");
}

#[test]
fn a_log_that_cannot_be_opened_is_named() {
    let text = format!("{CONFIG}log: {{ access: /none/of/this/access.log }}\n");
    let said = start_that_fails(2, &text, &[("a", "127.0.0.1:1".parse().unwrap())]);
    assert!(said.contains("/none/of/this/access.log"), "{said}");
}

#[test]
fn an_invalid_file_at_start_is_code_2() {
    let mut lb = Lb::spawn(tempfile::tempdir().unwrap(), "nonsense: [", &[], &[]);
    assert_eq!(lb.wait_for_exit().code(), Some(2), "{}", lb.stderr());
}

/// A socket that a killed lb left behind is taken over; one that a living lb holds is not.
#[test]
fn the_admin_socket_tells_the_dead_from_the_living() {
    let origin = Origin::named("a");
    let lb = Lb::start(CONFIG, &[("a", origin.addr)]);
    let socket = lb.dir().join("admin.sock").display().to_string();
    let second = format!("{CONFIG}admin: {{ socket: {socket} }}\n");
    let said = start_that_fails(1, &second, &[("a", origin.addr)]);
    assert!(said.contains(&socket), "{said}");
    assert_eq!(lb.get("web", "/").text(), "a");

    let dir = tempfile::tempdir().unwrap();
    let left = dir.path().join("admin.sock");
    drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
    let lb = Lb::start_in(dir, CONFIG, &[("a", origin.addr)]);
    assert_eq!(lb.status()["phase"], "serving");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(left).unwrap().permissions().mode() & 0o777, 0o660);
}

#[test]
fn running_out_of_descriptors_sheds_logs_and_recovers() {
    let origin = Origin::named("a");
    let lb =
        Lb::start_as(tempfile::tempdir().unwrap(), CONFIG, &[("a", origin.addr)], &["prlimit", "--nofile=128:128"]);
    let mut kept = lb.client("web");
    assert_eq!(kept.get("/").text(), "a");
    let crowd: Vec<_> = (0..300).map(|_| TcpStream::connect(lb.addr("web")).unwrap()).collect();
    eventually("it says so", || lb.stderr().to_lowercase().contains("descriptor"));
    assert_eq!(kept.get("/").text(), "a", "who was there is served");
    assert!(lb.stderr().matches("descriptor").count() < 50, "and it is not said for each connection");
    drop(crowd);
    eventually("everybody is served again", || {
        let mut client = Client::connect(lb.addr("web"));
        client.try_send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").is_ok()
            && client.try_response("GET").is_ok_and(|r| r.status == 200)
    });
    assert!(lb.metric("lb_frontend_connections_refused_total", &[("reason", "descriptors")]) > 0.0);
}

/// The same with TLS, where a handshake stands between accept and refusal.
#[test]
fn a_crowd_of_silent_tls_clients_leaves_room_for_others() {
    let dir = tempfile::tempdir().unwrap();
    Authority::new(dir.path(), "ca").issue("site", &["localhost"]);
    let origin = Origin::named("a");
    let text = CONFIG.replace(
        "timeouts: { idle: 60s }",
        "tls: { certificates: [{ cert: @dir/site.crt, key: @dir/site.key }] }, timeouts: { header: 500ms }",
    );
    let lb = Lb::start_in(dir, &text, &[("a", origin.addr)]);
    let crowd: Vec<_> = (0..500).map(|_| TcpStream::connect(lb.addr("web")).unwrap()).collect();
    let (ca, port) = (lb.dir().join("ca.pem").display().to_string(), lb.addr("web").port());
    let seen = crate::harness::curl(&["--cacert", &ca, &format!("https://localhost:{port}/"), "--ipv4"]);
    assert_eq!(seen.text(), "a", "{}", seen.stderr);
    eventually("the silent ones are gone", || lb.metric("lb_frontend_connections_active", &[]) == 0.0);
    drop(crowd);
}
