//! Which route a request takes, seen from outside: the first that matches.

use crate::harness::{Client, Lb, Origin, Response};

const CONFIG: &str = "
frontends:
  web:
    mode: http
    listen: @web
    routes:
      - { host: old.test, redirect: { status: 308, location: 'https://new.test{path}{query}' } }
      - { path: { exact: /health }, respond: { status: 204 } }
      - { path: /teapot, respond: { status: 418, content_type: text/x-tea, body: short and stout } }
      - { host: api.test, method: POST, pool: post }
      - { host: api.test, header: { name: X-Canary, value: 'yes' }, pool: canary }
      - { host: api.test, pool: api }
      - { host: '*.shop.test', path: /static/, pool: static }
      - { host: '*.shop.test', pool: shop }
      - { host: exact.test, path: { exact: /only }, pool: only }
pools:
  post: { backends: [@post] }
  canary: { backends: [@canary] }
  api: { backends: [@api] }
  static: { backends: [@static] }
  shop: { backends: [@shop] }
  only: { backends: [@only] }
";

const POOLS: [&str; 6] = ["post", "canary", "api", "static", "shop", "only"];

/// Method, host, path, further fields, and the name that answers.
const CASES: [(&str, &str, &str, &str, &str); 22] = [
    ("GET", "api.test", "/", "", "api"),
    ("GET", "API.Test", "/", "", "api"),
    ("GET", "api.test:8080", "/", "", "api"),
    ("GET", "api.test.", "/", "", "api"),
    ("POST", "api.test", "/", "", "post"),
    ("GET", "api.test", "/", "X-Canary: yes\r\n", "canary"),
    ("GET", "api.test", "/", "X-Canary: no\r\n", "api"),
    ("POST", "api.test", "/", "X-Canary: yes\r\n", "post"),
    ("GET", "a.shop.test", "/", "", "shop"),
    ("GET", "a.b.shop.test", "/", "", "shop"),
    ("GET", "a.shop.test", "/static/x.css", "", "static"),
    ("GET", "a.shop.test", "/static/", "", "static"),
    ("GET", "a.shop.test", "/statics", "", "shop"),
    ("GET", "a.shop.test", "/static/?q=1", "", "static"),
    ("GET", "shop.test", "/", "", "404"),
    ("GET", "xshop.test", "/", "", "404"),
    ("GET", "exact.test", "/only", "", "only"),
    ("GET", "exact.test", "/only?q=1", "", "only"),
    ("GET", "exact.test", "/only/more", "", "404"),
    ("GET", "exact.test", "/Only", "", "404"),
    ("GET", "api.test", "/teapot", "", "short and stout"),
    ("GET", "nobody.test", "/", "", "404"),
];

fn ask(client: &mut Client, method: &str, host: &str, path: &str, fields: &str) -> Response {
    client.send(format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{fields}Content-Length: 0\r\n\r\n"));
    client.response_to(method)
}

fn start() -> (Lb, Vec<Origin>) {
    let origins: Vec<_> = POOLS.iter().map(|name| Origin::named(name)).collect();
    let names: Vec<_> = POOLS.iter().zip(&origins).map(|(name, origin)| (*name, origin.addr)).collect();
    (Lb::start(CONFIG, &names), origins)
}

#[test]
fn the_first_route_that_matches_serves() {
    let (lb, _origins) = start();
    let mut client = lb.client("web");
    for (method, host, path, fields, expected) in CASES {
        let response = ask(&mut client, method, host, path, fields);
        let seen = if response.status == 404 { "404".to_owned() } else { response.text() };
        assert_eq!(seen, expected, "{method} {host}{path} {fields}");
    }
}

#[test]
fn redirects_and_fixed_answers_need_no_backend() {
    let (lb, origins) = start();
    let mut client = lb.client("web");
    let moved = ask(&mut client, "GET", "old.test:81", "/a%20b?c=d", "");
    assert_eq!((moved.status, moved.get("location")), (308, Some("https://new.test/a%20b?c=d")));
    let health = ask(&mut client, "GET", "any.test", "/health", "");
    assert_eq!((health.status, health.get("content-length")), (204, None));
    let tea = ask(&mut client, "GET", "any.test", "/teapot", "");
    assert_eq!(
        (tea.status, tea.get("content-type"), tea.text().as_str()),
        (418, Some("text/x-tea"), "short and stout")
    );
    let head = ask(&mut client, "HEAD", "any.test", "/teapot", "");
    assert_eq!((head.status, head.get("content-length")), (418, Some("15")));
    assert!(origins.iter().all(|o| o.requests().is_empty()));
    // A body that nobody reads does not spoil the connection, or it is said that it does.
    client.send("POST /teapot HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
    let tea = client.response();
    assert_eq!(tea.status, 418);
    match tea.get("connection") {
        Some("close") => assert!(client.is_closed()),
        _ => assert_eq!(ask(&mut client, "GET", "api.test", "/", "").text(), "api"),
    }
}

#[test]
fn explain_agrees_with_what_is_served() {
    let (lb, _origins) = start();
    let port = lb.addr("web").port();
    for (method, host, path, fields, expected) in CASES {
        if host.contains(':') || !POOLS.contains(&expected) {
            continue;
        }
        let url = format!("http://{host}:{port}{path}");
        let field = fields.trim();
        let more: &[&str] = if field.is_empty() { &[] } else { &["--header", field] };
        let said = lb.cli_ok(&[&["explain", "--json", "--method", method, &url], more].concat());
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(said["decision"]["pool"]["pool"], expected, "{url}: {said}");
    }
    let nothing = lb.cli_ok(&["explain", "--json", &format!("http://nobody.test:{port}/")]);
    let nothing: serde_json::Value = serde_json::from_str(&nothing).unwrap();
    assert_eq!(nothing["decision"]["answer"]["status"], 404, "{nothing}");
}
