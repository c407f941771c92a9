//! HTTP/2 from clients and to backends, gRPC, and HTTP/2 turned into HTTP/1.1.

use std::io::{BufReader, Write};
use std::process::Command;

use crate::harness::h2::{self, CONTINUATION, END_HEADERS, END_STREAM, GOAWAY, H2, HEADERS, RST_STREAM, SETTINGS};
use crate::harness::{Authority, Lb, Nginx, Origin, Peer, Reply, Speaks, curl, eventually, read_request};

const ONE: &str = "
frontends:
  web: { mode: http, listen: @web, pool: web }
pools:
  web: { backends: [@a] }
";

fn curl_h2c(arguments: &[&str]) -> crate::harness::Curl {
    let seen = curl(&[&["--http2-prior-knowledge"], arguments].concat());
    assert_eq!(seen.exit, 0, "{}", seen.stderr);
    assert_eq!(seen.version, "2");
    seen
}

#[test]
fn h2c_clients_reach_http1_backends() {
    let origin = Origin::echo();
    let lb = Lb::start(ONE, &[("a", origin.addr)]);
    let seen = curl_h2c(&["--header", "X-End: 1", &lb.url("web", "/path?query")]);
    assert_eq!(seen.status(), 200);
    let request = origin.last_request();
    assert_eq!((request.method.as_str(), request.target.as_str()), ("GET", "/path?query"));
    assert_eq!(request.get("host"), Some(lb.addr("web").to_string().as_str()));
    assert_eq!((request.get("x-end"), request.get("x-forwarded-proto")), (Some("1"), Some("http")));

    let upload = "u".repeat(3 << 20);
    std::fs::write(lb.dir().join("upload"), &upload).unwrap();
    let file = format!("@{}", lb.dir().join("upload").display());
    assert_eq!(curl_h2c(&["--data-binary", &file, &lb.url("web", "/")]).text(), upload);
    assert_eq!(curl_h2c(&["--head", &lb.url("web", "/")]).status(), 200);
}

#[test]
fn interim_responses_and_trailers_pass_to_h2() {
    let origin = Origin::raw(|mut stream, _| {
        read_request(&mut BufReader::new(stream.try_clone().unwrap())).unwrap();
        stream
            .write_all(
                b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n\
                  HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                  3\r\nabc\r\n0\r\nX-Sum: 42\r\n\r\n",
            )
            .unwrap();
    });
    let lb = Lb::start(ONE, &[("a", origin.addr)]);
    let seen = curl_h2c(&["--header", "TE: trailers", &lb.url("web", "/")]);
    assert_eq!(seen.text(), "abc");
    assert_eq!(seen.response.interim[0].1.get("link"), Some("</a.css>"));
    assert_eq!(seen.response.trailers.get("x-sum"), Some("42"));
    for name in ["connection", "x-hop", "transfer-encoding"] {
        assert_eq!(seen.get(name), None, "{name} has no place in HTTP/2");
    }
}

#[test]
fn an_early_answer_reaches_an_h2_client() {
    let origin = Origin::raw(|mut stream, _| {
        let mut input = BufReader::new(stream.try_clone().unwrap());
        crate::harness::read_request_head(&mut input).unwrap();
        stream.write_all(b"HTTP/1.1 413 Too much\r\nContent-Length: 3\r\n\r\nbig").unwrap();
        let _ = std::io::copy(&mut input, &mut std::io::sink());
    });
    let lb = Lb::start(ONE, &[("a", origin.addr)]);
    let mut client = H2::connect(lb.addr("web"));
    let head = h2::request_block("POST", "/", &[("content-length", "100000000")]);
    client.send(HEADERS, END_HEADERS, 1, &head).unwrap();
    client.send(h2::DATA, 0, 1, &[b'x'; 16_384]).unwrap();
    client.expect(HEADERS);
    assert_eq!(client.expect(h2::DATA).payload, b"big");
}

#[test]
fn cookies_are_joined_for_http1() {
    let origin = Origin::named("a");
    let lb = Lb::start(ONE, &[("a", origin.addr)]);
    let mut client = H2::connect(lb.addr("web"));
    let head = h2::request_block("GET", "/", &[("cookie", "a=1"), ("cookie", "b=2")]);
    client.send(HEADERS, END_HEADERS | END_STREAM, 1, &head).unwrap();
    client.expect(HEADERS);
    // RFC 9113, section 8.2.3.
    assert_eq!(origin.last_request().get("cookie"), Some("a=1; b=2"));
}

#[test]
fn many_streams_share_few_connections() {
    let origin = Nginx::start("a", Speaks::Http1);
    let lb = Lb::start(ONE, &[("a", origin.addr)]);
    let output = Command::new("h2load")
        .args(["--requests", "4000", "--clients", "4", "--max-concurrent-streams", "32"])
        .arg(lb.url("web", "/"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("4000 succeeded, 0 failed, 0 errored, 0 timeout"), "{text}");
    assert_eq!(lb.metric("lb_frontend_connections_total", &[("frontend", "web")]), 4.0);
    assert_eq!(lb.metric("lb_frontend_http_requests_total", &[("frontend", "web"), ("code", "2xx")]), 4000.0);
}

#[test]
fn backends_may_speak_h2() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "ca");
    let leaf = authority.issue("backend", &["backend.test"]);
    let (clear, tls) = (Nginx::start("clear", Speaks::H2c), Nginx::start("tls", Speaks::H2(&leaf)));
    let lb = Lb::start_in(
        dir,
        "
frontends:
  clear: { mode: http, listen: @clear, pool: clear }
  tls: { mode: http, listen: @tls, pool: tls }
pools:
  clear: { protocol: h2c, backends: [@nginx_clear] }
  tls: { protocol: h2, tls: { ca: @dir/ca.pem, server_name: backend.test }, backends: [@nginx_tls] }
",
        &[("nginx_clear", clear.addr), ("nginx_tls", tls.addr)],
    );
    for name in ["clear", "tls"] {
        let response = lb.get(name, "/");
        assert_eq!((response.status, response.text()), (200, format!("{name} HTTP/2.0 test")));
        let blob = lb.client(name).get("/blob");
        assert_eq!((blob.status, blob.body.len()), (200, 1 << 20));
        assert!(curl_h2c(&[&lb.url(name, "/")]).text().starts_with(&format!("{name} HTTP/2.0")));
        let upload =
            format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\n{}", "x".repeat(1_000_000));
        assert_eq!(lb.client(name).ask(upload).status, 200);
    }
}

#[test]
fn grpc_passes_with_streams_trailers_and_errors() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "ca");
    authority.issue("site", &["localhost"]);
    let server = Peer::serve("grpc_server.py", &[]);
    let lb = Lb::start_in(
        dir,
        "
frontends:
  clear: { mode: http, listen: @clear, pool: grpc }
  tls:
    mode: http
    listen: @tls
    tls: { certificates: [{ cert: @dir/site.crt, key: @dir/site.key }] }
    pool: grpc
pools:
  grpc: { protocol: h2c, backends: [@grpc] }
",
        &[("grpc", server.addr)],
    );
    assert_eq!(Peer::run_ok("grpc_client.py", &[&lb.addr("clear").to_string()]), "ok\n");
    let tls = format!("localhost:{}", lb.addr("tls").port());
    let ca = lb.dir().join("ca.pem").display().to_string();
    assert_eq!(Peer::run_ok("grpc_client.py", &[&tls, &ca]), "ok\n");
}

/// What HTTP/1.1 could not carry unchanged never reaches a backend that speaks it (RFC 9113, 8.2.1 and 8.3).
#[test]
fn nothing_is_smuggled_from_h2_into_http1() {
    let origin = Origin::named("a");
    let lb = Lb::start(ONE, &[("a", origin.addr)]);
    let heads = [
        ("a line break in a value", h2::request_block("GET", "/", &[("x", "a\r\nGET /smuggled HTTP/1.1")])),
        ("a NUL in a value", h2::request_block("GET", "/", &[("x", "a\0b")])),
        ("a line break in a name", h2::request_block("GET", "/", &[("x\r\ny", "a")])),
        ("a colon in a name", h2::request_block("GET", "/", &[("x:y", "a")])),
        ("upper case in a name", h2::request_block("GET", "/", &[("Content-Length", "0")])),
        ("a space in the path", h2::request_block("GET", "/ HTTP/1.1\r\nx: y", &[])),
        ("a line break in the method", h2::request_block("GET / HTTP/1.1\r\n", "/", &[])),
        ("a transfer coding", h2::request_block("GET", "/", &[("transfer-encoding", "chunked")])),
        ("a connection field", h2::request_block("GET", "/", &[("connection", "close")])),
        ("two lengths", h2::request_block("GET", "/", &[("content-length", "0"), ("content-length", "1")])),
        ("another Host", h2::request_block("GET", "/", &[("host", "other")])),
        ("a length without a body", h2::request_block("GET", "/", &[("content-length", "5")])),
        ("a blank before a value", h2::request_block("GET", "/", &[("x", " a")])),
        ("a blank behind a value", h2::request_block("GET", "/", &[("x", "a\t")])),
        ("a quote in a name", h2::request_block("GET", "/", &[("x\"y", "a")])),
    ];
    for (what, head) in heads {
        let mut client = H2::connect(lb.addr("web"));
        client.send(HEADERS, END_HEADERS | END_STREAM, 1, &head).unwrap();
        let refusal = std::iter::from_fn(|| client.frame()).find(|f| matches!(f.kind, RST_STREAM | GOAWAY | HEADERS));
        let refusal = refusal.unwrap_or_else(|| panic!("{what}: no answer"));
        // 0x8c is `:status: 400` in the static table of HPACK.
        assert!(refusal.kind != HEADERS || refusal.payload[0] == 0x8c, "{what}: answered with {refusal:?}");
    }
    assert!(origin.requests().is_empty(), "a backend saw {:?}", origin.requests());
    let counted = lb.metric("lb_frontend_bad_requests_total", &[("frontend", "web")]);
    // The h2 crate refuses the others before lb sees them.
    assert!(counted >= 4.0, "{counted} of them were counted");
}

#[test]
fn a_body_that_disagrees_with_its_length_is_refused() {
    let origin = Origin::echo();
    let lb = Lb::start(ONE, &[("a", origin.addr)]);
    let mut client = H2::connect(lb.addr("web"));
    client.send(HEADERS, END_HEADERS, 1, &h2::request_block("POST", "/", &[("content-length", "3")])).unwrap();
    client.send(h2::DATA, END_STREAM, 1, b"abcGET /smuggled HTTP/1.1\r\n\r\n").unwrap();
    let refusal = std::iter::from_fn(|| client.frame()).find(|f| matches!(f.kind, RST_STREAM | GOAWAY | HEADERS));
    assert!(refusal.is_some_and(|f| f.kind != HEADERS || f.payload[0] == 0x8c));
    assert!(origin.requests().is_empty());
}

#[test]
fn the_number_of_streams_is_told_and_kept() {
    let origin = Origin::raw(|stream, _| {
        // Takes the request and never answers.
        read_request(&mut BufReader::new(stream.try_clone().unwrap())).unwrap();
        let _ = std::io::copy(&mut &stream, &mut std::io::sink());
    });
    let lb = Lb::start(&ONE.replace("pool: web }", "pool: web, limits: { h2_streams: 5 } }"), &[("a", origin.addr)]);
    let mut client = H2::connect(lb.addr("web"));
    assert_eq!(client.expect(SETTINGS).setting(3), Some(5));
    for stream in 0..6 {
        client.get(stream * 2 + 1, "/").unwrap();
    }
    let refused = std::iter::from_fn(|| client.frame()).find(|f| matches!(f.kind, RST_STREAM | GOAWAY)).unwrap();
    // REFUSED_STREAM: it may be tried again.
    assert_eq!((refused.kind, refused.stream, refused.error_code()), (RST_STREAM, 11, 7));
}

#[test]
fn limits_hold_for_h2_as_well() {
    let origin = Origin::echo();
    let limits = "limits: { header_bytes: 2KiB, header_count: 20, uri_length: 200, body_bytes: 1000 }";
    let lb = Lb::start(&ONE.replace("pool: web }", &format!("pool: web, {limits} }}")), &[("a", origin.addr)]);
    let status = |more: &[&str], path: &str| {
        let url = lb.url("web", path);
        curl(&[&["--http2-prior-knowledge", &url], more].concat()).status()
    };
    assert_eq!(status(&[], &format!("/{}", "x".repeat(300))), 414);
    // The reset that follows (RFC 9113, section 8.1) may make curl forget the answer, so the log is asked.
    status(&["--data", &"x".repeat(1001)], "/big");
    assert_eq!(lb.logged("/big")["status"], 413);
    assert_eq!(status(&["--header", &format!("X: {}", "x".repeat(3000))], "/fields"), 431);
    let many: Vec<String> = (0..30).flat_map(|n| ["--header".to_owned(), format!("X-{n}: x")]).collect();
    assert_eq!(status(&many.iter().map(String::as_str).collect::<Vec<_>>(), "/many"), 431);
    assert!(origin.requests().is_empty());
    assert_eq!(status(&["--data", &"x".repeat(1000)], "/fits"), 200);
    let line = lb.logged("/fits");
    assert_eq!((&line["protocol"], &line["status"]), (&"HTTP/2".into(), &200.into()), "{line}");
}

#[test]
fn a_backend_that_does_not_offer_h2_is_502() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "ca");
    let origin = Nginx::start("a", Speaks::Tls(&authority.issue("backend", &["backend.test"])));
    let pool = "protocol: h2, tls: { ca: @dir/ca.pem, server_name: backend.test }, backends: [@a]";
    let lb = Lb::start_in(dir, &ONE.replace("backends: [@a]", pool), &[("a", origin.addr)]);
    assert_eq!(lb.get("web", "/h1-only").status, 502);
    assert_eq!(lb.logged("/h1-only")["fault"], "backend");
}

#[test]
fn rapid_resets_end_the_connection() {
    let origin = Origin::named("a");
    let lb = Lb::start(&ONE.replace("pool: web }", "pool: web, limits: { h2_resets: 50 } }"), &[("a", origin.addr)]);
    let mut client = H2::connect(lb.addr("web"));
    let cancel = 8_u32.to_be_bytes();
    let ended = (0..100_000)
        .map(|n| n * 2 + 1)
        .any(|stream| client.get(stream, "/").and_then(|()| client.send(RST_STREAM, 0, stream, &cancel)).is_err());
    assert!(ended, "100,000 resets were taken");
    assert!(origin.requests().len() < 20_000, "{} requests were passed on", origin.requests().len());
    assert_eq!(lb.get("web", "/").text(), "a", "everybody else is served");
}

#[test]
fn an_endless_header_section_ends_the_connection() {
    let origin = Origin::named("a");
    let lb = Lb::start(ONE, &[("a", origin.addr)]);
    let before = lb.rss_kib();
    let mut client = H2::connect(lb.addr("web"));
    client.send(HEADERS, 0, 1, &h2::request_block("GET", "/", &[])).unwrap();
    let filler = h2::request_block("GET", "/", &[("x", &"y".repeat(15_000))]);
    let sent = (0..10_000).take_while(|_| client.send(CONTINUATION, 0, 1, &filler[60..]).is_ok()).count();
    assert!(sent < 10_000, "150 MB of fields were taken");
    assert!(lb.rss_kib() < before + 20_000, "{} KiB before, {} after", before, lb.rss_kib());
    assert_eq!(lb.get("web", "/").text(), "a");
}

#[test]
fn a_bad_preface_is_told_apart() {
    let origin = Origin::named("a");
    let lb = Lb::start(ONE, &[("a", origin.addr)]);
    let mut client = H2::silent(lb.addr("web"));
    client.write(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n").unwrap();
    client.send(SETTINGS, 0, 0, &[]).unwrap();
    let frames = client.rest();
    let goaway = frames.iter().find(|f| f.kind == GOAWAY).unwrap_or_else(|| panic!("{frames:?}"));
    assert_eq!(goaway.error_code(), 1, "PROTOCOL_ERROR");
}

#[test]
fn a_stream_that_is_cancelled_ends_the_backends_work() {
    let (gone, seen) = std::sync::mpsc::channel();
    let origin = Origin::raw(move |mut stream, _| {
        read_request(&mut BufReader::new(stream.try_clone().unwrap())).unwrap();
        gone.send(matches!(std::io::Read::read(&mut stream, &mut [0]), Ok(0) | Err(_))).unwrap();
    });
    let lb = Lb::start(ONE, &[("a", origin.addr)]);
    let mut client = H2::connect(lb.addr("web"));
    client.get(1, "/").unwrap();
    eventually("the backend has the request", || origin.accepted() == 1);
    client.send(RST_STREAM, 0, 1, &8_u32.to_be_bytes()).unwrap();
    assert!(seen.recv_timeout(crate::harness::PATIENCE).unwrap());
}

#[test]
fn one_slow_stream_does_not_hold_up_the_others() {
    let origin =
        Origin::start(|request| Reply::ok(if request.target == "/big" { vec![b'x'; 1 << 20] } else { b"a".to_vec() }));
    let lb = Lb::start(ONE, &[("a", origin.addr)]);
    let mut client = H2::connect(lb.addr("web"));
    // Its window is never opened again, so that most of it waits in the backend.
    client.get(1, "/big").unwrap();
    let mut taken = 0;
    while taken < 65_535 {
        taken += client.expect(h2::DATA).payload.len();
    }
    // The connection's window is opened, the stream's is not.
    client.send(h2::WINDOW_UPDATE, 0, 0, &1_000_000_u32.to_be_bytes()).unwrap();
    for stream in [3, 5, 7] {
        client.get(stream, "/small").unwrap();
        assert_eq!(client.expect(h2::DATA).stream, stream);
    }
}
