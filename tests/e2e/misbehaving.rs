//! Backends and clients that break the rules cost themselves their connection, and nobody else anything.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;

use crate::harness::{Client, Lb, Origin, eventually, read_request};

const CONFIG: &str = "
workers: 1
frontends:
  web: { mode: http, listen: @web, pool: web, timeouts: { header: 2s, request: 2s } }
  good: { mode: http, listen: @good, pool: good }
pools:
  web: { timeouts: { response: 15s }, retry: { attempts: 0 }, backends: [@a] }
  good: { backends: [@good_origin] }
";

struct Pair {
    lb: Lb,
    _bad: Origin,
    _good: Origin,
}

fn beside(bad: Origin) -> Pair {
    let good = Origin::named("good");
    let lb = Lb::start(CONFIG, &[("a", bad.addr), ("good_origin", good.addr)]);
    Pair { lb, _bad: bad, _good: good }
}

/// Reads a request, then does its worst.
fn backend(worst: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Pair {
    beside(Origin::raw(move |mut stream, _| {
        if let Ok(Some(_)) = read_request(&mut BufReader::new(stream.try_clone().unwrap())) {
            worst(&mut stream);
        }
    }))
}

fn answers(bytes: &'static [u8]) -> Pair {
    backend(move |stream| {
        let _ = stream.write_all(bytes);
    })
}

impl Pair {
    fn others_are_served(&self) {
        assert_eq!(self.lb.get("good", "/").text(), "good");
    }
}

#[test]
fn responses_that_break_the_protocol_are_502() {
    let broken: [&'static [u8]; 16] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 garbage that is no HTTP at all\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/3.7 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"",
    ];
    for (n, bytes) in broken.into_iter().enumerate() {
        let pair = answers(bytes);
        let mut client = pair.lb.client("web");
        let response = client.get(&format!("/{n}"));
        assert_eq!(response.status, 502, "{n}: {:?}", String::from_utf8_lossy(bytes));
        let line = pair.lb.logged(&format!("/{n}"));
        assert_eq!(line["fault"], "backend", "{n}: {line}");
        assert!(pair.lb.metric("lb_backend_response_failures_total", &[]) >= 1.0, "{n}");
        pair.others_are_served();
    }
}

#[test]
fn a_body_that_ends_early_is_not_passed_off_as_whole() {
    let early: [&'static [u8]; 4] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf.",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nha",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\nzz\r\n",
    ];
    for (n, bytes) in early.into_iter().enumerate() {
        let pair = answers(bytes);
        let mut client = pair.lb.client("web");
        client.send(format!("GET /{n} HTTP/1.1\r\nHost: t\r\n\r\n"));
        // At the best the head was still held back and could be replaced.
        let seen = client.try_response("GET");
        assert!(seen.as_ref().map_or(true, |r| r.status == 502), "{n}: {seen:?}");
        assert_eq!(pair.lb.logged(&format!("/{n}"))["fault"], "backend");
        pair.others_are_served();
    }
}

#[test]
fn bytes_after_a_response_are_never_another_response() {
    let pair =
        answers(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged");
    let mut client = pair.lb.client("web");
    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "ok");
    }
}

#[test]
fn an_unasked_response_on_an_idle_connection_is_not_taken() {
    let (forged, seen) = std::sync::mpsc::channel();
    let pair = beside(Origin::raw(move |mut stream, _| {
        let mut input = BufReader::new(stream.try_clone().unwrap());
        while let Ok(Some(request)) = read_request(&mut input) {
            let body = request.target.clone();
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(50));
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged");
            forged.send(()).unwrap();
        }
    }));
    for n in 0..5 {
        assert_eq!(pair.lb.get("web", &format!("/{n}")).text(), format!("/{n}"));
        // Only what is there before the next request can be told from its answer.
        seen.recv_timeout(crate::harness::PATIENCE).unwrap();
    }
}

#[test]
fn a_backend_may_answer_byte_by_byte() {
    let pair = backend(|stream| {
        for byte in b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n" {
            let _ = stream.write_all(&[*byte]);
            std::thread::yield_now();
        }
    });
    for _ in 0..5 {
        assert_eq!(pair.lb.get("web", "/").text(), "hello");
    }
}

#[test]
fn an_endless_head_of_a_backend_is_cut_off() {
    let pair = backend(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
        while stream.write_all(&[b'x'; 65_536]).is_ok() {}
    });
    let before = pair.lb.rss_kib();
    assert_eq!(pair.lb.get("web", "/").status, 502);
    assert!(pair.lb.rss_kib() < before + 16_384);
    pair.others_are_served();
}

#[test]
fn endless_interim_responses_are_cut_off() {
    let pair = backend(|stream| while stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").is_ok() {});
    let mut client = pair.lb.client("web");
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    // 102s may be passed on, but not for ever.
    let mut taken = 0;
    let mut buffer = [0; 65_536];
    while let Ok(n @ 1..) = client.stream.read(&mut buffer) {
        taken += n;
        assert!(taken < 64 << 20, "it goes on and on");
    }
    pair.others_are_served();
}

#[test]
fn an_endless_trailer_is_cut_off() {
    let pair = backend(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n");
        while stream.write_all(b"X-Trailer: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n").is_ok() {}
    });
    let before = pair.lb.rss_kib();
    let mut client = pair.lb.client("web");
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    assert!(client.try_response("GET").is_err());
    assert!(pair.lb.rss_kib() < before + 16_384);
    pair.others_are_served();
}

#[test]
fn garbage_from_clients_is_refused() {
    let pair = answers(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let mut seed = 1_u64;
    for _ in 0..50 {
        let mut client = pair.lb.client("web");
        let noise = (0..2000).map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 56) as u8
        });
        let _ = client.try_send(noise.collect::<Vec<_>>());
        client.finish_sending();
        if let Ok(response) = client.try_response("GET") {
            assert_eq!(response.status, 400);
        }
    }
    pair.others_are_served();
    eventually("no connection is left", || lb_is_idle(&pair.lb));
}

#[test]
fn clients_that_leave_in_the_middle_leave_nothing_behind() {
    let pair = answers(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    let before = pair.lb.descriptors();
    for part in [
        "",
        "GET",
        "GET / HTTP/1.1\r\nHo",
        "GET / HTTP/1.1\r\nHost: t\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\nhalf",
        "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nha",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        for reset in [false, true] {
            let mut client: Client = pair.lb.client("web");
            client.send(part);
            if reset {
                let socket = socket2::SockRef::from(client.stream.get_ref());
                socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
            }
        }
    }
    eventually("no connection is left", || lb_is_idle(&pair.lb));
    eventually("no descriptor is left", || pair.lb.descriptors() <= before + 4);
    pair.others_are_served();
}

fn lb_is_idle(lb: &Lb) -> bool {
    lb.metric("lb_frontend_connections_active", &[("frontend", "web")]) == 0.0
        && lb.metric("lb_backend_requests_active", &[]) == 0.0
}
