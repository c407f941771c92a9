//! Health checks: a pure rise/fall machine, probes, and the task that runs them.
//!
//! | module | what it holds |
//! |---|---|
//! | `machine` | results in, changes of health out (pure) |
//! | `schedule` | when to check next (pure) |
//! | `probe` | one look at one backend: tcp, http, https, udp, script |
//! | `checked` | one backend under check: its machine, and who is told |
//! | `checker` | the task that runs all probes: [`Checker`] |

mod checked;
mod checker;
mod machine;
mod probe;
mod schedule;
mod target;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

pub use checker::Checker;
pub use machine::{Machine, Thresholds, Transition};
pub use probe::is_local;

/// Why a probe failed; a closed set, used as a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureReason {
    Connect = 0,
    Timeout = 1,
    Tls = 2,
    Protocol = 3,
    Status = 4,
    Body = 5,
    Exit = 6,
}

/// What one probe found, with a few words for the log and for `lb status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Success(Text),
    Failure(FailureReason, Text),
    /// This machine could not even ask (no descriptor, no memory): says nothing about the backend.
    Inconclusive(Text),
}

pub type Text = Cow<'static, str>;

/// The latest check of a backend.
#[derive(Debug, Clone)]
pub struct CheckReport {
    /// When it ended.
    pub at: SystemTime,
    pub took: Duration,
    pub outcome: Outcome,
    /// When checks last changed the backend's health; `None`: not yet.
    pub changed_at: Option<SystemTime>,
}

impl FailureReason {
    pub const COUNT: usize = 7;
    pub const ALL: [FailureReason; Self::COUNT] =
        [Self::Connect, Self::Timeout, Self::Tls, Self::Protocol, Self::Status, Self::Body, Self::Exit];

    /// The metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Protocol => "protocol",
            Self::Status => "status",
            Self::Body => "body",
            Self::Exit => "exit",
        }
    }
}

impl Outcome {
    pub fn success(text: impl Into<Text>) -> Self {
        Self::Success(text.into())
    }

    pub fn failure(reason: FailureReason, text: impl Into<Text>) -> Self {
        Self::Failure(reason, text.into())
    }

    pub fn timeout(doing: &str, limit: Duration) -> Self {
        Self::failure(FailureReason::Timeout, format!("{doing} took longer than {limit:?}"))
    }

    /// Did the backend pass? `None` when nobody can tell.
    pub fn verdict(&self) -> Option<bool> {
        match self {
            Self::Success(_) => Some(true),
            Self::Failure(..) => Some(false),
            Self::Inconclusive(_) => None,
        }
    }

    pub fn text(&self) -> &str {
        match self {
            Self::Success(text) | Self::Failure(_, text) | Self::Inconclusive(text) => text,
        }
    }
}
