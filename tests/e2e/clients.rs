//! What clients may do: limits, timeouts, and the answers that lb makes itself.

use std::time::{Duration, Instant};

use crate::harness::{Client, Lb, Origin, PATIENCE, Response, eventually};

fn config(frontend: &str) -> String {
    format!(
        "
workers: 1
frontends:
  web:
    mode: http
    listen: @web
    routes: [{{ host: t, pool: web }}]
{frontend}
pools:
  web: {{ backends: [@a] }}
"
    )
}

fn start(frontend: &str) -> (Lb, Origin) {
    let origin = Origin::echo();
    (Lb::start(&config(frontend), &[("a", origin.addr)]), origin)
}

/// Every answer of lb's own says in a few words why, and the log says whose fault it was.
fn assert_own(lb: &Lb, response: &Response, status: u16, path: &str, fault: &str) {
    assert_eq!(response.status, status, "{path}: {}", response.text());
    let text = response.text();
    assert!(!text.trim().is_empty() && text.len() < 200, "{path}: {text:?}");
    let line = lb.logged(path);
    assert_eq!((&line["status"], &line["fault"]), (&status.into(), &fault.into()), "{line}");
    assert!(line["reason"].as_str().is_some_and(|r| !r.is_empty()), "{line}");
}

#[test]
fn limits_of_the_head_are_kept() {
    let (lb, origin) = start("    limits: { header_bytes: 2KiB, header_count: 10, uri_length: 200 }");
    let long = "x".repeat(300);
    let response = lb.client("web").ask(format!("GET /{long} HTTP/1.1\r\nHost: t\r\n\r\n"));
    assert_eq!(response.status, 414);

    let response = lb.client("web").ask(format!("GET /bytes HTTP/1.1\r\nHost: t\r\nX: {}\r\n\r\n", "x".repeat(3000)));
    assert_eq!(response.status, 431);
    assert_eq!(response.get("connection"), Some("close"));

    let fields: String = (0..10).map(|n| format!("X-{n}: x\r\n")).collect();
    let response = lb.client("web").ask(format!("GET /count HTTP/1.1\r\nHost: t\r\n{fields}\r\n"));
    assert_eq!(response.status, 431);
    assert!(origin.requests().is_empty());

    let fits: String = (0..9).map(|n| format!("X-{n}: x\r\n")).collect();
    let path = "y".repeat(199);
    let response = lb.client("web").ask(format!("GET /{path} HTTP/1.1\r\nHost: t\r\n{fits}\r\n"));
    assert_eq!(response.status, 200, "just within the limits");
}

#[test]
fn a_head_without_end_is_refused() {
    let (lb, _origin) = start("");
    let mut client = lb.client("web");
    client.send("GET / HTTP/1.1\r\nHost: t\r\nX: ");
    let endless = (0..1000).take_while(|_| client.try_send([b'x'; 4096]).is_ok()).count();
    assert!(endless < 1000 || client.response().status == 431, "4 MiB of one field were taken");
    let response = lb.client("web").ask(format!("{} / HTTP/1.1\r\nHost: t\r\n\r\n", "G".repeat(100_000)));
    assert!((400..=431).contains(&response.status));
}

#[test]
fn bodies_beyond_their_limit_are_413() {
    let (lb, origin) = start("    limits: { body_bytes: 1000 }");
    let announced = "POST /announced HTTP/1.1\r\nHost: t\r\nContent-Length: 1001\r\n\r\n";
    let response = lb.client("web").ask(announced);
    assert_own(&lb, &response, 413, "/announced", "client");
    assert!(origin.requests().is_empty());

    let mut client = lb.client("web");
    client.send("POST /chunked HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..11 {
        let _ = client.try_send(format!("64\r\n{}\r\n", "x".repeat(100)));
    }
    let _ = client.try_send("0\r\n\r\n");
    let response = client.response();
    assert_own(&lb, &response, 413, "/chunked", "client");
    assert!(client.is_closed());

    let fits = format!("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\n{}", "x".repeat(1000));
    assert_eq!(lb.client("web").ask(fits).body.len(), 1000);
}

#[test]
fn who_matches_no_route_gets_404() {
    let (lb, _origin) = start("");
    let mut client = lb.client("web");
    let response = client.ask("GET /nowhere HTTP/1.1\r\nHost: other\r\n\r\n");
    assert_own(&lb, &response, 404, "/nowhere", "client");
    assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: t\r\n\r\n").status, 200, "the connection goes on");
}

#[test]
fn a_head_that_does_not_end_in_time_is_408() {
    let (lb, _origin) = start("    timeouts: { header: 300ms }");
    let start = Instant::now();
    let mut client = lb.client("web");
    client.send("GET / HTTP/1.1\r\nHost: ");
    let response = client.response();
    assert_eq!((response.status, response.get("connection")), (408, Some("close")));
    assert!(client.is_closed());
    assert!(start.elapsed() >= Duration::from_millis(300));

    // One byte now and then does not buy more time.
    let mut client = lb.client("web");
    client.send("GET / HTTP/1.1\r\nHost: t\r\nX: ");
    let mut writer = client.stream.get_ref().try_clone().unwrap();
    let trickle = std::thread::spawn(move || {
        use std::io::Write;
        while writer.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    assert_eq!(client.response().status, 408);
    drop(client);
    trickle.join().unwrap();
}

#[test]
fn a_body_that_stops_is_408() {
    let (lb, _origin) = start("    timeouts: { request: 300ms }");
    let mut client = lb.client("web");
    client.send("POST /stops HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nhalf.");
    let response = client.response();
    assert_own(&lb, &response, 408, "/stops", "client");
    assert!(client.is_closed());
    eventually("the backend's connection is not kept", || lb.metric("lb_backend_connections_active", &[]) == 0.0);
}

#[test]
fn an_idle_connection_is_closed() {
    let (lb, _origin) = start("    timeouts: { header: 300ms, idle: 300ms }");
    let mut client = lb.client("web");
    let start = Instant::now();
    assert!(client.is_closed(), "one that never sent anything");
    let mut client = lb.client("web");
    assert_eq!(client.ask("GET / HTTP/1.1\r\nHost: t\r\n\r\n").status, 200);
    assert!(client.is_closed(), "one between two requests, without a word");
    assert!(start.elapsed() < PATIENCE);
}

#[test]
fn a_client_that_takes_nothing_is_given_up() {
    let (lb, origin) = start("    timeouts: { idle: 500ms }");
    let huge = 60 << 20;
    let mut client = lb.client("web");
    let writer = client.stream.get_ref().try_clone().unwrap();
    // The echo cannot be sent back, because nobody reads it; so the upload stops as well.
    std::thread::spawn(move || {
        use std::io::Write;
        let mut writer = writer;
        let _ = write!(writer, "POST /huge HTTP/1.1\r\nHost: t\r\nContent-Length: {huge}\r\n\r\n");
        let _ = writer.write_all(&vec![b'x'; huge]);
    });
    eventually("the whole body was sent", || origin.requests().len() == 1);
    let line = lb.logged("/huge");
    assert_eq!(line["fault"], "client", "{line}");
    let mut rest = Vec::new();
    let _ = std::io::Read::read_to_end(&mut client.stream, &mut rest);
    assert!(rest.len() < huge, "all of it came");
}

#[test]
fn connections_beyond_the_limit_wait() {
    let (lb, _origin) = start("    limits: { connections: 2 }");
    let request = "GET / HTTP/1.1\r\nHost: t\r\n\r\n";
    let (mut one, mut two) = (lb.client("web"), lb.client("web"));
    assert_eq!((one.ask(request).status, two.ask(request).status), (200, 200));
    let mut three = lb.client("web");
    three.send(request);
    assert_eq!(lb.metric("lb_frontend_connections_active", &[("frontend", "web")]), 2.0);
    drop(one);
    assert_eq!(three.response().status, 200);
}

#[test]
fn connections_of_one_client_beyond_the_limit_are_closed() {
    let (lb, _origin) = start("    limits: { connections_per_client: 2 }");
    let request = "GET / HTTP/1.1\r\nHost: t\r\n\r\n";
    let (mut one, mut two) = (lb.client("web"), lb.client("web"));
    assert_eq!((one.ask(request).status, two.ask(request).status), (200, 200));
    assert!(lb.client("web").is_closed());
    let other = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    other.bind(&std::net::SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
    other.connect(&lb.addr("web").into()).unwrap();
    assert_eq!(Client::over(other.into()).ask(request).status, 200, "another client is not concerned");
    let refused = [("frontend", "web"), ("reason", "client_limit")];
    eventually("it is counted", || lb.metric("lb_frontend_connections_refused_total", &refused) == 1.0);
    drop(one);
    eventually("the place is free again", || {
        let mut client = lb.client("web");
        client.try_send(request).is_ok() && client.try_response("GET").is_ok_and(|r| r.status == 200)
    });
}
