//! A worker's own end of the access log.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};

use lb_core::config::AccessFormat;

use super::date::DateCache;
use super::{Message, Record, Shared, combined, json};

/// A buffer of this many bytes is handed to the writer without waiting for the tick.
pub(super) const FULL: usize = 64 * 1024;
/// Room for the line that crosses [`FULL`].
const SPARE: usize = 4 * 1024;

/// Formats records into a buffer; handing it over never blocks. Dropping it hands over what is left.
#[derive(Debug)]
pub struct WorkerLog {
    format: AccessFormat,
    date: DateCache,
    buffer: Vec<u8>,
    records: u64,
    queue: SyncSender<Message>,
    shared: Arc<Shared>,
}

impl WorkerLog {
    pub(super) fn new(format: AccessFormat, queue: SyncSender<Message>, shared: Arc<Shared>) -> Self {
        Self { format, date: DateCache::default(), buffer: Vec::new(), records: 0, queue, shared }
    }

    pub fn record(&mut self, record: &Record) {
        if self.buffer.capacity() == 0 {
            self.buffer.reserve_exact(FULL + SPARE);
        }
        self.date.set(record.unix_ms);
        match self.format {
            AccessFormat::Json => json::write(record, &self.date, &mut self.buffer),
            AccessFormat::Combined => combined::write(record, &self.date, &mut self.buffer),
        }
        self.records += 1;
        if self.buffer.len() >= FULL {
            self.flush();
        }
    }

    /// Hands over what there is. While the writer is behind, lines wait here until the buffer is full; then they
    /// are dropped.
    pub fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        match self.queue.try_send(Message::Lines(std::mem::take(&mut self.buffer))) {
            Ok(()) => self.records = 0,
            Err(TrySendError::Full(Message::Lines(lines))) if lines.len() < FULL => self.buffer = lines,
            Err(TrySendError::Full(Message::Lines(lines))) => self.drop_all(lines),
            Err(_) => self.drop_all(Vec::new()),
        }
    }

    /// Keeps the allocation.
    fn drop_all(&mut self, mut lines: Vec<u8>) {
        self.shared.count_dropped(std::mem::take(&mut self.records));
        lines.clear();
        self.buffer = lines;
    }
}

impl Drop for WorkerLog {
    fn drop(&mut self) {
        self.flush();
        self.shared.count_dropped(self.records);
    }
}
