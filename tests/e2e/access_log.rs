//! The access log: its two formats, where it goes, and what happens when it cannot be written.

use std::fs;

use nix::sys::signal::Signal;

use crate::harness::{Lb, Origin, eventually};

fn config(access: &str) -> String {
    format!(
        "
frontends:
  web: {{ mode: http, listen: @web, pool: web }}
pools:
  web: {{ backends: [@a] }}
log: {{ access: {access} }}
"
    )
}

const REQUEST: &str = "POST /path?a=%22b HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: test \"agent\"\r\n\
                       Referer: http://from.test/\r\nContent-Length: 3\r\n\r\nabc";

#[test]
fn a_json_line_says_all_about_a_request() {
    let origin = Origin::named("answer");
    let lb = Lb::start(&config("@dir/access.log"), &[("a", origin.addr)]);
    lb.client("web").ask(REQUEST);
    let line = lb.logged("/path?a=%22b");
    for (key, value) in [
        ("client", "127.0.0.1"),
        ("frontend", "web"),
        ("pool", "web"),
        ("backend", &origin.addr.to_string()),
        ("method", "POST"),
        ("host", "shop.test"),
        ("protocol", "HTTP/1.1"),
        ("user_agent", "test \"agent\""),
        ("referer", "http://from.test/"),
    ] {
        assert_eq!(line[key], value, "{key} in {line}");
    }
    assert_eq!((&line["status"], &line["retries"]), (&200.into(), &0.into()));
    let number = |key: &str| line[key].as_u64().unwrap_or_else(|| panic!("no {key} in {line}"));
    assert!(number("bytes_in") >= 3 && number("bytes_out") >= 6, "{line}");
    assert!(number("duration_us") >= number("first_byte_us"), "{line}");
    assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
    assert!(line.get("fault").is_none(), "{line}");
}

#[test]
fn the_combined_format_is_what_tools_read() {
    let origin = Origin::named("answer");
    let lb = Lb::start(&config("{ path: @dir/combined.log, format: combined }"), &[("a", origin.addr)]);
    lb.client("web").ask(REQUEST);
    let path = lb.dir().join("combined.log");
    eventually("the line is written", || fs::read_to_string(&path).is_ok_and(|t| t.ends_with('\n')));
    let line = fs::read_to_string(&path).unwrap();
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    assert!(line.contains("] \"POST /path?a=%22b HTTP/1.1\" 200 "), "{line}");
    assert!(line.contains(" \"http://from.test/\" \"test \\"), "the quotes are escaped: {line}");
}

#[test]
fn it_may_go_to_standard_output() {
    let origin = Origin::named("answer");
    let lb = Lb::start(&config("stdout"), &[("a", origin.addr)]);
    lb.get("web", "/printed");
    eventually("the line is printed", || lb.stdout().contains("\"path\":\"/printed\""));
}

#[test]
fn it_is_reopened_on_sigusr1() {
    let origin = Origin::named("answer");
    let lb = Lb::start(&config("@dir/access.log"), &[("a", origin.addr)]);
    lb.get("web", "/before");
    lb.logged("/before");
    fs::rename(lb.dir().join("access.log"), lb.dir().join("access.log.1")).unwrap();
    lb.get("web", "/renamed");
    let old = || fs::read_to_string(lb.dir().join("access.log.1")).unwrap();
    eventually("it still goes to the old file", || old().contains("/renamed"));
    lb.signal(Signal::SIGUSR1);
    eventually("the new file is there", || lb.dir().join("access.log").exists());
    lb.get("web", "/after");
    lb.logged("/after");
    assert!(!old().contains("/after"));
}

/// A client that writes what would be a line of the log gets it escaped.
#[test]
fn nobody_can_forge_a_line() {
    let origin = Origin::named("answer");
    let lb = Lb::start(&config("@dir/access.log"), &[("a", origin.addr)]);
    lb.client("web").ask("GET /\"},{\"x\\u000a HTTP/1.1\r\nHost: t\r\nUser-Agent: \x1b[31m\"}\t{\u{e9}\r\n\r\n");
    lb.get("web", "/last");
    lb.logged("/last");
    assert!(lb.access_log().len() <= 2, "every line is one valid object");
}

#[test]
fn a_full_disk_costs_lines_and_no_requests() {
    let origin = Origin::named("answer");
    let lb = Lb::start(&config("/dev/full"), &[("a", origin.addr)]);
    let mut client = lb.client("web");
    for _ in 0..2000 {
        assert_eq!(client.get("/").status, 200);
    }
    eventually("the lost lines are counted", || lb.metric("lb_access_log_dropped_total", &[]) > 0.0);
    assert!(lb.stderr().contains("/dev/full"), "it is said once where an operator looks: {}", lb.stderr());
    assert!(lb.stderr().matches("/dev/full").count() < 20, "and not for every line");
}

/// Nobody reads the other end of the pipe.
#[test]
fn a_stuck_log_does_not_hold_up_requests() {
    let origin = Origin::named("answer");
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let reader = fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let lb = Lb::start_in(dir, &config("@dir/pipe"), &[("a", origin.addr)]);
    let mut client = lb.client("web");
    for _ in 0..5000 {
        assert_eq!(client.get("/a-path-that-makes-the-line-longer-so-that-the-pipe-fills-soon").status, 200);
    }
    assert_eq!(client.get("/").status, 200);
    drop(reader);
}
