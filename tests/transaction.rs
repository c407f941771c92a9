//! What of the process itself a reload changes, and what it refuses: without traffic.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// Killed when dropped.
struct Lb {
    child: Child,
    log: BufReader<ChildStderr>,
    dir: TempDir,
    frontend: SocketAddr,
}

impl Lb {
    /// Starts with these settings besides one frontend and one pool, and waits until it serves.
    fn start(settings: &str) -> Lb {
        Lb::start_in(tempfile::tempdir().unwrap(), settings)
    }

    /// It may tell a service manager that listens on `notify` in that directory.
    fn start_in(dir: TempDir, settings: &str) -> Lb {
        let frontend = free();
        write(&dir, frontend, settings);
        let manager = Some(dir.path().join("notify")).filter(|socket| socket.exists());
        let mut child = Command::new(env!("CARGO_BIN_EXE_lb"))
            .args(["run", "-c"])
            .arg(dir.path().join("lb.yaml"))
            .envs(manager.map(|socket| ("NOTIFY_SOCKET", socket)))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut lb = Lb { child, log, dir, frontend };
        lb.log_line("serving version");
        lb
    }

    /// Replaces the settings and reloads through the given socket.
    fn reload(&self, settings: &str, socket: &str) -> Output {
        write(&self.dir, self.frontend, settings);
        self.ask("reload", socket)
    }

    fn ask(&self, verb: &str, socket: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_lb")).arg(verb).arg("--socket").arg(self.path(socket)).output().unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The next line of the log with these words; an end of the log fails the test.
    fn log_line(&mut self, words: &str) -> String {
        let mut seen = String::new();
        loop {
            let from = seen.len();
            assert!(self.log.read_line(&mut seen).unwrap() > 0, "no `{words}` in the log:\n{seen}");
            if seen[from..].contains(words) {
                return seen.split_off(from);
            }
        }
    }
}

impl Drop for Lb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `@dir` in the settings is the test's directory.
fn write(dir: &TempDir, frontend: SocketAddr, settings: &str) {
    let settings = settings.replace("@dir", dir.path().to_str().unwrap());
    let text = format!(
        "frontends: {{ web: {{ mode: http, listen: {frontend}, pool: web }} }}
pools: {{ web: {{ backends: [127.0.0.1:1] }} }}
{settings}"
    );
    fs::write(dir.path().join("lb.yaml"), text).unwrap();
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn metrics_of(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    std::io::Write::write_all(&mut stream, b"GET /metrics HTTP/1.1\r\nHost: lb\r\nConnection: close\r\n\r\n").unwrap();
    std::io::read_to_string(stream).unwrap()
}

#[test]
fn the_admin_socket_and_the_metrics_move() {
    let (old, new) = (free(), free());
    let lb = Lb::start(&format!("admin: {{ socket: @dir/a.sock }}\nmetrics: {{ listen: {old} }}\n"));
    assert_eq!(fs::metadata(lb.path("a.sock")).unwrap().mode() & 0o777, 0o660);
    assert!(metrics_of(old).contains("lb_config_generation 1\n"));

    let moved = lb.reload(&format!("admin: {{ socket: @dir/b.sock }}\nmetrics: {{ listen: {new} }}\n"), "a.sock");
    assert!(moved.status.success(), "{}", text(&moved));
    assert!(!lb.path("a.sock").exists());
    assert!(lb.ask("status", "b.sock").status.success());
    assert!(TcpStream::connect(old).is_err());
    assert!(metrics_of(new).contains("lb_config_generation 2\n"));

    let off = lb.reload("admin: { socket: @dir/b.sock }\nmetrics: off\n", "b.sock");
    assert!(off.status.success(), "{}", text(&off));
    assert!(TcpStream::connect(new).is_err());
}

/// Our own listener on the same port is in nobody's way.
#[test]
fn the_metrics_widen_and_narrow_on_one_port() {
    let near = free();
    let everywhere = SocketAddr::from(([0, 0, 0, 0], near.port()));
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], near.port()));
    let listening = |on| format!("admin: {{ socket: @dir/a.sock }}\nmetrics: {{ listen: {on} }}\n");
    let lb = Lb::start(&listening(near));
    let wider = lb.reload(&listening(everywhere), "a.sock");
    assert!(wider.status.success(), "{}", text(&wider));
    for address in [near, elsewhere] {
        assert!(metrics_of(address).contains("lb_config_generation 2\n"));
    }
    let narrower = lb.reload(&listening(near), "a.sock");
    assert!(narrower.status.success(), "{}", text(&narrower));
    assert!(metrics_of(near).contains("lb_config_generation 3\n"));
    assert!(TcpStream::connect(elsewhere).is_err());
}

#[test]
fn a_place_that_is_taken_refuses_the_whole_reload() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = "admin: { socket: @dir/a.sock }\nmetrics: off\n";
    let lb = Lb::start(settings);
    let others = UnixListener::bind(lb.path("others.sock")).unwrap();
    for (wrong, why) in [
        (settings.replace("off", &format!("{{ listen: {} }}", taken.local_addr().unwrap())), "cannot serve metrics on"),
        (settings.replace("a.sock", "others.sock"), "another lb is running"),
        (settings.replace("a.sock", "lb.yaml"), "no socket"),
    ] {
        let refused = lb.reload(&wrong, "a.sock");
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused).contains(why), "{}", text(&refused));
    }
    drop(others);
    let status = text(&lb.ask("status", "a.sock"));
    assert!(status.contains("generation 1,") && status.contains("last reload refused"), "{status}");
}

/// The lb that runs is asked, although the file that names its socket is wrong elsewhere.
#[test]
fn a_broken_file_is_refused_by_the_running_lb() {
    let lb = Lb::start("admin: { socket: @dir/a.sock }\nmetrics: off\n");
    write(&lb.dir, lb.frontend, "admin: { socket: @dir/a.sock }\nmetrics: of\n");
    let ask = |verb: &str| {
        Command::new(env!("CARGO_BIN_EXE_lb")).args([verb, "-c"]).arg(lb.path("lb.yaml")).output().unwrap()
    };
    let refused = ask("reload");
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("lb.yaml:4:10"), "{}", text(&refused));
    assert!(text(&ask("status")).contains("last reload refused"));
}

#[test]
fn the_number_of_workers_takes_a_restart() {
    let settings = "workers: 1\nadmin: { socket: @dir/a.sock }\nmetrics: off\n";
    let lb = Lb::start(settings);
    let refused = lb.reload(&settings.replace("workers: 1", "workers: 2"), "a.sock");
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("takes a restart"), "{}", text(&refused));
    let file = lb.path("lb.yaml");
    let diff = || {
        Command::new(env!("CARGO_BIN_EXE_lb"))
            .args(["config", "diff", "--socket"])
            .arg(lb.path("a.sock"))
            .arg(&file)
            .output()
            .unwrap()
    };
    let said = diff();
    assert_eq!(said.status.code(), Some(1), "a diff says the same");
    assert!(text(&said).starts_with("~ workers 1 -> 2 ("), "{}", text(&said));
    assert!(text(&said).contains("lb runs 1 workers and the file now wants 2"), "{}", text(&said));
}

#[test]
fn as_many_workers_as_there_are_cores_are_no_change() {
    let settings = "admin: { socket: @dir/a.sock }\nmetrics: off\n";
    let mut lb = Lb::start(settings);
    let cores = std::thread::available_parallelism().unwrap();
    assert!(lb.reload(&format!("workers: {cores}\n{settings}"), "a.sock").status.success());
    let line = lb.log_line("configuration applied");
    assert!(line.contains("changes=\"none\""), "{line}");
}

#[test]
fn level_and_format_of_the_log_change_at_once() {
    let settings = "admin: { socket: @dir/a.sock }\nmetrics: off\nlog: { level: info, format: text }\n";
    let mut lb = Lb::start(settings);
    let json = settings.replace("format: text", "format: json");
    assert!(lb.reload(&json, "a.sock").status.success());
    let line: serde_json::Value = serde_json::from_str(&lb.log_line("configuration applied")).unwrap();
    assert!(line["changes"].as_str().unwrap().contains("log.format text -> json"), "{line}");

    assert!(lb.reload(&json.replace("info", "error"), "a.sock").status.success());
    assert!(!lb.reload("nonsense: true\n", "a.sock").status.success());
    let next = lb.log_line("");
    assert!(next.contains("configuration refused"), "an applied reload is not an error: {next}");
}

#[test]
fn a_second_lb_with_the_same_file_does_not_start() {
    let lb = Lb::start("admin: { socket: @dir/a.sock }\nmetrics: off\n");
    let second = Command::new(env!("CARGO_BIN_EXE_lb")).args(["run", "-c"]).arg(lb.path("lb.yaml")).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second).contains("another lb is running"), "{}", text(&second));
    assert!(lb.ask("status", "a.sock").status.success());
}

/// A refused reload ends with READY as well: what served goes on to serve (systemd.service(5), notify-reload).
#[test]
fn the_service_manager_hears_of_every_reload_and_of_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let manager = UnixDatagram::bind(dir.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let heard = || {
        let mut buffer = [0; 4096];
        let n = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    };
    let settings = "admin: { socket: @dir/a.sock }\nmetrics: off\nreload: { drain_timeout: 45s }\n";
    let lb = Lb::start_in(dir, settings);
    assert!(heard().starts_with("READY=1\nSTATUS=serving: 1 frontends, 1 pools, generation 1\n"));
    for (text, generation) in [(settings, "generation 2"), ("nonsense: true\n", "generation 2")] {
        lb.reload(text, "a.sock");
        let reloading = heard();
        assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
        let ready = heard();
        assert!(ready.starts_with("READY=1\n") && ready.contains(generation), "{ready}");
    }
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(lb.child.id() as i32), nix::sys::signal::Signal::SIGTERM)
        .unwrap();
    let stopping = heard();
    assert!(stopping.starts_with("STOPPING=1\nEXTEND_TIMEOUT_USEC=50000000\n"), "{stopping}");
}
