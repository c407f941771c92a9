//! Signals as events of the control loop.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

pub enum Event {
    Reload,
    ReopenLogs,
    Stop(Stop),
}

/// A signal that ends lb.
#[derive(Debug, Clone, Copy)]
pub enum Stop {
    Terminate,
    Interrupt,
}

pub struct Signals {
    hangup: Signal,
    user1: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From here on these signals do nothing by themselves.
    pub fn catch() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// May be dropped and called again without losing a signal.
    pub async fn next(&mut self) -> Event {
        tokio::select! {
            _ = self.terminate.recv() => Event::Stop(Stop::Terminate),
            _ = self.interrupt.recv() => Event::Stop(Stop::Interrupt),
            _ = self.hangup.recv() => Event::Reload,
            _ = self.user1.recv() => Event::ReopenLogs,
        }
    }

    /// The next one that asks for the end.
    pub async fn next_stop(&mut self) -> Stop {
        loop {
            if let Event::Stop(stop) = self.next().await {
                return stop;
            }
        }
    }
}

impl Stop {
    /// What a shell shows for a process that the signal killed.
    pub fn exit_code(self) -> u8 {
        match self {
            Stop::Terminate => 128 + 15,
            Stop::Interrupt => 128 + 2,
        }
    }
}
