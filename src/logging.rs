//! The log: text or JSON lines to standard error, through a thread of its own.
//!
//! Whoever logs never waits: lines go into a bounded queue, and when the reader of standard error
//! stalls for long enough to fill it, further lines are dropped and counted. For the journal each line
//! begins with its priority and bears no time ([`journal`]).

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use lb_core::config::{Log, LogFormat, LogLevel};
use tracing::{Level, Metadata};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::journal;

/// Lines that may wait for the writer.
const QUEUE: usize = 8192;

/// The running log; level and format follow every reload.
pub struct Logging {
    text: reload::Handle<LevelFilter, Registry>,
    json: reload::Handle<LevelFilter, Registry>,
    lines: Lines,
}

/// Where the log goes.
pub struct Output {
    sink: Box<dyn Write + Send>,
    is_journal: bool,
}

#[derive(Clone)]
struct Lines {
    queue: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
    is_journal: bool,
}

/// Takes one line of this severity.
struct Line {
    lines: Lines,
    level: Level,
}

enum Entry {
    Line(Vec<u8>),
    /// Answered when everything before it was written.
    Flush(SyncSender<()>),
}

impl Output {
    pub fn stderr() -> Self {
        Self { sink: Box::new(io::stderr()), is_journal: journal::is_at_stderr() }
    }

    pub fn plain(sink: impl Write + Send + 'static) -> Self {
        Self { sink: Box::new(sink), is_journal: false }
    }
}

impl Logging {
    /// Installs the one log of this process.
    pub fn start(log: &Log, output: Output) -> Result<Self> {
        let lines = Lines::start(output).context("cannot start the log's thread")?;
        let (text_level, json_level) = levels(log);
        let (text_filter, text) = reload::Layer::new(text_level);
        let (json_filter, json) = reload::Layer::new(json_level);
        let as_text = fmt::layer().with_ansi(false).with_target(false).with_writer(lines.clone());
        let as_json = fmt::layer().json().flatten_event(true).with_current_span(false).with_writer(lines.clone());
        let layers = match lines.is_journal {
            true => vec![
                as_text.without_time().with_filter(text_filter).boxed(),
                as_json.without_time().with_filter(json_filter).boxed(),
            ],
            false => vec![as_text.with_filter(text_filter).boxed(), as_json.with_filter(json_filter).boxed()],
        };
        tracing_subscriber::registry().with(layers).try_init().context("the log is already running")?;
        Ok(Self { text, json, lines })
    }

    /// Takes over the level and the format of a new configuration.
    pub fn apply(&self, log: &Log) {
        let (text, json) = levels(log);
        // These fail only when the subscriber is gone, which lives as long as the process.
        let _ = self.text.modify(|level| *level = text);
        let _ = self.json.modify(|level| *level = json);
    }

    /// Lines lost so far.
    pub fn dropped(&self) -> u64 {
        self.lines.dropped.load(Ordering::Relaxed)
    }

    /// Waits until all lines are written, or `patience` is at its end.
    pub fn flush(&self, patience: Duration) {
        let (done, written) = sync_channel(1);
        if self.lines.queue.try_send(Entry::Flush(done)).is_ok() {
            let _ = written.recv_timeout(patience);
        }
    }
}

/// Of the two layers one is off.
fn levels(log: &Log) -> (LevelFilter, LevelFilter) {
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    match log.format {
        LogFormat::Text => (level, LevelFilter::OFF),
        LogFormat::Json => (LevelFilter::OFF, level),
    }
}

impl Lines {
    fn start(output: Output) -> io::Result<Self> {
        let (queue, entries) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = dropped.clone();
        let Output { sink, is_journal } = output;
        thread::Builder::new().name("log".to_owned()).spawn(move || write_lines(&entries, sink, &counter))?;
        Ok(Self { queue, dropped, is_journal })
    }

    fn push(&self, level: Level, line: &[u8]) {
        let line = if self.is_journal { journal::prefixed(level, line) } else { line.to_vec() };
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Entry::Line(line)) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_lines(entries: &Receiver<Entry>, mut sink: Box<dyn Write + Send>, dropped: &AtomicU64) {
    let mut reported = 0;
    while let Ok(entry) = entries.recv() {
        // A log that cannot be written has nowhere to say so.
        let _ = match entry {
            Entry::Line(line) => sink.write_all(&line),
            Entry::Flush(done) => sink.flush().and_then(|()| done.try_send(()).map_err(io::Error::other)),
        };
        let lost = dropped.load(Ordering::Relaxed);
        if lost > reported {
            tracing::warn!(lines = lost - reported, "log lines were dropped: standard error took no more");
            reported = lost;
        }
    }
}

impl Write for Line {
    /// The formatting layer hands over one whole message at a time.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.lines.push(self.level, line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    /// Of a message that does not say how severe it is.
    fn make_writer(&'a self) -> Line {
        Line { lines: self.clone(), level: Level::INFO }
    }

    fn make_writer_for(&'a self, of: &Metadata<'_>) -> Line {
        Line { lines: self.clone(), level: *of.level() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Writes only when a token is there.
    struct Stalling {
        tokens: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Stalling {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.tokens.recv();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn stalling() -> (Lines, Sender<()>, Arc<Mutex<Vec<u8>>>) {
        let (token, tokens) = channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let lines = Lines::start(Output::plain(Stalling { tokens, written: written.clone() })).unwrap();
        (lines, token, written)
    }

    #[test]
    fn a_stalled_reader_costs_lines_and_not_time() {
        let (lines, release, written) = stalling();
        for _ in 0..QUEUE + 100 {
            lines.push(Level::INFO, b"line\n");
        }
        // One line may already be in the writer's hands.
        let lost = lines.dropped.load(Ordering::Relaxed);
        assert!((99..=100).contains(&lost), "{lost}");

        drop(release);
        let (done, flushed) = sync_channel(1);
        lines.queue.send(Entry::Flush(done)).unwrap();
        flushed.recv().unwrap();
        let kept = written.lock().unwrap().iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(kept + lost, QUEUE as u64 + 100);
    }
}
