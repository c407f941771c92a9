use std::time::Instant;

use lb_core::config::TrackScript;
use lb_core::health::{Machine, Thresholds, is_local};
use lb_core::pool::Health;
use lb_core::script;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

use super::{Observe, Target};

/// Runs one program again and again.
pub(super) struct ScriptTask {
    script: TrackScript,
    targets: watch::Sender<Vec<Target>>,
    task: AbortHandle,
}

impl ScriptTask {
    pub fn start(script: TrackScript, targets: Vec<Target>, observe: Observe) -> Self {
        let (targets, told) = watch::channel(targets);
        let task = tokio::spawn(Follower::new(script.clone(), told, observe).follow()).abort_handle();
        Self { script, targets, task }
    }

    pub fn runs(&self, script: &TrackScript) -> bool {
        self.script == *script
    }

    /// They are told at once what is known.
    pub fn retarget(&self, targets: Vec<Target>) {
        self.targets.send_replace(targets);
    }
}

impl Drop for ScriptTask {
    /// A program that runs at the moment is killed.
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Follower {
    script: TrackScript,
    targets: watch::Receiver<Vec<Target>>,
    observe: Observe,
    machine: Machine,
    /// `None`: no result yet.
    is_up: Option<bool>,
}

impl Follower {
    fn new(script: TrackScript, targets: watch::Receiver<Vec<Target>>, observe: Observe) -> Self {
        let thresholds = Thresholds { rise: script.rise, fall: script.fall };
        Self { machine: Machine::new(now(), thresholds, Health::Unknown), script, targets, observe, is_up: None }
    }

    async fn follow(mut self) {
        let mut ticks = interval(self.script.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.run().await,
                changed = self.targets.changed() => match changed {
                    Ok(()) => self.tell(),
                    Err(_) => return,
                },
            }
        }
    }

    async fn run(&mut self) {
        let limit = self.script.timeout;
        let (success, text) = match timeout(limit, script::run(&self.script.command, &[])).await {
            Ok(Ok(ended)) => (ended.status.success(), ended.to_string()),
            // This machine has run out of something; that says nothing about what the program looks at.
            Ok(Err(error)) if is_local(&error) => return,
            Ok(Err(error)) => (false, error.to_string()),
            Err(_) => (false, format!("it took longer than {limit:?}")),
        };
        if let Some(transition) = self.machine.observe(now(), success) {
            let is_up = transition.to == Health::Up;
            self.log(is_up, transition.results, &text);
            self.is_up = Some(is_up);
            self.tell();
        }
    }

    fn tell(&mut self) {
        let Some(is_up) = self.is_up else { return };
        for Target { router, index } in self.targets.borrow_and_update().iter() {
            (self.observe)(router, *index, is_up);
        }
    }

    fn log(&self, is_up: bool, results: u32, text: &str) {
        let script = self.script.command.first().map_or("", String::as_str);
        match is_up {
            true => info!(script, results, "the tracked script is up: {text}"),
            false => warn!(script, results, "the tracked script is down: {text}"),
        }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
