//! What the requests came to.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

#[expect(clippy::disallowed_methods, reason = "a load generator measures real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// Requests still to be sent, shared by all clients of the one thread.
#[derive(Clone)]
pub struct Budget(Rc<Cell<u64>>);

#[derive(Clone, Copy)]
pub enum Outcome {
    Correct,
    WrongStatus,
    WrongLength,
    Broken,
}

#[derive(Default)]
pub struct Tally {
    pub connections: u64,
    pub full_handshakes: u64,
    pub resumed: u64,
    wrong_status: u64,
    wrong_length: u64,
    broken: u64,
    first_error: Option<String>,
    /// Of correct responses, in microseconds.
    latencies: Vec<u32>,
}

impl Budget {
    pub fn new(requests: u64) -> Self {
        Self(Rc::new(Cell::new(requests)))
    }

    pub fn take(&self) -> bool {
        let left = self.0.get();
        self.0.set(left.saturating_sub(1));
        left > 0
    }
}

impl Tally {
    pub fn correct(&mut self, latency: Duration) {
        self.latencies.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
    }

    pub fn wrong(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Correct => {}
            Outcome::WrongStatus => self.wrong_status += 1,
            Outcome::WrongLength => self.wrong_length += 1,
            Outcome::Broken => self.broken += 1,
        }
    }

    pub fn note(&mut self, error: &anyhow::Error) {
        self.first_error.get_or_insert_with(|| format!("{error:#}"));
    }

    pub fn merge(&mut self, other: Self) {
        self.connections += other.connections;
        self.full_handshakes += other.full_handshakes;
        self.resumed += other.resumed;
        self.wrong_status += other.wrong_status;
        self.wrong_length += other.wrong_length;
        self.broken += other.broken;
        self.first_error = self.first_error.take().or(other.first_error);
        self.latencies.extend(other.latencies);
    }

    pub fn summary(&self) -> Value {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        json!({
            "correct": sorted.len(),
            "wrong_status": self.wrong_status,
            "wrong_length": self.wrong_length,
            "broken": self.broken,
            "first_error": self.first_error,
            "connections": self.connections,
            "full_handshakes": self.full_handshakes,
            "resumed_handshakes": self.resumed,
            "p50_us": percentile(&sorted, 50),
            "p99_us": percentile(&sorted, 99),
        })
    }
}

fn percentile(sorted: &[u32], percent: usize) -> Option<u32> {
    sorted.get((sorted.len().saturating_sub(1)) * percent / 100).copied()
}
