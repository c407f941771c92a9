//! Health checks: a pure rise/fall machine, probes, and the task that runs them.

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
