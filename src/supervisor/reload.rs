//! The reload transaction: parse, validate, diff, prepare, commit; all of it, or the old stays.
//!
//! It runs on a thread of its own beside the workers. What can fail comes before the commit and
//! changes nothing; what the commit does cannot fail.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, anyhow, ensure};
use lb_core::config::{self, Config, ConfigDiff, LoadError, Loaded};
use lb_core::snapshot::Snapshot;
use lb_l7::Prepared;
use tokio::sync::{OwnedMappedMutexGuard, OwnedMutexGuard};
use tracing::{error, info, warn};

use super::clock::{now, wall_clock};
use super::endpoints::PreparedEndpoints;
use super::start::{Stack, Supervisor, workers};
use super::watch::FileWatch;
use super::{host, service};
use crate::admin::messages::{LastReload, Phase, ReloadReport, ReloadResult};
use crate::exit::words;
use crate::identity::require_node;

/// Changes or problems that a log line names.
const NAMED: usize = 20;

/// Who asked for it.
#[derive(Debug, Clone, Copy)]
pub enum Trigger {
    Signal,
    Admin,
    Watch,
}

impl Trigger {
    fn as_str(self) -> &'static str {
        match self {
            Trigger::Signal => "signal",
            Trigger::Admin => "admin",
            Trigger::Watch => "watch",
        }
    }
}

/// What came of the reloads so far.
pub struct Reloads {
    applied: AtomicU64,
    refused: AtomicU64,
    last: Mutex<Last>,
}

/// Before the first reload: the start.
#[derive(Clone)]
pub struct Last {
    pub result: ReloadResult,
    pub at: SystemTime,
    pub took: Duration,
    pub errors: String,
}

/// Whoever holds it is alone.
type LockedStack = OwnedMappedMutexGuard<Option<Stack>, Stack>;

/// Everything that can fail has been done.
struct Ready {
    snapshot: Arc<Snapshot>,
    tier: Prepared,
    forwarder: lb_l4::Prepared,
    vrrp: lb_vrrp::Prepared,
    peers: super::peers::Prepared,
    endpoints: PreparedEndpoints,
    watch: Option<Option<FileWatch>>,
    changes: Vec<String>,
    warnings: String,
}

impl Supervisor {
    /// Reloads are done one after the other.
    pub async fn reload(self: &Arc<Self>, trigger: Trigger) -> ReloadReport {
        let stack = self.stack.clone().lock_owned().await;
        let Ok(stack) = OwnedMutexGuard::try_map(stack, Option::as_mut) else {
            let why = match self.phase() {
                Phase::Starting => "lb is still starting: try again",
                Phase::Serving | Phase::Draining => "lb is about to end",
            };
            return self.refused(&anyhow!(why), Duration::ZERO);
        };
        service::reloading();
        let supervisor = self.clone();
        let transaction = tokio::task::spawn_blocking(move || supervisor.transact(stack, trigger));
        let report = transaction.await.unwrap_or_else(|panic| self.refused(&anyhow!(panic), Duration::ZERO));
        service::ready(&self.snapshot());
        report
    }

    pub(super) fn spawn_reload(self: &Arc<Self>, trigger: Trigger) {
        let supervisor = self.clone();
        tokio::spawn(async move { supervisor.reload(trigger).await });
    }

    fn transact(self: &Arc<Self>, mut stack: LockedStack, trigger: Trigger) -> ReloadReport {
        let begin = now();
        // Preparing takes no `&mut`: a panic in it leaves everything as it was.
        let prepared = catch_unwind(AssertUnwindSafe(|| self.prepare(&stack)));
        match prepared.unwrap_or_else(|_| Err(anyhow!("a bug: preparing the configuration panicked"))) {
            Ok(ready) => self.commit(&mut stack, ready, trigger, begin),
            Err(why) => self.refused(&why, begin.elapsed()),
        }
    }

    fn prepare(&self, stack: &Stack) -> Result<Ready> {
        let Loaded { config, sha256, warnings } =
            config::load_file(&self.path, &self.identity).map_err(|error| match error {
                LoadError::Unreadable(error) => anyhow!("cannot read {}: {error}", self.path.display()),
                invalid => invalid.into(),
            })?;
        require_node(&config, &self.identity)?;
        let config = Arc::new(config);
        let old = self.snapshot();
        refuse_what_needs_a_restart(&old, &config)?;
        let changes = changes(&old, &config).to_string().lines().map(str::to_owned).collect();
        let snapshot = Arc::new(Snapshot::build(config.clone(), sha256, old.workers, Some(&old)));
        let watch = (old.config.reload.watch != config.reload.watch)
            .then(|| FileWatch::wanted(&config.reload, &self.path, &self.changed))
            .transpose()?;
        let endpoints = PreparedEndpoints::prepare(&old.config, &config)?;
        let tier = stack.tier.prepare(snapshot.clone())?;
        let forwarder = self.forwarder.prepare(snapshot.clone())?;
        let vrrp = self.vrrp.prepare(&snapshot)?;
        let peers = self.peers.prepare(&config)?;
        let warnings = with_missing(warnings.to_string(), &config);
        Ok(Ready { snapshot, tier, forwarder, vrrp, peers, endpoints, watch, changes, warnings })
    }

    fn commit(self: &Arc<Self>, stack: &mut Stack, ready: Ready, trigger: Trigger, begin: Instant) -> ReloadReport {
        let old = self.snapshot();
        let Ready { snapshot, tier, forwarder, vrrp, peers, endpoints, watch, changes, warnings } = ready;
        stack.tier.commit(tier);
        snapshot.settle(&old);
        self.forwarder.commit(forwarder);
        self.peers.commit(peers, &snapshot);
        self.hooks.apply(&snapshot.config);
        self.vrrp.commit(vrrp);
        stack.trackers.apply(&snapshot);
        stack.checker.apply(snapshot.clone());
        endpoints.commit(&mut stack.endpoints, self);
        if let Some(watch) = watch {
            stack.watch = watch;
        }
        self.logging.apply(&snapshot.config.log);
        let took = begin.elapsed();
        self.reloads.record(ReloadResult::Applied, took, String::new());
        info!(
            trigger = trigger.as_str(),
            generation = snapshot.generation,
            ms = millis(took),
            changes = shortened(&changes),
            "configuration applied"
        );
        report(ReloadResult::Applied, &snapshot, took, Texts { changes, warnings, errors: String::new() })
    }

    fn refused(&self, why: &anyhow::Error, took: Duration) -> ReloadReport {
        let errors = words(why);
        error!(reason = reason(why), "configuration refused, the old one goes on");
        self.reloads.record(ReloadResult::Refused, took, errors.clone());
        report(ReloadResult::Refused, &self.snapshot(), took, Texts { errors, ..Texts::default() })
    }
}

fn with_missing(mut warnings: String, config: &Config) -> String {
    for missing in host::missing(config) {
        warn!("{missing}");
        let gap = if warnings.is_empty() || warnings.ends_with('\n') { "" } else { "\n" };
        warnings += &format!("{gap}warning: {missing}");
    }
    warnings
}

#[derive(Default)]
struct Texts {
    changes: Vec<String>,
    warnings: String,
    errors: String,
}

fn report(result: ReloadResult, serving: &Snapshot, took: Duration, texts: Texts) -> ReloadReport {
    ReloadReport {
        result,
        generation: serving.generation,
        sha256: serving.config_sha256.clone(),
        changes: texts.changes,
        warnings: texts.warnings,
        errors: texts.errors,
        duration_ms: millis(took),
    }
}

/// A reload may change thousands of backends; a log line names the first ones.
fn shortened(changes: &[String]) -> String {
    let named = changes.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join("; ");
    match changes.len() {
        0 => "none".to_owned(),
        all if all > NAMED => format!("{named}; and {} more", all - NAMED),
        _ => named,
    }
}

/// One line; the report has the source lines as well.
fn reason(why: &anyhow::Error) -> String {
    let Some(LoadError::Invalid(diagnostics)) = why.downcast_ref() else { return words(why) };
    let lines: Vec<_> =
        diagnostics.iter().map(|d| format!("line {}, column {}: {}", d.line, d.column, d.message)).collect();
    shortened(&lines)
}

fn millis(took: Duration) -> f64 {
    took.as_micros() as f64 / 1e3
}

/// What a reload would bring. Where a file does not say how many workers it wants, it still comes to a number.
pub fn changes(serving: &Snapshot, new: &Config) -> ConfigDiff {
    config::diff(&serving.config.with_workers(serving.workers), &new.with_workers(workers(new)))
}

/// Every counter has one shard per worker, so their number is fixed for the life of the process.
pub fn refuse_what_needs_a_restart(old: &Snapshot, new: &Config) -> Result<()> {
    let (now, wanted) = (old.workers, workers(new));
    ensure!(now == wanted, "lb runs {now} workers and the file now wants {wanted}: that takes a restart");
    Ok(())
}

impl Reloads {
    pub fn none(started: SystemTime) -> Self {
        let last = Last { result: ReloadResult::Applied, at: started, took: Duration::ZERO, errors: String::new() };
        Self { applied: AtomicU64::new(0), refused: AtomicU64::new(0), last: Mutex::new(last) }
    }

    fn record(&self, result: ReloadResult, took: Duration, errors: String) {
        self.counter(result).fetch_add(1, Ordering::Relaxed);
        let last = Last { result, at: wall_clock(), took, errors };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }

    pub fn count(&self, result: ReloadResult) -> u64 {
        self.counter(result).load(Ordering::Relaxed)
    }

    pub fn last(&self) -> Last {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `None` before the first one.
    pub fn shown(&self) -> Option<LastReload> {
        let any = self.count(ReloadResult::Applied) + self.count(ReloadResult::Refused) > 0;
        any.then(|| {
            let last = self.last();
            let seconds_ago = last.at.elapsed().map_or(0, |age| age.as_secs());
            LastReload { result: last.result, seconds_ago, errors: last.errors }
        })
    }

    fn counter(&self, result: ReloadResult) -> &AtomicU64 {
        match result {
            ReloadResult::Applied => &self.applied,
            ReloadResult::Refused => &self.refused,
        }
    }
}
