//! What the journal of systemd gets on standard error, seen from its end of the stream.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::fstat;
use nix::unistd::Pid;
use tempfile::TempDir;

/// A line that does not come in this time does not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// An lb whose standard error is a stream socket, as under a service manager.
struct Service {
    child: Child,
    stream: BufReader<UnixStream>,
}

impl Service {
    /// `stream` is what JOURNAL_STREAM says of the socket with this device and inode.
    fn run(file: &Path, stream: impl Fn(u64, u64) -> String) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(PATIENCE)).unwrap();
        let stat = fstat(theirs.as_fd()).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_lb"))
            .args(["run", "-c"])
            .arg(file)
            .env("JOURNAL_STREAM", stream(stat.st_dev, stat.st_ino))
            .env_remove("LB_NODE")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(OwnedFd::from(theirs))
            .spawn()
            .unwrap();
        Self { child, stream: BufReader::new(ours) }
    }

    fn under_the_journal(file: &Path) -> Self {
        Self::run(file, |device, inode| format!("{device}:{inode}"))
    }

    /// Until one holds `words`; with that one.
    fn lines_until(&mut self, words: &str) -> Vec<String> {
        let mut lines = Vec::new();
        while !lines.last().is_some_and(|line: &String| line.contains(words)) {
            let mut line = String::new();
            assert!(self.stream.read_line(&mut line).unwrap() > 0, "the end before `{words}`: {lines:#?}");
            lines.push(line);
        }
        lines
    }

    fn stop(&mut self) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGTERM).unwrap();
    }

    /// What it still says, and its exit code.
    fn end(&mut self) -> (String, Option<i32>) {
        let mut rest = String::new();
        self.stream.read_to_string(&mut rest).unwrap();
        (rest, self.child.wait().unwrap().code())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `frontend` is all of it but what keeps the test apart from others.
fn file(dir: &TempDir, format: &str, frontend: &str) -> PathBuf {
    let path = dir.path().join("lb.yaml");
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = format!(
        "frontends: {{ f: {{ listen: '{listen}', {frontend} }} }}\nworkers: 1\nmetrics: off\n\
         admin: {{ socket: {}/admin.sock }}\nlog: {{ format: {format} }}\n",
        dir.path().display()
    );
    fs::write(&path, text).unwrap();
    path
}

const ANSWERS: &str = "routes: [{ respond: 200 }]";

/// A reload of what it cannot load is an error.
fn reload_refused(dir: &TempDir, format: &str) {
    file(dir, format, "routes: [{ respond: 999 }]");
    let reload = Command::new(env!("CARGO_BIN_EXE_lb"))
        .args(["reload", "--socket"])
        .arg(dir.path().join("admin.sock"))
        .output()
        .unwrap();
    assert_eq!(reload.status.code(), Some(1), "{reload:?}");
    assert!(!String::from_utf8(reload.stderr).unwrap().contains('<'), "a person's terminal is not the journal");
}

#[test]
fn each_line_of_the_log_has_its_priority_and_no_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut service = Service::under_the_journal(&file(&dir, "text", ANSWERS));
    let serving = service.lines_until(" serving").pop().unwrap();
    assert!(serving.starts_with("<6> INFO serving version="), "{serving:?}");
    reload_refused(&dir, "text");
    let refused = service.lines_until("refused").pop().unwrap();
    assert!(refused.starts_with("<3>ERROR configuration refused"), "{refused:?}");
    service.stop();
    let (rest, code) = service.end();
    assert!(rest.lines().all(|line| line.starts_with('<')), "{rest}");
    assert_eq!(code, Some(0), "{rest}");
}

#[test]
fn json_lines_have_their_priority_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut service = Service::under_the_journal(&file(&dir, "json", ANSWERS));
    let serving = service.lines_until("\"serving\"").pop().unwrap();
    let event: serde_json::Value = serde_json::from_str(serving.strip_prefix("<6>").unwrap()).unwrap();
    assert!(event.get("timestamp").is_none() && event["level"] == "INFO", "{event}");
    reload_refused(&dir, "json");
    let refused = service.lines_until("refused").pop().unwrap();
    assert!(refused.starts_with("<3>{"), "{refused:?}");
    service.stop();
    assert_eq!(service.end().1, Some(0));
}

#[test]
fn a_message_of_several_lines_keeps_its_priority() {
    let dir = tempfile::tempdir().unwrap();
    let (said, code) = Service::under_the_journal(&file(&dir, "text", "pool: nowhere")).end();
    assert!(said.lines().count() > 2 && said.lines().all(|line| line.starts_with("<3>")), "{said}");
    assert_eq!(code, Some(2), "{said}");
}

#[test]
fn what_another_start_will_not_change_ends_with_two() {
    let dir = tempfile::tempdir().unwrap();
    let tls = format!("{ANSWERS}, tls: {{ certificates: [{{ cert: /none.crt, key: /none.key }}] }}");
    let (said, code) = Service::under_the_journal(&file(&dir, "text", &tls)).end();
    assert!(said.starts_with("<3>lb: ") && said.contains("/none.crt"), "{said}");
    assert_eq!((said.lines().count(), code), (1, Some(2)), "{said}");
}

#[test]
fn elsewhere_a_line_bears_its_time_and_no_priority() {
    let dir = tempfile::tempdir().unwrap();
    // What a child of a service inherits, whose standard error goes elsewhere.
    let mut service = Service::run(&file(&dir, "text", ANSWERS), |device, inode| format!("{device}:{}", inode + 1));
    let serving = service.lines_until(" serving").pop().unwrap();
    let (time, _) = serving.split_once("  INFO serving").unwrap();
    assert!(time.starts_with("20") && time.ends_with('Z'), "{serving:?}");
    service.stop();
    assert_eq!(service.end().1, Some(0));
}
