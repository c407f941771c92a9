//! TLS towards clients: certificates by name, versions, resumption, client certificates; and towards backends.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::harness::{Authority, Client, Lb, Nginx, Origin, Speaks, curl, eventually};

/// A frontend `web` with the certificates `a` and `b`, and what else the test wants of its TLS.
fn config(tls: &str) -> String {
    format!(
        "
workers: 2
frontends:
  web:
    mode: http
    listen: @web
    tls:
      certificates:
        - {{ cert: @dir/a.crt, key: @dir/a.key }}
        - {{ cert: @dir/b.crt, key: @dir/b.key }}
{tls}
    pool: web
pools:
  web: {{ backends: [@origin] }}
"
    )
}

struct Site {
    lb: Lb,
    ca: Authority,
    origin: Origin,
}

fn site(tls: &str) -> Site {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new(dir.path(), "ca");
    ca.issue("a", &["a.test"]);
    ca.issue("b", &["b.test", "*.b.test"]);
    let origin = Origin::named("origin");
    let lb = Lb::start_in(dir, &config(tls), &[("origin", origin.addr)]);
    Site { lb, ca, origin }
}

impl Site {
    /// curl to a name, with the test's authority.
    fn curl(&self, host: &str, more: &[&str]) -> crate::harness::Curl {
        let port = self.lb.addr("web").port();
        let (ca, to) = (self.ca.ca.display().to_string(), format!("{host}:{port}:127.0.0.1"));
        let url = format!("https://{host}:{port}/");
        curl(&[&["--cacert", &ca, "--resolve", &to, &url], more].concat())
    }

    /// `openssl s_client` that says its last word at once.
    fn s_client(&self, more: &[&str]) -> String {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &self.lb.addr("web").to_string(), "-CAfile"])
            .arg(&self.ca.ca)
            .args(more)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        text(&output)
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_name_chooses_the_certificate() {
    let site = site("");
    for (name, subject) in [("a.test", "CN = a"), ("b.test", "CN = b"), ("x.b.test", "CN = b"), ("no.test", "CN = a")] {
        let seen = site.s_client(&["-servername", name]);
        assert!(seen.contains(&format!("subject={subject}")), "{name}: {seen}");
    }
    assert!(site.s_client(&["-noservername"]).contains("subject=CN = a"), "the first serves who names nothing");
    assert_eq!(site.curl("b.test", &[]).text(), "origin");
    assert_eq!(site.origin.last_request().get("x-forwarded-proto"), Some("https"));
}

#[test]
fn the_protocol_is_agreed_by_alpn() {
    let both = site("");
    assert_eq!(both.curl("a.test", &["--http2"]).version, "2");
    assert_eq!(both.curl("a.test", &["--http1.1"]).version, "1.1");
    assert_eq!(both.curl("a.test", &["--no-alpn"]).version, "1.1");
    let one = site("      alpn: [http/1.1]");
    assert_eq!(one.curl("a.test", &["--http2"]).version, "1.1");
}

#[test]
fn old_versions_are_refused() {
    let usual = site("");
    assert!(usual.s_client(&["-tls1_2"]).contains("Protocol  : TLSv1.2"));
    assert!(usual.s_client(&["-tls1_3"]).contains("TLSv1.3"));
    assert!(!usual.s_client(&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]).contains("BEGIN CERTIFICATE"));
    let strict = site("      min_version: \"1.3\"");
    assert!(strict.s_client(&["-tls1_3"]).contains("TLSv1.3"));
    assert!(!strict.s_client(&["-tls1_2"]).contains("BEGIN CERTIFICATE"));
    eventually("the failed handshake is counted", || {
        strict.lb.metric("lb_frontend_tls_failures_total", &[("frontend", "web")]) >= 1.0
    });
}

/// Any worker resumes what another began, and a reload forgets nothing.
#[test]
fn sessions_are_resumed() {
    for version in ["-tls1_2", "-tls1_3"] {
        let mut site = site("");
        let session = site.lb.dir().join("session").display().to_string();
        let first = Command::new("sh")
            // In TLS 1.3 the ticket comes after the handshake: wait for an answer before leaving.
            .args(["-c", "(printf 'GET / HTTP/1.1\\r\\nHost: a\\r\\nConnection: close\\r\\n\\r\\n'; sleep 1) | openssl s_client -ign_eof \"$@\"", "sh"])
            .args(["-connect", &site.lb.addr("web").to_string(), version, "-sess_out", &session])
            .output()
            .unwrap();
        assert!(text(&first).contains("New, TLSv1"), "{}", text(&first));
        for _ in 0..8 {
            let again = site.s_client(&[version, "-sess_in", &session]);
            assert!(again.contains("Reused, TLSv1"), "{version}: {again}");
        }
        site.lb.reload(&config("").replace("[@origin]", "[@origin, 127.0.0.1:1]"));
        assert!(site.s_client(&[version, "-sess_in", &session]).contains("Reused, TLSv1"), "{version} after a reload");
        let resumed = [("frontend", "web"), ("resumed", "true")];
        eventually("each is counted", || site.lb.metric("lb_frontend_tls_handshakes_total", &resumed) == 9.0);
    }
}

#[test]
fn certificates_are_read_again_on_reload() {
    let mut site = site("");
    let serial = |site: &Site| {
        let seen = site.s_client(&["-servername", "a.test"]);
        seen.split("BEGIN CERTIFICATE").nth(1).unwrap_or_else(|| panic!("{seen}"))[..200].to_owned()
    };
    let before = serial(&site);
    site.ca.issue("a", &["a.test"]);
    assert_eq!(serial(&site), before, "not before a reload");
    site.lb.reload(&config(""));
    assert_ne!(serial(&site), before);
    assert_eq!(site.curl("a.test", &[]).text(), "origin");

    fs::write(site.lb.dir().join("a.crt"), "nonsense").unwrap();
    let refused = site.lb.try_reload(&config(""));
    assert!(!refused.status.success());
    assert!(text(&refused).contains("a.crt"), "{}", text(&refused));
    assert_eq!(site.curl("a.test", &[]).text(), "origin", "the old certificate serves on");
}

/// A pair that does not belong together is refused before it serves.
#[test]
fn a_key_of_another_certificate_is_refused() {
    let mut site = site("");
    fs::copy(site.lb.dir().join("b.key"), site.lb.dir().join("a.key")).unwrap();
    let refused = site.lb.try_reload(&config(""));
    assert!(!refused.status.success());
    assert!(text(&refused).contains("a.key"), "{}", text(&refused));
    assert_eq!(site.curl("a.test", &[]).text(), "origin");
}

#[test]
fn client_certificates_are_asked_for_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, other) = (Authority::new(dir.path(), "ca"), Authority::new(dir.path(), "other"));
    ca.issue("a", &["a.test"]);
    ca.issue("b", &["b.test"]);
    ca.issue("friend", &["friend"]);
    other.issue("stranger", &["stranger"]);
    let origin = Origin::named("origin");
    let required = config("      client_auth: { ca: @dir/ca.pem }");
    let lb = Lb::start_in(dir, &required, &[("origin", origin.addr)]);
    let mut site = Site { lb, ca, origin };
    let show = |name: &str| -> Vec<String> {
        let file = |end: &str| site_dir(&site.lb).join(format!("{name}.{end}")).display().to_string();
        vec!["--cert".to_owned(), file("crt"), "--key".to_owned(), file("key")]
    };
    let (friend, stranger) = (show("friend"), show("stranger"));
    let (friend, stranger): (Vec<&str>, Vec<&str>) =
        (friend.iter().map(String::as_str).collect(), stranger.iter().map(String::as_str).collect());
    assert_eq!(site.curl("a.test", &friend).text(), "origin");
    assert_ne!(site.curl("a.test", &stranger).exit, 0);
    assert_ne!(site.curl("a.test", &[]).exit, 0);

    site.lb.reload(&config("      client_auth: { ca: @dir/ca.pem, mode: optional }"));
    assert_eq!(site.curl("a.test", &[]).text(), "origin");
    assert_eq!(site.curl("a.test", &friend).text(), "origin");
    assert_ne!(site.curl("a.test", &stranger).exit, 0);
}

fn site_dir(lb: &Lb) -> &Path {
    lb.dir()
}

#[test]
fn clear_text_on_a_tls_port_is_closed() {
    let site = site("");
    let mut client = Client::connect(site.lb.addr("web"));
    client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let mut rest = Vec::new();
    let _ = std::io::Read::read_to_end(&mut client.stream, &mut rest);
    assert!(site.origin.requests().is_empty());
    assert_eq!(site.curl("a.test", &[]).text(), "origin");
}

#[test]
fn a_handshake_must_end_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new(dir.path(), "ca");
    ca.issue("a", &["a.test"]);
    ca.issue("b", &["b.test"]);
    let text = config("").replace("    pool: web\n", "    pool: web\n    timeouts: { header: 300ms }\n");
    let lb = Lb::start_in(dir, &text, &[("origin", "127.0.0.1:1".parse().unwrap())]);
    assert!(Client::connect(lb.addr("web")).is_closed());
}

/// lb in front of nginx with TLS, whose certificate is for `backend.test`.
fn before_tls_backend(pool_tls: &str) -> (Lb, Nginx) {
    let dir: TempDir = tempfile::tempdir().unwrap();
    let ca = Authority::new(dir.path(), "ca");
    Authority::new(dir.path(), "other");
    ca.issue("client", &["client"]);
    let origin = Nginx::start("origin", Speaks::Tls(&ca.issue("backend", &["backend.test"])));
    let config = format!(
        "
frontends:
  web: {{ mode: http, listen: @web, pool: web }}
pools:
  web: {{ tls: {{ {pool_tls} }}, backends: [@origin] }}
"
    );
    let lb = Lb::start_in(dir, &config, &[("origin", origin.addr)]);
    (lb, origin)
}

#[test]
fn a_verified_backend_serves() {
    let (lb, _origin) = before_tls_backend("ca: @dir/ca.pem, server_name: backend.test");
    assert_eq!(lb.get("web", "/").text(), "origin HTTP/1.1 test");
    let mut client = lb.client("web");
    for _ in 0..5 {
        assert_eq!(client.get("/blob").body.len(), 1 << 20);
    }
}

#[test]
fn a_backend_that_fails_verification_gets_no_request() {
    for wrong in
        ["ca: @dir/other.pem, server_name: backend.test", "ca: @dir/ca.pem, server_name: other.test", "ca: @dir/ca.pem"]
    {
        let (lb, _origin) = before_tls_backend(wrong);
        assert_eq!(lb.get("web", "/bad").status, 502, "{wrong}");
        let line = lb.logged("/bad");
        assert_eq!(line["fault"], "backend", "{line}");
        assert!(line["reason"].as_str().unwrap().contains("tls"), "{line}");
    }
}

#[test]
fn verification_can_be_switched_off() {
    let (lb, _origin) = before_tls_backend("verify: false");
    assert_eq!(lb.get("web", "/").status, 200);
}

#[test]
fn a_backend_may_ask_for_our_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let ca = Authority::new(dir.path(), "ca");
    ca.issue("client", &["client"]);
    let origin = Nginx::start("origin", Speaks::TlsTo(&ca.issue("backend", &["backend.test"]), &ca));
    let config = |client: &str| {
        format!(
            "
frontends:
  web: {{ mode: http, listen: @web, pool: web }}
pools:
  web: {{ tls: {{ ca: @dir/ca.pem, server_name: backend.test{client} }}, backends: [@origin] }}
"
        )
    };
    let mut lb = Lb::start_in(
        dir,
        &config(", client: { cert: @dir/client.crt, key: @dir/client.key }"),
        &[("origin", origin.addr)],
    );
    assert_eq!(lb.get("web", "/").status, 200);
    lb.reload(&config(""));
    assert_eq!(lb.get("web", "/").status, 400, "nginx says that it got none");
}
