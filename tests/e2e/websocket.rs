//! Upgraded connections: WebSocket with a real client and a real server, and tunnels that misbehave.

use std::io::{BufReader, Read, Write};
use std::time::{Duration, Instant};

use crate::harness::{Authority, Lb, Origin, PATIENCE, Peer, read_request_head};

const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";

/// Agrees to switch, says hello, and then hands the connection to `tunnel`.
fn switching(tunnel: impl Fn(std::net::TcpStream) + Send + Sync + 'static) -> Origin {
    Origin::raw(move |mut stream, _| {
        let request = read_request_head(&mut BufReader::new(stream.try_clone().unwrap())).unwrap().unwrap();
        assert_eq!(request.get("upgrade"), Some("echo"));
        assert!(request.get("connection").is_some_and(|c| c.eq_ignore_ascii_case("upgrade")));
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello";
        stream.write_all(answer.as_bytes()).unwrap();
        tunnel(stream);
    })
}

fn config(frontend: &str) -> String {
    format!(
        "
frontends:
  web:
    mode: http
    listen: @web
    pool: web
{frontend}
pools:
  web: {{ backends: [@a] }}
"
    )
}

#[test]
fn websocket_works_in_clear_text_and_over_tls() {
    let dir = tempfile::tempdir().unwrap();
    Authority::new(dir.path(), "ca").issue("site", &["localhost"]);
    let server = Peer::serve("ws_server.py", &[]);
    let text = "
frontends:
  clear: { mode: http, listen: @clear, pool: web }
  tls:
    mode: http
    listen: @tls
    tls: { certificates: [{ cert: @dir/site.crt, key: @dir/site.key }] }
    pool: web
pools:
  web: { backends: [@a] }
";
    let lb = Lb::start_in(dir, text, &[("a", server.addr)]);
    assert_eq!(Peer::run_ok("ws_client.py", &[&format!("ws://{}/", lb.addr("clear"))]), "ok\n");
    let ca = lb.dir().join("ca.pem").display().to_string();
    let url = format!("wss://localhost:{}/", lb.addr("tls").port());
    assert_eq!(Peer::run_ok("ws_client.py", &[&url, &ca]), "ok\n");
}

#[test]
fn each_side_may_finish_first() {
    let origin = switching(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        stream.write_all(&all).unwrap();
    });
    let lb = Lb::start(&config(""), &[("a", origin.addr)]);
    let mut client = lb.client("web");
    let response = client.ask(UPGRADE);
    assert_eq!((response.status, response.get("upgrade")), (101, Some("echo")));
    client.send("sent before the end");
    client.finish_sending();
    let mut all = String::new();
    client.stream.read_to_string(&mut all).unwrap();
    assert_eq!(all, "hellosent before the end");
}

#[test]
fn a_refused_upgrade_is_an_ordinary_response() {
    let origin = Origin::named("no upgrade here");
    let lb = Lb::start(&config(""), &[("a", origin.addr)]);
    let mut client = lb.client("web");
    assert_eq!(client.ask(UPGRADE).text(), "no upgrade here");
    assert_eq!(client.get("/").text(), "no upgrade here", "the connection goes on");
}

#[test]
fn a_silent_tunnel_is_closed() {
    let origin = switching(|mut stream| {
        let _ = stream.read(&mut [0]);
    });
    let lb = Lb::start(&config("    timeouts: { tunnel: 300ms, idle: 60s }"), &[("a", origin.addr)]);
    let mut client = lb.client("web");
    let start = Instant::now();
    assert_eq!(client.ask(UPGRADE).status, 101);
    let mut hello = [0; 5];
    client.stream.read_exact(&mut hello).unwrap();
    assert!(client.is_closed());
    assert!(start.elapsed() >= Duration::from_millis(300), "closed before its time");
    assert!(start.elapsed() < PATIENCE);
}

#[test]
fn traffic_in_one_direction_keeps_a_tunnel_alive() {
    let origin = switching(|mut stream| {
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(100));
            if stream.write_all(b".").is_err() {
                return;
            }
        }
    });
    let lb = Lb::start(&config("    timeouts: { tunnel: 500ms }"), &[("a", origin.addr)]);
    let mut client = lb.client("web");
    assert_eq!(client.ask(UPGRADE).status, 101);
    let mut all = String::new();
    client.stream.read_to_string(&mut all).unwrap();
    assert_eq!(all, "hello..........");
}
