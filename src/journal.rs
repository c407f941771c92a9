//! Standard error, where the journal of systemd may be listening.
//!
//! The journal takes a priority from the start of each line (sd-daemon(3), SyslogLevelPrefix= of systemd.exec(5)),
//! and knows itself when a line came. A person at a terminal, a pipe or a file gets plain lines.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Display;
use std::io::{self, Write};
use std::os::fd::AsFd;

use nix::sys::stat::fstat;
use tracing::Level;

/// What syslog calls the severities of lb's own log; a line without any would be one of `info`.
pub fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// Is the journal at the other end of standard error?
///
/// systemd.exec(5): JOURNAL_STREAM names the device and inode of the stream, "to safely determine" just this. The
/// variable alone proves nothing, since what is started by a service inherits it and may write elsewhere.
pub fn is_at_stderr() -> bool {
    let named = std::env::var("JOURNAL_STREAM").ok();
    let stat = fstat(io::stderr().as_fd()).ok();
    named.zip(stat).is_some_and(|(named, stat)| names(&named, stat.st_dev, stat.st_ino))
}

fn names(stream: &str, device: u64, inode: u64) -> bool {
    let Some((first, second)) = stream.split_once(':') else { return false };
    first.parse() == Ok(device) && second.parse() == Ok(inode)
}

/// With its priority before each line: the journal knows no messages of several lines on a stream.
pub fn prefixed(level: Level, text: &[u8]) -> Vec<u8> {
    let mark = [b'<', b'0' + priority(level), b'>'];
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    lines.flat_map(|line| mark.into_iter().chain(line.iter().copied())).collect()
}

/// To standard error, as a verb's last word or beside the log.
pub fn error(text: impl Display) {
    say(Level::ERROR, &text);
}

pub fn warning(text: impl Display) {
    say(Level::WARN, &text);
}

/// A panic's message is one of an error too. It goes past the log, whose thread may be the one that panics.
pub fn mark_panics() {
    if is_at_stderr() {
        std::panic::set_hook(Box::new(|panic| {
            let thread = std::thread::current();
            let backtrace = Backtrace::capture();
            let text = format!("a bug: thread `{}` {panic}", thread.name().unwrap_or("unnamed"));
            match backtrace.status() {
                BacktraceStatus::Captured => error(format!("{text}\n{backtrace}")),
                _ => error(text),
            }
        }));
    }
}

fn say(level: Level, text: &dyn Display) {
    let plain = format!("{text}\n").into_bytes();
    let bytes = if is_at_stderr() { prefixed(level, &plain) } else { plain };
    // Nobody is left to hear that standard error is closed.
    let _ = io::stderr().write_all(&bytes);
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn each_line_has_the_priority_of_its_message() {
        assert_eq!(prefixed(Level::WARN, b"one\ntwo\n"), b"<4>one\n<4>two\n");
        assert_eq!(prefixed(Level::ERROR, b"no end"), b"<3>no end");
        assert_eq!(prefixed(Level::DEBUG, b"\n"), b"<7>\n");
    }

    #[test]
    fn only_the_very_stream_counts() {
        assert!(names("8:1234", 8, 1234));
        for other in ["8:1235", "9:1234", "8", "", "8:1234:5", "8:x"] {
            assert!(!names(other, 8, 1234), "{other}");
        }
    }

    /// In a process of its own, since the hook is the whole process's: this test again, with its standard error a stream.
    #[test]
    fn a_panic_is_marked_as_an_error() {
        if std::env::var_os("JOURNAL_STREAM_OF_THE_TEST").is_some() {
            mark_panics();
            panic!("for the test");
        }
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let stat = fstat(theirs.as_fd()).unwrap();
        let name = "journal::tests::a_panic_is_marked_as_an_error";
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env("JOURNAL_STREAM", format!("{}:{}", stat.st_dev, stat.st_ino))
            .env("JOURNAL_STREAM_OF_THE_TEST", "1")
            .env("RUST_BACKTRACE", "1")
            .stdout(Stdio::null())
            .stderr(OwnedFd::from(theirs))
            .spawn()
            .unwrap();
        let mut said = String::new();
        ours.read_to_string(&mut said).unwrap();
        assert!(!child.wait().unwrap().success());
        assert!(said.contains("a bug: ") && said.contains("for the test"), "{said}");
        assert!(said.lines().count() > 2 && said.lines().all(|line| line.starts_with("<3>")), "{said}");
    }
}
