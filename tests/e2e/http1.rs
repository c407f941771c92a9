//! HTTP/1.1 through lb: framing, bodies both ways, interim and early responses, fields on their way.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;

use crate::harness::{Client, Lb, ONE, Origin, Reply, curl, read_request, read_request_body, read_request_head};

fn in_front_of(origin: &Origin) -> Lb {
    Lb::start(ONE, &[("a", origin.addr)])
}

/// An origin that reads one request after the other and answers each with these bytes.
fn verbatim(answer: &'static str) -> Origin {
    Origin::raw(move |mut stream, _| {
        let mut input = BufReader::new(stream.try_clone().unwrap());
        while let Ok(Some(_)) = read_request(&mut input) {
            stream.write_all(answer.as_bytes()).unwrap();
        }
    })
}

#[test]
fn bodies_arrive_whole_in_both_directions() {
    let origin = Origin::echo();
    let lb = in_front_of(&origin);
    let mut client = lb.client("web");
    let body = "0123456789".repeat(50_000);
    let with_length = format!("PUT /l HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    assert_eq!(client.ask(with_length).text(), body);
    let chunked = "POST /c HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5\r\nhello\r\n1;ext=1\r\n \r\n00005\r\nworld\r\n0\r\n\r\n";
    assert_eq!(client.ask(chunked).text(), "hello world");
    assert_eq!(client.get("/empty").text(), "");
    let empty = "POST /e HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(client.ask(empty).status, 200);
    assert_eq!(origin.accepted(), 1, "one upstream connection serves one request after the other");
}

#[test]
fn chunked_responses_keep_their_trailers() {
    let origin = verbatim(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
         3\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-Sum: 42\r\n\r\n",
    );
    let lb = in_front_of(&origin);
    let mut client = lb.client("web");
    for _ in 0..2 {
        let response = client.ask("GET / HTTP/1.1\r\nHost: test\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
        assert_eq!(response.text(), "abc0123456789");
        assert_eq!(response.trailers.get("x-sum"), Some("42"));
    }
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn request_trailers_reach_the_backend() {
    let origin = Origin::echo();
    let lb = in_front_of(&origin);
    let request = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                   3\r\nabc\r\n0\r\nX-Sum: 42\r\n\r\n";
    assert_eq!(lb.client("web").ask(request).text(), "abc");
    assert_eq!(origin.last_request().trailers.get("x-sum"), Some("42"));
}

#[test]
fn a_response_without_length_ends_with_its_connection() {
    let origin = Origin::raw(|mut stream, _| {
        read_request(&mut BufReader::new(stream.try_clone().unwrap())).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nuntil the end").unwrap();
    });
    let lb = in_front_of(&origin);
    let mut client = lb.client("web");
    assert_eq!(client.get("/").text(), "until the end");
    assert_eq!(client.get("/").text(), "until the end", "the client's own connection goes on");
}

#[test]
fn responses_that_have_no_body_leave_the_connection_usable() {
    let origin = Origin::raw(|mut stream, _| {
        let mut input = BufReader::new(stream.try_clone().unwrap());
        while let Ok(Some(request)) = read_request(&mut input) {
            let answer: &[u8] = match request.target.as_str() {
                "/head" => b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
                "/head-chunked" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                "/204" => b"HTTP/1.1 204 No Content\r\n\r\n",
                _ => b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 77\r\n\r\n",
            };
            stream.write_all(answer).unwrap();
        }
    });
    let lb = in_front_of(&origin);
    let mut client = lb.client("web");
    client.send("HEAD /head HTTP/1.1\r\nHost: test\r\n\r\n");
    let response = client.response_to("HEAD");
    assert_eq!((response.status, response.get("content-length")), (200, Some("1000")));
    client.send("HEAD /head-chunked HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.response_to("HEAD").status, 200);
    assert_eq!(client.get("/204").status, 204);
    let response = client.get("/304");
    assert_eq!((response.status, response.get("etag")), (304, Some("\"x\"")));
    assert_eq!(origin.accepted(), 1, "the upstream connection stays usable too");
}

#[test]
fn a_continue_is_asked_of_the_backend() {
    let origin = Origin::raw(|mut stream, _| {
        let mut input = BufReader::new(stream.try_clone().unwrap());
        let mut request = read_request_head(&mut input).unwrap().unwrap();
        assert_eq!(request.get("expect"), Some("100-continue"));
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        read_request_body(&mut input, &mut request).unwrap();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len()).unwrap();
        stream.write_all(&request.body).unwrap();
    });
    let lb = in_front_of(&origin);
    let mut client = lb.client("web");
    client.send("POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    let mut interim = [0; 25];
    client.stream.read_exact(&mut interim).unwrap();
    assert!(interim.starts_with(b"HTTP/1.1 100 "), "{:?}", String::from_utf8_lossy(&interim));
    assert_eq!(client.ask("body").text(), "body");
}

#[test]
fn a_refused_expectation_spares_the_body() {
    let origin = Origin::raw(|mut stream, _| {
        read_request_head(&mut BufReader::new(stream.try_clone().unwrap())).unwrap();
        stream.write_all(b"HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nno").unwrap();
    });
    let lb = in_front_of(&origin);
    let mut client = lb.client("web");
    let response = client.ask("POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 9999\r\n\r\n");
    assert_eq!((response.status, response.text().as_str()), (417, "no"));
    assert!(response.interim.is_empty());
}

#[test]
fn curl_waits_for_the_continue_and_gets_its_answer() {
    let origin = Origin::echo();
    let lb = in_front_of(&origin);
    let upload = "u".repeat(2 << 20);
    std::fs::write(lb.dir().join("upload"), &upload).unwrap();
    let file = format!("@{}", lb.dir().join("upload").display());
    let seen = curl(&["--data-binary", &file, "--header", "Expect: 100-continue", &lb.url("web", "/")]);
    assert_eq!(seen.text().len(), upload.len(), "{}", seen.stderr);
    assert_eq!(seen.status(), 200);
}

#[test]
fn an_answer_before_the_end_of_the_body_reaches_the_client() {
    let origin = Origin::raw(|mut stream, _| {
        let mut input = BufReader::new(stream.try_clone().unwrap());
        read_request_head(&mut input).unwrap();
        stream.write_all(b"HTTP/1.1 413 Too much\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig").unwrap();
        // As servers do: the rest is read and thrown away, so that no reset overtakes the answer.
        let _ = std::io::copy(&mut input, &mut std::io::sink());
    });
    let lb = in_front_of(&origin);
    let mut client = lb.client("web");
    client.send("POST /early HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000000\r\n\r\n");
    client.send(vec![b'x'; 100_000]);
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (413, "big"));
}

#[test]
fn early_hints_pass() {
    let origin = verbatim(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </b.css>\r\n\r\n\
         HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    );
    let lb = in_front_of(&origin);
    let mut client = lb.client("web");
    for _ in 0..2 {
        let response = client.get("/");
        assert_eq!((response.status, response.text().as_str()), (200, "ok"));
        let links: Vec<_> = response.interim.iter().map(|(s, f)| (*s, f.get("link").unwrap())).collect();
        assert_eq!(links, [(103, "</a.css>"), (103, "</b.css>")]);
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start(|request| Reply::ok(request.target.clone()));
    let lb = in_front_of(&origin);
    let mut client = lb.client("web");
    let requests: String = (0..50).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: test\r\n\r\n")).collect();
    client.send(requests);
    for n in 0..50 {
        assert_eq!(client.response().text(), format!("/{n}"));
    }
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let origin = Origin::echo();
    let lb = in_front_of(&origin);
    let mut client = lb.client("web");
    let request = "POST /slow HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    for byte in request.as_bytes() {
        client.send([*byte]);
    }
    assert_eq!(client.response().text(), "abc");
}

#[test]
fn clients_of_http_1_0_are_served() {
    let origin = verbatim("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    let lb = in_front_of(&origin);
    let mut client = lb.client("web");
    let response = client.ask("GET / HTTP/1.0\r\nHost: test\r\n\r\n");
    assert_eq!(response.get("transfer-encoding"), None, "1.0 knows no chunks");
    assert_eq!(response.text(), "hello");
    assert!(client.is_closed());
}

#[test]
fn connection_close_is_honoured_on_both_sides() {
    let origin = Origin::start(|_| Reply::ok("x").with("Connection", "close"));
    let lb = in_front_of(&origin);
    let mut client = lb.client("web");
    assert_eq!(client.get("/1").get("connection"), None, "the backend's own business");
    let response = client.ask("GET /2 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    assert_eq!(response.get("connection"), Some("close"));
    assert!(client.is_closed());
    assert_eq!(origin.accepted(), 2);
    assert_eq!(origin.last_request().get("connection"), None, "the client's own business");
}

#[test]
fn fields_of_one_hop_stay_there() {
    let origin = Origin::start(|_| {
        Reply::ok("x")
            .with("Connection", "X-Hop, keep-alive")
            .with("X-Hop", "1")
            .with("Keep-Alive", "timeout=5")
            .with("Proxy-Connection", "keep-alive")
            .with("X-End", "1")
    });
    let lb = in_front_of(&origin);
    let response = lb.client("web").ask(
        "GET / HTTP/1.1\r\nHost: test\r\nConnection: x-hop, Keep-Alive\r\nX-Hop: 1\r\nKeep-Alive: 300\r\n\
         Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\nUpgrade: odd\r\nX-End: 1\r\n\r\n",
    );
    let request = origin.last_request();
    for name in ["connection", "x-hop", "keep-alive", "proxy-connection", "upgrade"] {
        assert!(!request.fields.has(name), "{name} reached the backend");
        assert!(!response.fields.has(name), "{name} reached the client");
    }
    assert_eq!((request.get("x-end"), response.get("x-end")), (Some("1"), Some("1")));
}

#[test]
fn the_client_is_named_to_the_backend() {
    let origin = Origin::named("a");
    let lb = in_front_of(&origin);
    let mut client = lb.client("web");
    client.ask(
        "GET / HTTP/1.1\r\nHost: shop.example:81\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: evil\r\n\r\n",
    );
    let request = origin.last_request();
    assert_eq!(request.get("host"), Some("shop.example:81"));
    assert_eq!(request.get("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.get("x-forwarded-proto"), Some("http"));
    assert_eq!(request.get("x-forwarded-host"), Some("shop.example:81"));
}

#[test]
fn a_trusted_proxy_is_believed() {
    let origin = Origin::named("a");
    let config = ONE.replace("pool: web }", "pool: web, trusted_proxies: [127.0.0.0/8] }");
    let lb = Lb::start(&config, &[("a", origin.addr)]);
    lb.client("web").ask(
        "GET / HTTP/1.1\r\nHost: inner\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: shop.example\r\n\r\n",
    );
    let request = origin.last_request();
    let forwarded: Vec<_> = request.fields.all("x-forwarded-for").collect();
    assert_eq!(forwarded.join(", "), "6.6.6.6, 127.0.0.1");
    assert_eq!(request.get("x-forwarded-proto"), Some("https"));
    assert_eq!(request.get("x-forwarded-host"), Some("shop.example"));
}

#[test]
fn backends_learn_that_a_request_came_through_lb() {
    let origin = Origin::named("a");
    let mut lb = in_front_of(&origin);
    lb.client("web").ask("GET / HTTP/1.1\r\nHost: t\r\nVia: 1.0 first\r\n\r\n");
    assert_eq!(origin.last_request().fields.all("via").collect::<Vec<_>>(), ["1.0 first", "1.1 lb"]);
    lb.reload(&ONE.replace("backends:", "via: false, backends:"));
    assert_eq!(lb.get("web", "/").status, 200);
    assert_eq!(origin.last_request().get("via"), None);
}

#[test]
fn ipv6_works_on_both_sides() {
    let origin = Origin::on(std::net::TcpListener::bind("[::1]:0").unwrap(), |_| Reply::ok("six"));
    let port = std::net::TcpListener::bind("[::1]:0").unwrap().local_addr().unwrap();
    let config = ONE.replace("@web", &format!("'{port}'")).replace("[@a]", "['@a']");
    let lb = Lb::start(&config, &[("a", origin.addr)]);
    assert_eq!(crate::harness::get(port, "/").text(), "six");
    assert_eq!(origin.last_request().get("x-forwarded-for"), Some("::1"));
    assert_eq!(lb.logged("/")["client"], "::1");
}

#[test]
fn the_target_decides_over_the_host_field() {
    let origin = Origin::named("a");
    let lb = in_front_of(&origin);
    let mut client = lb.client("web");
    assert_eq!(client.ask("GET http://other.example/x?y HTTP/1.1\r\nHost: test\r\n\r\n").status, 200);
    let request = origin.last_request();
    assert_eq!((request.target.as_str(), request.get("host")), ("/x?y", Some("other.example")));
    assert_eq!(client.ask("OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n").status, 200);
    assert_eq!(origin.last_request().target, "*");
}

#[test]
fn a_client_that_leaves_early_ends_the_backends_work() {
    let (gone, seen) = std::sync::mpsc::channel();
    let origin = Origin::raw(move |mut stream: TcpStream, _| {
        read_request(&mut BufReader::new(stream.try_clone().unwrap())).unwrap();
        // Only an end or a reset comes back: nobody sends anything more.
        gone.send(matches!(stream.read(&mut [0]), Ok(0) | Err(_))).unwrap();
    });
    let lb = in_front_of(&origin);
    let mut client = lb.client("web");
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    crate::harness::eventually("the backend has the request", || origin.accepted() == 1);
    drop(client);
    assert!(seen.recv_timeout(crate::harness::PATIENCE).unwrap());
    crate::harness::eventually("nothing is in flight", || {
        lb.metric("lb_frontend_connections_active", &[("frontend", "web")]) == 0.0
    });
}

#[test]
fn a_half_closed_client_still_gets_its_answer() {
    let origin = Origin::echo();
    let lb = in_front_of(&origin);
    let mut client: Client = lb.client("web");
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc");
    client.finish_sending();
    assert_eq!(client.response().text(), "abc");
}
