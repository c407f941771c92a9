//! Where the lines go, and what happens when they cannot.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::AccessLogError;

/// Standard output that somebody made non-blocking is asked again after this.
const WOULD_BLOCK_PAUSE: Duration = Duration::from_millis(5);

/// The file, opened for appending; `None` is standard output.
pub(super) fn open(path: Option<&Path>) -> Result<File, AccessLogError> {
    match path {
        Some(path) => open_file(path).map_err(|source| explain(path.to_owned(), source)),
        None => io::stdout().as_fd().try_clone_to_owned().map(File::from).map_err(AccessLogError::Stdout),
    }
}

fn explain(path: PathBuf, source: io::Error) -> AccessLogError {
    match source.raw_os_error() {
        // The file itself would have been created.
        Some(libc::ENOENT) => AccessLogError::NoDirectory { path },
        Some(libc::ENXIO) => AccessLogError::NoReader { path },
        _ => AccessLogError::Open { path, source },
    }
}

/// Opened without blocking, as a FIFO that nobody reads would hold up a reload for ever; written to with blocking.
fn open_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
    Ok(file)
}

/// Writes batches of whole lines, and keeps lines whole where a write stops in the middle of one: what is left of
/// it goes first when writing works again.
#[derive(Debug)]
pub(super) struct Sink<W> {
    target: W,
    /// The rest of the line that stands unfinished at the target's end.
    unfinished: Vec<u8>,
}

/// What became of a batch.
#[derive(Debug)]
pub(super) struct Written {
    /// Lines that are gone.
    pub(super) lost: u64,
    pub(super) error: Option<io::Error>,
}

impl<W: Write> Sink<W> {
    pub(super) fn new(target: W) -> Self {
        Self { target, unfinished: Vec::new() }
    }

    /// Each line is written whole or not at all.
    pub(super) fn write(&mut self, batch: &[u8]) -> Written {
        if let Err(error) = self.finish_line() {
            return Written { lost: count_lines(batch), error: Some(error) };
        }
        let (done, result) = write_on(&mut self.target, batch);
        let (begun, rest) = split_begun(batch, done);
        self.unfinished.extend_from_slice(begun);
        Written { lost: count_lines(rest), error: result.err() }
    }

    /// Goes on with another file; returns how many lines stay unfinished in the old one.
    pub(super) fn replace(&mut self, target: W) -> u64 {
        let lost = u64::from(self.finish_line().is_err());
        self.unfinished.clear();
        self.target = target;
        lost
    }

    fn finish_line(&mut self) -> io::Result<()> {
        let (done, result) = write_on(&mut self.target, &self.unfinished);
        self.unfinished.drain(..done);
        result
    }
}

/// What follows the first `done` bytes: the rest of a line that was begun, and the lines after it.
fn split_begun(batch: &[u8], done: usize) -> (&[u8], &[u8]) {
    let rest = &batch[done..];
    if done == 0 || batch[done - 1] == b'\n' {
        return (&[], rest);
    }
    rest.split_at(memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1))
}

fn count_lines(batch: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', batch).count() as u64
}

/// Like `write_all`, but says how far it came.
fn write_on(target: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut done = 0;
    while done < bytes.len() {
        match target.write(&bytes[done..]) {
            Ok(0) => return (done, Err(io::ErrorKind::WriteZero.into())),
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(WOULD_BLOCK_PAUSE),
            Err(error) => return (done, Err(error)),
        }
    }
    (done, Ok(()))
}
