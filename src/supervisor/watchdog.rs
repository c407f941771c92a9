//! The service manager is told that lb is alive only while everything that serves turns.

use std::sync::Arc;

use tracing::error;

use super::service;
use super::start::Supervisor;

/// How far each worker's loop had come at the last look.
#[derive(Default)]
pub struct Watchdog {
    before: Vec<u64>,
}

impl Watchdog {
    /// That this is called at all shows that the control loop turns.
    pub fn look(&mut self, supervisor: &Arc<Supervisor>) {
        if !supervisor.vrrp.is_alive() {
            return error!(
                "the thread of the virtual routers has ended: the service manager is not told that lb is alive"
            );
        }
        // A reload has it at this moment; the next look will tell.
        let Ok(stack) = supervisor.stack.try_lock() else { return service::alive() };
        let beats = stack.as_ref().map(|s| s.tier.heartbeats()).unwrap_or_default();
        match self.stalled(beats).as_slice() {
            [] => service::alive(),
            workers => error!(?workers, "workers do not answer: the service manager is not told that lb is alive"),
        }
    }

    /// The workers whose count did not grow since the last call.
    fn stalled(&mut self, beats: Vec<u64>) -> Vec<usize> {
        let still = beats.iter().zip(&self.before).enumerate().filter(|(_, (now, before))| now <= before);
        let stalled = still.map(|(worker, _)| worker).collect();
        self.before = beats;
        stalled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_stands_still_is_found_and_one_that_recovers_is_not() {
        let mut watchdog = Watchdog::default();
        assert!(watchdog.stalled(vec![0, 0]).is_empty(), "nothing to compare with yet");
        assert!(watchdog.stalled(vec![5, 1]).is_empty());
        assert_eq!(watchdog.stalled(vec![9, 1]), [1]);
        assert!(watchdog.stalled(vec![12, 2]).is_empty());
    }
}
