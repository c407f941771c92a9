use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Instant;

use lb_core::config::AccessFormat;
use proptest::prelude::*;

use super::sink::Sink;
use super::writer::LossReport;
use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

fn record(path: &str) -> Record<'_> {
    Record {
        unix_ms: 1_763_624_700_120,
        client: "198.51.100.7:1234".parse().unwrap(),
        frontend: "site",
        route: Some(2),
        pool: Some("api"),
        backend: Some("10.0.0.1:80"),
        method: b"GET",
        host: b"example.com",
        path: path.as_bytes(),
        protocol: "HTTP/1.1",
        status: 504,
        bytes_in: 1,
        bytes_out: 22,
        duration_us: 333,
        queue_us: Some(4),
        connect_us: Some(5),
        first_byte_us: None,
        retries: 1,
        tls: Some("TLSv1.3"),
        user_agent: b"curl \"8\"",
        referer: b"",
        fault: Some(Fault { side: Side::Backend, reason: "response_timeout" }),
    }
}

fn config(path: &Path, format: AccessFormat) -> config::AccessLog {
    config::AccessLog { path: Some(path.to_owned()), format }
}

fn open(path: &Path) -> Arc<AccessLog> {
    AccessLog::open(&config(path, AccessFormat::Combined), None).unwrap()
}

/// Records each path and hands them over.
fn log(log: &AccessLog, paths: &[&str]) {
    let mut worker = log.worker();
    paths.iter().for_each(|path| worker.record(&record(path)));
}

/// The request paths in a file of combined lines; fails on a line that is not whole.
fn paths(text: &str) -> Vec<String> {
    let path = |line: &str| {
        assert!(line.starts_with("198.51.100.7 - - [") && line.ends_with(" reason=response_timeout"), "{line}");
        line.split(' ').nth(6).unwrap().to_owned()
    };
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(path).collect()
}

#[test]
fn json_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log");
    let access_log = AccessLog::open(&config(&file, AccessFormat::Json), None).unwrap();
    log(&access_log, &["/a?b"]);
    assert!(access_log.finish(PATIENCE));
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        r#"{"time":"2025-11-20T07:45:00.120Z","client":"198.51.100.7","client_port":1234,"frontend":"site","route":2,"#
            .to_owned()
            + r#""pool":"api","backend":"10.0.0.1:80","method":"GET","host":"example.com","path":"/a?b","#
            + r#""protocol":"HTTP/1.1","tls":"TLSv1.3","user_agent":"curl \"8\"","bytes_in":1,"status":504,"#
            + r#""bytes_out":22,"duration_us":333,"queue_us":4,"connect_us":5,"retries":1,"#
            + r#""fault":"backend","reason":"response_timeout"}"#
            + "\n"
    );
}

#[test]
fn combined_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log");
    let access_log = open(&file);
    log(&access_log, &["/a?b"]);
    assert!(access_log.finish(PATIENCE));
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        r#"198.51.100.7 - - [20/Nov/2025:07:45:00 +0000] "GET /a?b HTTP/1.1" 504 22 "-" "curl \"8\"" "#.to_owned()
            + "frontend=site route=2 pool=api backend=10.0.0.1:80 host=example.com tls=TLSv1.3 bytes_in=1 "
            + "duration_us=333 queue_us=4 connect_us=5 retries=1 fault=backend reason=response_timeout\n"
    );
}

#[test]
fn addresses_are_written_as_clients_know_them() {
    for (address, expected) in
        [("0.10.255.1", "0.10.255.1"), ("::ffff:10.0.0.1", "10.0.0.1"), ("2001:db8::1", "2001:db8::1")]
    {
        let mut out = Vec::new();
        write_address(address.parse().unwrap(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

proptest! {
    #[test]
    fn any_record_is_one_line(bytes: [Vec<u8>; 5], name: String, unix_ms: u64, n: u64) {
        let [method, host, path, user_agent, referer] = &bytes;
        let names = Record { frontend: &name, pool: Some(&name), unix_ms, duration_us: n, ..record("") };
        let record = Record { method, host, path, user_agent, referer, ..names };
        let mut date = date::DateCache::default();
        date.set(unix_ms);
        let (mut json, mut combined) = (Vec::new(), Vec::new());
        json::write(&record, &date, &mut json);
        combined::write(&record, &date, &mut combined);
        let read: serde_json::Value = serde_json::from_slice(&json).unwrap();
        prop_assert_eq!(read["path"].as_str().unwrap(), String::from_utf8_lossy(path));
        prop_assert_eq!(read["duration_us"].as_u64(), Some(n));
        prop_assert_eq!(json.iter().filter(|byte| **byte == b'\n').count(), 1);
        let (end, line) = combined.split_last().unwrap();
        prop_assert!(*end == b'\n' && line.iter().all(|byte| matches!(byte, b' '..=b'~')));
    }
}

#[test]
fn file_is_created_for_owner_and_group_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log");
    let _log = open(&file);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o007, 0);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o600, 0o600);
}

#[test]
fn opening_fails_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let reason = |path: &Path| AccessLog::open(&config(path, AccessFormat::Json), None).unwrap_err().to_string();
    assert!(reason(&dir.path().join("none/log")).ends_with("none/log: its directory does not exist"));
    assert!(reason(dir.path()).contains("Is a directory"));
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(reason(&fifo).ends_with("it is a FIFO that no process reads"));
}

#[test]
fn a_full_buffer_is_handed_over_without_a_flush() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("log");
    let access_log = open(&file);
    let mut worker = access_log.worker();
    let path = "x".repeat(worker::FULL);
    worker.record(&record(&path));
    assert!(access_log.finish(PATIENCE));
    assert_eq!(paths(&fs::read_to_string(&file).unwrap()), [path]);
}

#[test]
fn full_disk_drops_and_counts() {
    let access_log = open(Path::new("/dev/full"));
    log(&access_log, &["/1", "/2", "/3"]);
    assert!(access_log.finish(PATIENCE));
    assert_eq!(access_log.dropped(), 3);
}

#[test]
fn stuck_reader_blocks_nobody_and_loses_no_line_uncounted() {
    const RECORDS: usize = 30_000;
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&fifo).unwrap();
    let access_log = open(&fifo);
    let mut worker = access_log.worker();
    (0..RECORDS).for_each(|_| worker.record(&record("/")));
    drop(worker);
    assert!(access_log.dropped() > 0);
    assert!(!access_log.finish(Duration::ZERO), "the writer must still be stuck");

    nix::fcntl::fcntl(&reader, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty())).unwrap();
    let mut text = String::new();
    let dropped = access_log.shared.dropped.clone();
    drop(access_log);
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(paths(&text).len() as u64 + dropped.load(Ordering::Relaxed), RECORDS as u64);
}

#[test]
fn rotated_file_is_reopened() {
    let dir = tempfile::tempdir().unwrap();
    let (file, rotated) = (dir.path().join("log"), dir.path().join("log.1"));
    let access_log = open(&file);
    log(&access_log, &["/1"]);
    wait_until(|| fs::metadata(&file).is_ok_and(|m| m.len() > 0));
    fs::rename(&file, &rotated).unwrap();
    log(&access_log, &["/2"]);
    wait_until(|| fs::read_to_string(&rotated).unwrap().lines().count() == 2);
    access_log.reopen();
    log(&access_log, &["/3"]);
    assert!(access_log.finish(PATIENCE));
    assert_eq!(paths(&fs::read_to_string(&rotated).unwrap()), ["/1", "/2"]);
    assert_eq!(paths(&fs::read_to_string(&file).unwrap()), ["/3"]);
    assert_eq!(access_log.dropped(), 0);
}

#[test]
fn failed_reopen_keeps_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    let (inner, moved) = (dir.path().join("inner"), dir.path().join("moved"));
    fs::create_dir(&inner).unwrap();
    let access_log = open(&inner.join("log"));
    fs::rename(&inner, &moved).unwrap();
    access_log.reopen();
    log(&access_log, &["/1"]);
    assert!(access_log.finish(PATIENCE));
    assert_eq!(paths(&fs::read_to_string(moved.join("log")).unwrap()), ["/1"]);
}

#[test]
fn reload_keeps_the_log_or_at_least_its_count() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(Path::new("/dev/full"));
    log(&first, &["/1"]);
    assert!(first.finish(PATIENCE));
    let same = AccessLog::open(&config(Path::new("/dev/full"), AccessFormat::Combined), Some(&first)).unwrap();
    assert!(Arc::ptr_eq(&first, &same));
    let other = AccessLog::open(&config(&dir.path().join("log"), AccessFormat::Combined), Some(&first)).unwrap();
    assert!(!Arc::ptr_eq(&first, &other));
    assert_eq!(other.dropped(), 1);
}

#[test]
fn records_after_the_end_are_counted() {
    let access_log = open(Path::new("/dev/null"));
    let mut worker = access_log.worker();
    assert!(access_log.finish(PATIENCE));
    worker.record(&record("/"));
    worker.flush();
    assert_eq!(access_log.dropped(), 1);
}

#[test]
fn losses_are_reported_once_per_interval() {
    let start = clock();
    let mut report = LossReport::new(5);
    assert_eq!(report.due(5, start), None);
    assert_eq!(report.due(7, start), Some(2));
    assert_eq!(report.due(9, start + Duration::from_secs(9)), None);
    assert_eq!(report.due(9, start + Duration::from_secs(10)), Some(2));
    assert_eq!(report.due(9, start + Duration::from_secs(30)), None);
}

/// Takes as many bytes as each entry says, in turn; `None` is a full disk. Afterwards it takes everything.
#[derive(Debug, Default)]
struct Disk {
    script: VecDeque<Option<usize>>,
    content: Vec<u8>,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.script.pop_front().unwrap_or(Some(bytes.len()));
        let taken = room.ok_or(io::ErrorKind::StorageFull)?.min(bytes.len());
        self.content.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn disk(script: &[Option<usize>]) -> Disk {
    Disk { script: script.iter().copied().collect(), content: Vec::new() }
}

#[test]
fn line_cut_by_a_full_disk_is_finished_first() {
    let mut sink = Sink::new(disk(&[Some(6), None, None, Some(1), None]));
    let written = sink.write(b"one\ntwo\nthree\n");
    assert_eq!((written.lost, written.error.unwrap().kind()), (1, io::ErrorKind::StorageFull));
    assert_eq!(sink.write(b"four\n").lost, 1);
    assert_eq!(sink.write(b"five\n").lost, 1, "one more byte of `two` fits, then none");
    assert!(sink.write(b"six\n").error.is_none());
    assert_eq!(sink.replace(Disk::default()), 0);
}

#[test]
fn cut_line_left_behind_by_a_reopen_is_counted() {
    let mut sink = Sink::new(disk(&[Some(2), None, None]));
    assert_eq!(sink.write(b"one\ntwo\n").lost, 1);
    assert_eq!(sink.replace(Disk::default()), 1);
    assert!(sink.write(b"three\n").error.is_none());
}

proptest! {
    #[test]
    fn lines_stay_whole_whatever_the_disk_does(
        script in prop::collection::vec(prop::option::of(1_usize..9), 0..30),
        batches in prop::collection::vec(prop::collection::vec("[a-z]{0,6}", 1..5), 1..10),
    ) {
        let mut target = disk(&script);
        let mut sink = Sink::new(&mut target);
        let mut lost = 0;
        for lines in &batches {
            lost += sink.write((lines.join("\n") + "\n").as_bytes()).lost;
        }
        let mut nowhere = Disk::default();
        lost += sink.replace(&mut nowhere);
        drop(sink);
        let text = String::from_utf8(target.content).unwrap();
        let sent: Vec<_> = batches.iter().flatten().map(String::as_str).collect();
        let mut whole: Vec<_> = text.split('\n').collect();
        let tail = whole.pop().unwrap();
        prop_assert_eq!(whole.len() as u64 + lost, sent.len() as u64);
        let mut rest = sent.iter();
        for line in whole {
            prop_assert!(rest.any(|s| *s == line), "{:?} is no line that was sent, or out of order", line);
        }
        prop_assert!(tail.is_empty() || rest.any(|s| s.starts_with(tail)));
    }
}

fn wait_until(condition: impl Fn() -> bool) {
    let deadline = clock() + PATIENCE;
    while !condition() {
        assert!(clock() < deadline, "waited in vain");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[expect(clippy::disallowed_methods, reason = "a deadline for a real thread")]
fn clock() -> Instant {
    Instant::now()
}
