//! The access log: one line per request, as JSON or in Apache's combined format, to a file or to standard output.
//!
//! Nothing here ever holds up a request. Each worker formats into a buffer of its own ([`WorkerLog`]) and hands it,
//! full or at the worker's tick, to one writer thread over a bounded queue. What does not fit, because the disk is
//! full or a reader is stuck, is dropped and counted.

mod combined;
mod date;
mod escape;
mod json;
mod record;
mod sink;
#[cfg(test)]
mod tests;
mod worker;
mod writer;

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lb_core::config;

pub use self::record::{Fault, Record, Side};
pub use self::worker::WorkerLog;

/// Buffers between the workers and the writer; with [`worker::FULL`] this bounds the memory behind a stuck reader.
const QUEUE: usize = 64;

/// An open access log and its writer thread, which ends once this and every [`WorkerLog`] of it are gone.
#[derive(Debug)]
pub struct AccessLog {
    config: config::AccessLog,
    queue: SyncSender<Message>,
    shared: Arc<Shared>,
    /// Disconnected when the writer ends.
    ended: Mutex<Receiver<()>>,
}

#[derive(Debug)]
enum Message {
    /// Whole lines.
    Lines(Vec<u8>),
    /// Look at [`Shared`].
    Wake,
}

#[derive(Debug, Default)]
struct Shared {
    reopen: AtomicBool,
    finish: AtomicBool,
    /// Records; goes on counting when a reload opens another log.
    dropped: Arc<AtomicU64>,
}

#[derive(Debug, thiserror::Error)]
pub enum AccessLogError {
    #[error("cannot open the access log {path}: its directory does not exist")]
    NoDirectory { path: PathBuf },
    #[error("cannot open the access log {path}: it is a FIFO that no process reads")]
    NoReader { path: PathBuf },
    #[error("cannot open the access log {path}: {source}")]
    Open { path: PathBuf, source: io::Error },
    #[error("cannot open standard output for the access log: {0}")]
    Stdout(io::Error),
    #[error("cannot start the access log's writer: {0}")]
    Thread(io::Error),
}

impl AccessLog {
    /// Opens the log, creating the file (mode 0640) but not its directory; or goes on with `previous` where the
    /// configuration is the same.
    pub fn open(
        config: &config::AccessLog,
        previous: Option<&Arc<AccessLog>>,
    ) -> Result<Arc<AccessLog>, AccessLogError> {
        if let Some(same) = previous.filter(|log| log.config == *config) {
            return Ok(same.clone());
        }
        let target = sink::open(config.path.as_deref())?;
        let dropped = previous.map(|log| log.shared.dropped.clone()).unwrap_or_default();
        let shared = Arc::new(Shared { dropped, ..Shared::default() });
        let (queue, messages) = mpsc::sync_channel(QUEUE);
        let (ends, ended) = mpsc::channel();
        writer::spawn(config.path.clone(), target, messages, shared.clone(), ends).map_err(AccessLogError::Thread)?;
        Ok(Arc::new(AccessLog { config: config.clone(), queue, shared, ended: Mutex::new(ended) }))
    }

    /// For one worker, which calls [`WorkerLog::flush`] at its tick.
    pub fn worker(&self) -> WorkerLog {
        WorkerLog::new(self.config.format, self.queue.clone(), self.shared.clone())
    }

    /// Has the writer open the path anew, after a rotation. Lines handed over before may go to either file.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        self.wake();
    }

    /// Records that were not written.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Waits until everything handed over so far is written; `false` when that took longer than `timeout`.
    /// The log takes no more lines afterwards.
    pub fn finish(&self, timeout: Duration) -> bool {
        self.shared.finish.store(true, Ordering::Release);
        self.wake();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.recv_timeout(timeout) == Err(RecvTimeoutError::Disconnected)
    }

    /// A full queue needs no waking: the writer looks at the flags between two messages.
    fn wake(&self) {
        let _ = self.queue.try_send(Message::Wake);
    }
}

impl Shared {
    fn count_dropped(&self, records: u64) {
        self.dropped.fetch_add(records, Ordering::Relaxed);
    }
}

/// An IPv4 client of an IPv6 listener is written as IPv4.
fn write_address(address: IpAddr, out: &mut Vec<u8>) {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            for (i, octet) in v4.octets().into_iter().enumerate() {
                if i > 0 {
                    out.push(b'.');
                }
                write_number(octet.into(), out);
            }
        }
        // Writing to a Vec cannot fail.
        IpAddr::V6(v6) => drop(write!(out, "{v6}")),
    }
}

fn write_number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}
