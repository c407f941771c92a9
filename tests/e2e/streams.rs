//! Streams of HTTP/2 that hang, are reset, come in bursts or trickle, and connections that end under them.

use std::io::BufReader;
use std::process::Command;
use std::sync::{Mutex, mpsc};

use crate::harness::h2::{
    self, DATA, END_HEADERS, END_STREAM, GOAWAY, H2, HEADERS, RST_STREAM, SETTINGS, STATUS_200, WINDOW_UPDATE,
};
use crate::harness::{Client, Lb, Nginx, Origin, PATIENCE, Reply, Speaks, eventually, get, read_request};

const CANCEL: u32 = 8;
const INITIAL_WINDOW: u16 = 4;

/// One frontend before one pool of that protocol.
fn config(protocol: &str, more: &str) -> String {
    format!(
        "
workers: 1
frontends:
  web: {{ mode: http, listen: @web, pool: web{more} }}
pools:
  web: {{ protocol: {protocol}, retry: {{ attempts: 0 }}, backends: [@a] }}
"
    )
}

fn asking(lb: &Lb) -> Client {
    let mut client = lb.client("web");
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    client
}

#[test]
fn a_stream_that_a_backend_leaves_hanging_holds_up_no_other() {
    let origin = Origin::raw(|stream, nth| {
        let mut connection = H2::accept(stream, &[]);
        let mut served = 0;
        while let Some(stream) = connection.request() {
            served += 1;
            if nth > 0 || served > 1 {
                connection.answer(stream, format!("{nth}").as_bytes());
            }
        }
    });
    let text = config("h2c", "").replace("retry:", "timeouts: { response: 4s }, retry:");
    let lb = Lb::start(&text, &[("a", origin.addr)]);
    let mut hanging = asking(&lb);
    eventually("it hangs", || lb.metric("lb_backend_requests_active", &[]) == 1.0);
    for _ in 0..20 {
        assert_eq!(lb.get("web", "/").text(), "0", "on the same connection");
    }
    assert_eq!(hanging.response().status, 504);
    // Nobody knows whether that connection will hang again.
    assert_eq!(lb.get("web", "/").text(), "1");
}

#[test]
fn a_backend_that_says_goaway_finishes_what_it_has() {
    let (release, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let origin = Origin::raw(move |stream, nth| {
        let mut connection = H2::accept(stream, &[]);
        while let Some(stream) = connection.request() {
            if nth > 0 {
                connection.answer(stream, b"new");
                continue;
            }
            // It takes no stream after this one, whose response it has only begun.
            connection.send(HEADERS, END_HEADERS, stream, STATUS_200).unwrap();
            connection.send(GOAWAY, 0, 0, &[stream.to_be_bytes(), 0_u32.to_be_bytes()].concat()).unwrap();
            gate.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            connection.send(DATA, END_STREAM, stream, b"old").unwrap();
        }
    });
    let lb = Lb::start(&config("h2c", ""), &[("a", origin.addr)]);
    let mut first = asking(&lb);
    eventually("its response has begun", || lb.metric("lb_backend_http_responses_total", &[("code", "2xx")]) == 1.0);
    for _ in 0..5 {
        assert_eq!(lb.get("web", "/").text(), "new");
    }
    release.send(()).unwrap();
    assert_eq!(first.response().text(), "old");
    assert_eq!(origin.accepted(), 2);
}

#[test]
fn a_burst_of_streams_on_one_connection_is_served() {
    for (protocol, speaks) in [("http1", Speaks::Http1), ("h2c", Speaks::H2c)] {
        let origin = Nginx::start("a", speaks);
        let lb = Lb::start(&config(protocol, ", limits: { h2_streams: 500 }"), &[("a", origin.addr)]);
        let output = Command::new("h2load")
            .args(["--requests=500", "--clients=1", "--max-concurrent-streams=500"])
            .arg(lb.url("web", "/"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("500 succeeded, 0 failed, 0 errored, 0 timeout"), "{protocol}: {text}");
        assert!(text.contains("500 2xx"), "{protocol}: {text}");
    }
}

#[test]
fn streams_that_the_client_resets_leave_the_others_and_the_backend_alone() {
    let (tell, seen) = mpsc::channel();
    let origin = Origin::raw(move |stream, _| {
        let mut connection = H2::accept(stream, &[]);
        let mut waiting = Vec::new();
        while let Some(frame) = connection.frame() {
            match frame.kind {
                HEADERS => {
                    waiting.push(frame.stream);
                    tell.send(None).unwrap();
                }
                RST_STREAM => {
                    waiting.retain(|stream| *stream != frame.stream);
                    tell.send(Some(frame.error_code())).unwrap();
                }
                _ => continue,
            }
            // All have come, and some have gone.
            if waiting.len() == 5 && frame.kind == RST_STREAM {
                waiting.drain(..).for_each(|stream| connection.answer(stream, b"kept"));
            }
        }
    });
    let lb = Lb::start(&config("h2c", ""), &[("a", origin.addr)]);
    let mut client = H2::connect(lb.addr("web"));
    for stream in 0..10 {
        client.get(stream * 2 + 1, "/").unwrap();
    }
    for _ in 0..10 {
        assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), None);
    }
    for stream in (0..10).step_by(2) {
        client.send(RST_STREAM, 0, stream * 2 + 1, &CANCEL.to_be_bytes()).unwrap();
    }
    for _ in 0..5 {
        let code = seen.recv_timeout(PATIENCE).unwrap();
        assert_eq!(code, Some(CANCEL), "the backend is told that nobody waits any more");
    }
    let mut answered: Vec<_> = (0..5).map(|_| client.expect(DATA).stream).collect();
    answered.sort_unstable();
    assert_eq!(answered, [3, 7, 11, 15, 19]);
    assert_eq!(origin.accepted(), 1);
    eventually("nothing is left", || lb.metric("lb_backend_requests_active", &[]) == 0.0);
}

#[test]
fn a_client_with_a_tiny_window_gets_all() {
    let body = "0123456789".repeat(20);
    let sent = body.clone();
    let origin = Origin::start(move |_| Reply::ok(sent.clone()));
    let lb = Lb::start(&config("http1", ""), &[("a", origin.addr)]);
    let mut client = H2::connect_with(lb.addr("web"), &[(INITIAL_WINDOW, 1)]);
    client.get(1, "/").unwrap();
    let mut got = Vec::new();
    loop {
        let frame = client.expect(DATA);
        assert!(frame.payload.len() <= 7, "more than its window: {frame:?}");
        got.extend(&frame.payload);
        if frame.flags & END_STREAM != 0 {
            break;
        }
        let more = 1 + got.len() as u32 % 7;
        client.send(WINDOW_UPDATE, 0, 1, &more.to_be_bytes()).unwrap();
    }
    assert_eq!(String::from_utf8(got).unwrap(), body);
}

#[test]
fn a_backend_with_a_tiny_window_gets_all() {
    let origin = Origin::raw(|stream, _| {
        let mut connection = H2::accept(stream, &[(INITIAL_WINDOW, 1)]);
        let mut got = Vec::new();
        while let Some(frame) = connection.frame() {
            if frame.kind != DATA {
                continue;
            }
            got.extend(&frame.payload);
            if frame.flags & END_STREAM != 0 {
                connection.answer(frame.stream, &got);
            } else {
                let _ = connection.send(WINDOW_UPDATE, 0, frame.stream, &5_u32.to_be_bytes());
            }
        }
    });
    let lb = Lb::start(&config("h2c", ""), &[("a", origin.addr)]);
    let body = "0123456789".repeat(20);
    let request = format!("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert_eq!(lb.client("web").ask(request).text(), body);
}

/// A window that a setting makes negative closes the stream's way until it is positive again (RFC 9113, section 6.9.2).
#[test]
fn a_window_may_shrink_under_a_response() {
    let origin = Origin::start(|_| Reply::ok(vec![b'x'; 100_000]));
    let lb = Lb::start(&config("http1", ""), &[("a", origin.addr)]);
    let mut client = H2::connect_with(lb.addr("web"), &[(INITIAL_WINDOW, 20_000)]);
    client.get(1, "/").unwrap();
    let mut taken = 0;
    while taken < 20_000 {
        taken += client.expect(DATA).payload.len();
    }
    let smaller = [&INITIAL_WINDOW.to_be_bytes()[..], &10_000_u32.to_be_bytes()].concat();
    client.send(SETTINGS, 0, 0, &smaller).unwrap();
    // 10,000 below zero; so the first half of this opens nothing.
    client.send(WINDOW_UPDATE, 0, 1, &20_000_u32.to_be_bytes()).unwrap();
    while taken < 30_000 {
        taken += client.expect(DATA).payload.len();
    }
    assert_eq!(taken, 30_000);
    client.send(WINDOW_UPDATE, 0, 0, &1_000_000_u32.to_be_bytes()).unwrap();
    client.send(WINDOW_UPDATE, 0, 1, &1_000_000_u32.to_be_bytes()).unwrap();
    while taken < 100_000 {
        taken += client.expect(DATA).payload.len();
    }
}

#[test]
fn a_reload_sends_goaway_only_where_the_frontend_goes() {
    let (release, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let origin = Origin::start(move |request| {
        if request.target == "/hold" {
            let _ = gate.lock().unwrap().recv_timeout(PATIENCE);
        }
        Reply::ok("done")
    });
    let stays = config("http1", "");
    let both = stays.replace("pools:", "  extra: { mode: http, listen: @extra, pool: web }\npools:");
    let mut lb = Lb::start(&both, &[("a", origin.addr)]);
    let mut kept = H2::connect(lb.addr("web"));
    let (mut idle, mut busy) = (H2::connect(lb.addr("extra")), H2::connect(lb.addr("extra")));
    for client in [&mut kept, &mut idle] {
        client.get(1, "/").unwrap();
        assert_eq!(client.expect(DATA).payload, b"done");
    }
    busy.get(1, "/hold").unwrap();
    eventually("it is in flight", || lb.metric("lb_backend_requests_active", &[]) == 1.0);
    lb.reload(&stays);
    for client in [&mut idle, &mut busy] {
        assert_eq!(client.expect(GOAWAY).error_code(), 0);
    }
    idle.rest();
    release.send(()).unwrap();
    assert_eq!(busy.expect(DATA).payload, b"done");
    busy.rest();
    kept.get(3, "/").unwrap();
    let frames: Vec<_> = std::iter::from_fn(|| kept.frame()).take_while(|f| f.kind != DATA).collect();
    assert!(frames.iter().all(|f| f.kind != GOAWAY), "{frames:?}");
}

/// The connection that a stream of HTTP/2 uses to a backend of HTTP/1.1 cannot be kept when the stream is reset.
#[test]
fn a_reset_in_the_middle_of_a_response_frees_the_backend() {
    let origin = Origin::raw(|mut stream, _| {
        read_request(&mut BufReader::new(stream.try_clone().unwrap())).unwrap();
        use std::io::Write;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        while stream.write_all(&[b'x'; 65_536]).is_ok() {}
    });
    let lb = Lb::start(&config("http1", ""), &[("a", origin.addr)]);
    let mut client = H2::connect(lb.addr("web"));
    client.get(1, "/").unwrap();
    client.expect(DATA);
    client.send(RST_STREAM, 0, 1, &CANCEL.to_be_bytes()).unwrap();
    eventually("its connection is closed", || lb.metric("lb_backend_connections_active", &[]) == 0.0);
    let metrics = lb.addr("metrics");
    assert_eq!(get(metrics, "/healthz").status, 200);
    assert_eq!(lb.logged("/")["reason"], "client_closed");
}

#[test]
fn a_request_body_that_the_client_cuts_short_is_told_to_an_h2_backend() {
    let (tell, seen) = mpsc::channel();
    let origin = Origin::raw(move |stream, _| {
        let mut connection = H2::accept(stream, &[]);
        while let Some(frame) = connection.frame() {
            if matches!(frame.kind, DATA | RST_STREAM) {
                tell.send((frame.kind, frame.flags & END_STREAM)).unwrap();
            }
        }
    });
    let lb = Lb::start(&config("h2c", ""), &[("a", origin.addr)]);
    let mut client = H2::connect(lb.addr("web"));
    client.send(HEADERS, END_HEADERS, 1, &h2::request_block("POST", "/", &[("content-length", "10")])).unwrap();
    client.send(DATA, 0, 1, b"half.").unwrap();
    assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), (DATA, 0));
    client.send(RST_STREAM, 0, 1, &CANCEL.to_be_bytes()).unwrap();
    assert_eq!(seen.recv_timeout(PATIENCE).unwrap(), (RST_STREAM, 0), "half a body must not look like a whole one");
}
