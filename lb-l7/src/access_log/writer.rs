//! The thread that writes what the workers formatted.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use super::sink::{self, Sink};
use super::{Message, Shared};

/// Losses are reported in the log at most this often.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// `ends` is dropped when the thread ends.
pub(super) fn spawn(
    path: Option<PathBuf>,
    target: File,
    messages: Receiver<Message>,
    shared: Arc<Shared>,
    ends: Sender<()>,
) -> io::Result<()> {
    let report = LossReport::new(shared.dropped.load(Ordering::Relaxed));
    let writer = Writer { path, sink: Sink::new(target), messages, shared, report };
    let run = move || {
        // Dropped last, when no more lines are taken.
        let _ends = ends;
        let mut writer = writer;
        writer.run();
    };
    std::thread::Builder::new().name("access-log".into()).spawn(run).map(drop)
}

struct Writer {
    path: Option<PathBuf>,
    sink: Sink<File>,
    messages: Receiver<Message>,
    shared: Arc<Shared>,
    report: LossReport,
}

impl Writer {
    fn run(&mut self) {
        while let Some(message) = self.next() {
            if self.shared.reopen.swap(false, Ordering::Acquire) {
                self.reopen();
            }
            if let Message::Lines(lines) = message {
                self.write(&lines);
            }
        }
    }

    /// Once the end was asked for, only what is queued already.
    fn next(&self) -> Option<Message> {
        if self.shared.finish.load(Ordering::Acquire) {
            self.messages.try_recv().ok()
        } else {
            self.messages.recv().ok()
        }
    }

    fn write(&mut self, lines: &[u8]) {
        let written = self.sink.write(lines);
        self.shared.count_dropped(written.lost);
        let dropped = self.shared.dropped.load(Ordering::Relaxed);
        if let Some(lost) = self.report.due(dropped, now()) {
            let error = written.error.map_or_else(|| "the writer was behind".to_owned(), |e| e.to_string());
            tracing::warn!(path = self.name(), lost, error, "access log: records were dropped");
        }
    }

    fn reopen(&mut self) {
        if self.path.is_none() {
            return;
        }
        match sink::open(self.path.as_deref()) {
            Ok(target) => self.shared.count_dropped(self.sink.replace(target)),
            Err(error) => tracing::error!(%error, "access log: not reopened, the old file is written on"),
        }
    }

    fn name(&self) -> &str {
        self.path.as_deref().and_then(Path::to_str).unwrap_or("standard output")
    }
}

#[expect(clippy::disallowed_methods, reason = "the writer thread is a driver")]
fn now() -> Instant {
    Instant::now()
}

/// Says how many records were lost since it last said so, at most once per [`REPORT_INTERVAL`].
#[derive(Debug)]
pub(super) struct LossReport {
    reported: u64,
    last: Option<Instant>,
}

impl LossReport {
    pub(super) fn new(dropped: u64) -> Self {
        Self { reported: dropped, last: None }
    }

    /// `dropped` is the count since ever.
    pub(super) fn due(&mut self, dropped: u64, now: Instant) -> Option<u64> {
        let lost = dropped.saturating_sub(self.reported);
        if lost == 0 || self.last.is_some_and(|last| now < last + REPORT_INTERVAL) {
            return None;
        }
        self.reported = dropped;
        self.last = Some(now);
        Some(lost)
    }
}
