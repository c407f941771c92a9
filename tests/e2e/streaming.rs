//! Bodies flow at the pace of the slower side, and lb holds little of them.

use std::io::{BufReader, Read, Write};
use std::time::Duration;

use crate::harness::{Lb, ONE, Origin, eventually, read_request, read_request_head};

const HUGE: usize = 1 << 30;

/// More than lb may grow by while a body of 1 GiB waits: buffers of both sockets are the kernel's.
const BOUND_KIB: u64 = 16 << 10;

fn write_much(to: &mut impl Write, mut bytes: usize) -> std::io::Result<()> {
    let block = vec![b'x'; 1 << 20];
    while bytes > 0 {
        let part = bytes.min(block.len());
        to.write_all(&block[..part])?;
        bytes -= part;
    }
    Ok(())
}

fn take_much(from: &mut impl Read, bytes: usize) -> usize {
    let mut block = vec![0; 1 << 20];
    let mut taken = 0;
    while taken < bytes {
        match from.read(&mut block) {
            Ok(0) | Err(_) => break,
            Ok(n) => taken += n,
        }
    }
    taken
}

#[test]
fn a_gibibyte_from_a_backend_passes_and_waits_for_a_slow_reader() {
    let origin = Origin::raw(|mut stream, _| {
        read_request(&mut BufReader::new(stream.try_clone().unwrap())).unwrap();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {HUGE}\r\n\r\n").unwrap();
        let _ = write_much(&mut stream, HUGE);
    });
    let lb = Lb::start(ONE, &[("a", origin.addr)]);
    let before = lb.rss_kib();
    let mut client = lb.client("web");
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    // Nobody reads: what the backend sends must stop flowing.
    let sent = || lb.metric("lb_backend_bytes_total", &[("direction", "in")]);
    let mut last = -1.0;
    eventually("the flow stops", || {
        std::thread::sleep(Duration::from_millis(200));
        std::mem::replace(&mut last, sent()) == sent()
    });
    assert!(lb.rss_kib() < before + BOUND_KIB, "{before} KiB before, {} while waiting", lb.rss_kib());
    client.stream.get_ref().set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let mut head = [0; 64];
    client.stream.read_exact(&mut head).unwrap();
    assert!(take_much(&mut client.stream, HUGE - 64) >= HUGE - 64);
    assert!(lb.rss_kib() < before + BOUND_KIB, "{before} KiB before, {} after", lb.rss_kib());
}

#[test]
fn a_gibibyte_from_a_client_waits_for_a_slow_backend() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::raw(move |mut stream, _| {
        let mut input = BufReader::new(stream.try_clone().unwrap());
        read_request_head(&mut input).unwrap();
        let _ = wait.lock().unwrap().recv();
        let taken = take_much(&mut input, HUGE);
        let text = taken.to_string();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()).unwrap();
    });
    let lb = Lb::start(ONE, &[("a", origin.addr)]);
    let before = lb.rss_kib();
    let mut client = lb.client("web");
    client.send(format!("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: {HUGE}\r\n\r\n"));
    let mut writer = client.stream.get_ref().try_clone().unwrap();
    let sending = std::thread::spawn(move || write_much(&mut writer, HUGE));
    let taken = || lb.metric("lb_frontend_bytes_total", &[("direction", "in")]);
    let mut last = -1.0;
    eventually("the flow stops", || {
        std::thread::sleep(Duration::from_millis(200));
        std::mem::replace(&mut last, taken()) == taken()
    });
    assert!(!sending.is_finished(), "all of it went somewhere");
    assert!(lb.rss_kib() < before + BOUND_KIB, "{before} KiB before, {} while waiting", lb.rss_kib());
    go.send(()).unwrap();
    // A debug build on a busy machine takes its time.
    client.stream.get_ref().set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    assert_eq!(client.response().text(), HUGE.to_string());
    assert!(lb.rss_kib() < before + BOUND_KIB, "{before} KiB before, {} after", lb.rss_kib());
}

#[test]
fn a_response_streams_while_the_request_still_does() {
    // Each part is sent only after the echo of the one before: a proxy that gathers would hang.
    let origin = Origin::raw(|mut stream, _| {
        let mut input = BufReader::new(stream.try_clone().unwrap());
        read_request_head(&mut input).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n").unwrap();
        let mut part = [0; 4];
        for _ in 0..5 {
            input.read_exact(&mut part).unwrap();
            stream.write_all(&part).unwrap();
        }
    });
    let lb = Lb::start(ONE, &[("a", origin.addr)]);
    let mut client = lb.client("web");
    client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 20\r\n\r\n");
    let mut seen = Vec::new();
    for n in 0..5 {
        client.send(format!("p{n:03}"));
        while !seen.ends_with(format!("p{n:03}").as_bytes()) {
            let mut byte = [0];
            client.stream.read_exact(&mut byte).unwrap();
            seen.push(byte[0]);
        }
    }
}

#[test]
fn each_chunk_is_passed_on_at_once() {
    let (next, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::raw(move |mut stream, _| {
        read_request(&mut BufReader::new(stream.try_clone().unwrap())).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        for _ in 0..5 {
            stream.write_all(b"5\r\nevent\r\n").unwrap();
            let _ = wait.lock().unwrap().recv();
        }
        stream.write_all(b"0\r\n\r\n").unwrap();
    });
    let lb = Lb::start(ONE, &[("a", origin.addr)]);
    let mut client = lb.client("web");
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    let mut seen = Vec::new();
    for _ in 0..5 {
        while !seen.ends_with(b"event") {
            let mut byte = [0];
            client.stream.read_exact(&mut byte).unwrap();
            seen.push(byte[0]);
        }
        seen.clear();
        next.send(()).unwrap();
    }
}
