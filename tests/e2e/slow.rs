//! Receivers that take their bytes slowly are waited for; those that take none are given up.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::harness::h2::{self, DATA, END_STREAM, H2, RST_STREAM, SETTINGS, WINDOW_UPDATE};
use crate::harness::{Client, Lb, Origin, Reply, read_request_head};

/// More than the kernel's buffers on the way hold.
const BODY: usize = 24 << 20;
/// A fraction of the time for which a test reads slowly.
const LIMIT: &str = "500ms";
const SLOWLY: Duration = Duration::from_secs(4);

fn config() -> String {
    format!(
        "
workers: 1
frontends:
  web: {{ mode: http, listen: @web, pool: web, timeouts: {{ idle: {LIMIT} }} }}
pools:
  web: {{ timeouts: {{ response: {LIMIT} }}, backends: [@a] }}
"
    )
}

fn big() -> Origin {
    Origin::start(|request| Reply::ok(if request.target == "/big" { vec![b'x'; BODY] } else { b"small".to_vec() }))
}

/// A connection on which the other side can send little ahead.
fn narrow(to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(8 << 10).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

/// Reads some 400 KiB a second for a while: a kernel on loopback opens its window by 64 KiB or not at all.
fn read_slowly(from: &mut impl Read) -> usize {
    let (begin, mut taken) = (Instant::now(), 0);
    while begin.elapsed() < SLOWLY {
        taken += from.read(&mut [0; 8192]).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    taken
}

#[test]
fn a_client_that_reads_slowly_gets_all() {
    let origin = big();
    let lb = Lb::start(&config(), &[("a", origin.addr)]);
    let mut client = Client::over(narrow(lb.addr("web")));
    client.send("GET /big HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    let slowly = read_slowly(&mut client.stream);
    let mut rest = Vec::new();
    client.stream.read_to_end(&mut rest).unwrap();
    assert!(slowly + rest.len() > BODY, "{} of {BODY} came", slowly + rest.len());
    assert!(lb.logged("/big")["fault"].is_null());
}

#[test]
fn an_h2_client_that_reads_slowly_gets_all() {
    let origin = big();
    let lb = Lb::start(&config(), &[("a", origin.addr)]);
    let mut stream = narrow(lb.addr("web"));
    // Windows that never close: the connection alone is slow.
    let open = (1_u32 << 30).to_be_bytes();
    let settings = [&[0, 4], &open[..]].concat();
    let opening = [h2::PREFACE, &h2::frame(SETTINGS, 0, 0, &settings), &h2::frame(WINDOW_UPDATE, 0, 0, &open)];
    stream.write_all(&opening.concat()).unwrap();
    stream.write_all(&h2::frame(h2::HEADERS, 5, 1, &h2::request_block("GET", "/big", &[]))).unwrap();
    let slowly = read_slowly(&mut stream);
    let mut rest = slowly;
    while rest < BODY {
        let read = stream.read(&mut [0; 65_536]).unwrap();
        assert!(read > 0, "{rest} of {BODY} came");
        rest += read;
    }
    assert!(lb.logged("/big")["fault"].is_null());
}

#[test]
fn a_stream_whose_window_stays_shut_is_given_up_alone() {
    let origin = big();
    let lb = Lb::start(&config(), &[("a", origin.addr)]);
    let mut client = H2::connect(lb.addr("web"));
    client.send(WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes()).unwrap();
    client.get(1, "/big").unwrap();
    let mut others = (3..).step_by(2);
    let reset = loop {
        let frame = client.frame().expect("the connection goes on");
        match frame.kind {
            RST_STREAM => break frame,
            // The other streams have all the time something to do.
            DATA if frame.stream == 1 => {}
            _ if frame.flags & END_STREAM == 0 && frame.stream != 0 => {}
            _ => client.get(others.next().unwrap(), "/small").unwrap(),
        }
    };
    assert_eq!(reset.stream, 1);
    assert_eq!(lb.logged("/big")["reason"], "client_stalled");
    client.get(others.next().unwrap(), "/small").unwrap();
    assert_eq!(client.expect(DATA).payload, b"small");
}

#[test]
fn a_backend_that_reads_slowly_gets_all() {
    let origin = Origin::raw(|mut stream, _| {
        let mut input = BufReader::new(stream.try_clone().unwrap());
        read_request_head(&mut input).unwrap();
        let slowly = read_slowly(&mut input);
        let length = std::io::copy(&mut input.by_ref().take((BODY - slowly) as u64), &mut std::io::sink()).unwrap();
        assert_eq!(length as usize, BODY - slowly);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nall").unwrap();
    });
    let lb = Lb::start(&config(), &[("a", origin.addr)]);
    let mut client = lb.client("web");
    client.send(format!("POST /up HTTP/1.1\r\nHost: t\r\nContent-Length: {BODY}\r\n\r\n"));
    client.send(vec![b'x'; BODY]);
    assert_eq!(client.response().text(), "all");
}
