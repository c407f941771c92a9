//! The checker over a prober made for the purpose and a clock that stands still while there is work.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, advance};

use crate::changes::Listener;
use crate::config::{self, AdminState, Check, InitialHealth, Probe, Scheduler};
use crate::fixtures::{self, SECOND};
use crate::health::checker::Checker;
use crate::health::probe::{Doing, Prober};
use crate::health::target::Target;
use crate::health::{FailureReason, Outcome};
use crate::pool::{Backend, Health};
use crate::snapshot::Snapshot;

/// What backends answer, by name (else: success), and when they were asked.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<Scripted>>);

#[derive(Default)]
struct Scripted {
    answers: HashMap<String, Answer>,
    asked: Vec<(String, Instant)>,
    /// Probes under way, now and at most.
    running: (usize, usize),
}

/// One probe under way.
struct Running<'s>(&'s Script);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().running.0 -= 1;
    }
}

#[derive(Clone, Copy)]
enum Answer {
    Success,
    Failure,
    Inconclusive,
    Silence,
    Panic,
}

impl Prober for Script {
    async fn probe(&self, target: &Target, doing: &Doing) -> Outcome {
        doing.now("thinking");
        let _running = self.run();
        match self.answer(&target.backend.config.name) {
            Answer::Success => Outcome::success("well"),
            Answer::Failure => Outcome::failure(FailureReason::Status, "status 500"),
            Answer::Inconclusive => Outcome::Inconclusive("no descriptors".into()),
            Answer::Silence => std::future::pending().await,
            Answer::Panic => panic!("a bug in a probe"),
        }
    }
}

impl Script {
    fn answer(&self, name: &str) -> Answer {
        let mut scripted = self.0.lock().unwrap();
        scripted.asked.push((name.to_owned(), Instant::now()));
        scripted.answers.get(name).copied().unwrap_or(Answer::Success)
    }

    fn run(&self) -> Running<'_> {
        let (now, most) = &mut self.0.lock().unwrap().running;
        *now += 1;
        *most = (*most).max(*now);
        Running(self)
    }

    fn set(&self, name: &str, answer: Answer) {
        self.0.lock().unwrap().answers.insert(name.to_owned(), answer);
    }

    /// When the backend was asked since the last call.
    fn asked(&self, name: &str) -> Vec<Instant> {
        let mut scripted = self.0.lock().unwrap();
        let (its, others) = std::mem::take(&mut scripted.asked).into_iter().partition(|(asked, _)| asked == name);
        scripted.asked = others;
        let its: Vec<(String, Instant)> = its;
        its.into_iter().map(|(_, at)| at).collect()
    }
}

/// Every ten seconds; up after two, down after three.
fn checked(count: usize) -> config::Pool {
    let mut pool = fixtures::pool("pool", Scheduler::RoundRobin, fixtures::backends(&vec![1; count]));
    pool.check = Some(fixtures::check(Probe::Tcp));
    pool
}

fn with_check(count: usize, change: impl FnOnce(&mut Check)) -> config::Pool {
    let mut pool = checked(count);
    change(pool.check.as_mut().unwrap());
    pool
}

fn with_state(count: usize, state: AdminState) -> config::Pool {
    let mut pool = checked(count);
    pool.backends[0] = Arc::new(config::Backend { state, ..(*pool.backends[0]).clone() });
    pool
}

fn start(pool: config::Pool) -> (Arc<Snapshot>, Script, Checker) {
    let snapshot = fixtures::snapshot(vec![pool], None);
    let script = Script::default();
    let checker = Checker::with_prober(snapshot.clone(), script.clone());
    (snapshot, script, checker)
}

fn reload(checker: &Checker, pools: Vec<config::Pool>, previous: &Snapshot) -> Arc<Snapshot> {
    let snapshot = fixtures::snapshot(pools, Some(previous));
    checker.apply(snapshot.clone());
    snapshot
}

fn backend(snapshot: &Snapshot, index: usize) -> Arc<Backend> {
    snapshot.pools[0].backends[index].clone()
}

fn health(snapshot: &Snapshot) -> Vec<Health> {
    snapshot.pools[0].backends.iter().map(|b| b.live.health()).collect()
}

/// Lets the clock run on in small steps, and everybody do what is due at each.
async fn pass(time: Duration) {
    const STEP: Duration = Duration::from_millis(50);
    let end = Instant::now() + time;
    while Instant::now() < end {
        settle().await;
        advance(STEP).await;
    }
    settle().await;
}

/// Until the probe of `b0` has begun.
async fn under_way(script: &Script) {
    for _ in 0..1000 {
        if !script.asked("b0").is_empty() {
            return;
        }
        pass(Duration::from_millis(50)).await;
    }
    panic!("b0 is not checked");
}

/// Lets the checker and its probes do what they can without the clock.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_backend_has_its_first_check_within_one_interval_and_not_all_at_once() {
    let (snapshot, script, _checker) = start(checked(50));
    pass(10 * SECOND).await;
    assert_eq!(health(&snapshot), vec![Health::Up; 50]);
    let mut first: Vec<_> = (0..50).map(|i| script.asked(&format!("b{i}"))[0]).collect();
    first.sort();
    first.dedup();
    assert!(first.len() > 30, "{} moments for 50 backends", first.len());
}

#[tokio::test(start_paused = true)]
async fn checks_follow_each_other_after_an_interval_more_or_less() {
    let (_snapshot, script, _checker) = start(checked(1));
    pass(200 * SECOND).await;
    let asked = script.asked("b0");
    let waits: Vec<_> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let (least, most) = (9 * SECOND, 11 * SECOND + Duration::from_millis(100));
    assert!(waits.iter().all(|wait| *wait >= least && *wait <= most), "{waits:?}");
    assert!(waits.iter().any(|wait| *wait != waits[0]), "no jitter");
}

#[tokio::test(start_paused = true)]
async fn every_change_of_health_rings() {
    let (snapshot, script, checker) = start(checked(1));
    let mut changes = snapshot.changes.listen();
    pass(10 * SECOND).await;
    assert!(rang(&mut changes), "unknown to up");
    pass(30 * SECOND).await;
    assert!(!rang(&mut changes), "up it stays");
    script.set("b0", Answer::Failure);
    pass(40 * SECOND).await;
    assert!(rang(&mut changes), "up to down");
    let unchecked = fixtures::pool("pool", Scheduler::RoundRobin, fixtures::backends(&[1]));
    let snapshot = reload(&checker, vec![unchecked], &snapshot);
    settle().await;
    assert_eq!(health(&snapshot), [Health::Unknown]);
    assert!(rang(&mut changes), "nobody knows any more; the bell is that of the first snapshot");
}

fn rang(changes: &mut Listener) -> bool {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    std::pin::pin!(changes.heard()).poll(&mut context).is_ready()
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_fails_goes_down_and_comes_back() {
    let (snapshot, script, _checker) = start(checked(2));
    pass(10 * SECOND).await;
    script.set("b0", Answer::Failure);
    pass(22 * SECOND).await;
    assert_eq!(health(&snapshot), [Health::Up, Health::Up], "two failures of three");
    pass(12 * SECOND).await;
    assert_eq!(health(&snapshot), [Health::Down, Health::Up]);
    let live = backend(&snapshot, 0).live.clone();
    assert_eq!(live.checks.transitions.get(), 2, "unknown to up, up to down");
    assert_eq!(live.checks.failures[FailureReason::Status as usize].get(), 3);
    let report = live.check_report().unwrap();
    assert_eq!(report.outcome.text(), "status 500");
    assert!(report.changed_at.is_some());
    script.set("b0", Answer::Success);
    pass(22 * SECOND).await;
    assert_eq!(health(&snapshot), [Health::Up, Health::Up]);
    assert_eq!(live.checks.transitions.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_goes_down_wakes_the_requests_that_wait() {
    let (snapshot, script, _checker) = start(checked(1));
    script.set("b0", Answer::Failure);
    let pool = snapshot.pools[0].clone();
    let waiter = tokio::spawn(async move { pool.live.slot_freed.notified().await });
    pass(10 * SECOND).await;
    assert!(waiter.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_probe_without_an_answer_ends_at_its_timeout_and_holds_up_nobody() {
    let (snapshot, script, _checker) = start(checked(20));
    for i in 0..10 {
        script.set(&format!("b{i}"), Answer::Silence);
    }
    pass(12 * SECOND).await;
    let expected: Vec<_> = (0..20).map(|i| if i < 10 { Health::Down } else { Health::Up }).collect();
    assert_eq!(health(&snapshot), expected);
    let live = backend(&snapshot, 0).live.clone();
    assert_eq!(live.check_report().unwrap().outcome, Outcome::timeout("thinking", SECOND));
    assert!(live.checks.durations.sum_us.get() >= 1_000_000);
}

#[tokio::test(start_paused = true)]
async fn probes_under_way_are_bounded_and_the_others_come_late_but_come() {
    let pool = with_check(3000, |check| (check.interval, check.timeout) = (2 * SECOND, SECOND + SECOND / 2));
    let snapshot = fixtures::snapshot(vec![pool], None);
    let script = Script::default();
    for i in 0..3000 {
        script.set(&format!("b{i}"), Answer::Silence);
    }
    let _checker = Checker::with_prober(snapshot.clone(), script.clone());
    pass(10 * SECOND).await;
    assert_eq!(health(&snapshot), vec![Health::Down; 3000]);
    assert_eq!(script.0.lock().unwrap().running.1, 1024);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_probe_stops_neither_the_checks_nor_the_backend() {
    let (snapshot, script, _checker) = start(checked(2));
    script.set("b0", Answer::Panic);
    pass(60 * SECOND).await;
    assert_eq!(health(&snapshot), [Health::Unknown, Health::Up]);
    assert!(script.asked("b0").len() >= 5);
    script.set("b0", Answer::Failure);
    pass(12 * SECOND).await;
    assert_eq!(health(&snapshot), [Health::Down, Health::Up]);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_could_not_be_made_says_nothing() {
    let (snapshot, script, _checker) = start(checked(1));
    pass(10 * SECOND).await;
    script.set("b0", Answer::Inconclusive);
    pass(100 * SECOND).await;
    assert_eq!(health(&snapshot), [Health::Up]);
    let checks = &backend(&snapshot, 0).live.checks;
    assert_eq!(checks.failures.iter().map(|f| f.get()).sum::<u64>(), 0);
}

#[tokio::test(start_paused = true)]
async fn reloads_that_change_nothing_keep_timers_and_counting() {
    let (mut snapshot, script, checker) = start(checked(3));
    pass(10 * SECOND).await;
    script.set("b0", Answer::Failure);
    script.asked("b0");
    for _ in 0..34 {
        snapshot = reload(&checker, vec![checked(3)], &snapshot);
        pass(SECOND).await;
    }
    assert_eq!(script.asked("b0").len(), 3);
    assert_eq!(health(&snapshot), [Health::Down, Health::Up, Health::Up]);
}

#[tokio::test(start_paused = true)]
async fn other_check_settings_restart_the_counting_and_keep_the_health() {
    let (snapshot, script, checker) = start(checked(1));
    pass(10 * SECOND).await;
    script.set("b0", Answer::Failure);
    pass(22 * SECOND).await;
    let snapshot = reload(&checker, vec![with_check(1, |check| check.timeout = 2 * SECOND)], &snapshot);
    pass(22 * SECOND).await;
    assert_eq!(health(&snapshot), [Health::Up], "two failures of the new check");
    pass(12 * SECOND).await;
    assert_eq!(health(&snapshot), [Health::Down]);
}

#[tokio::test(start_paused = true)]
async fn a_removed_backend_is_no_longer_asked_and_a_new_one_is() {
    let (snapshot, script, checker) = start(checked(1));
    pass(10 * SECOND).await;
    script.asked("b0");
    let mut other = checked(2);
    other.backends.remove(0);
    let snapshot = reload(&checker, vec![other], &snapshot);
    pass(20 * SECOND).await;
    assert!(script.asked("b0").is_empty());
    assert!(!script.asked("b1").is_empty());
    assert_eq!(health(&snapshot), [Health::Up]);
}

#[tokio::test(start_paused = true)]
async fn without_a_check_backends_are_taken_for_usable() {
    let (snapshot, script, checker) = start(checked(1));
    script.set("b0", Answer::Failure);
    pass(10 * SECOND).await;
    assert_eq!(health(&snapshot), [Health::Down]);
    let mut unchecked = checked(1);
    unchecked.check = None;
    let snapshot = reload(&checker, vec![unchecked], &snapshot);
    settle().await;
    assert_eq!(health(&snapshot), [Health::Unknown]);
}

#[tokio::test(start_paused = true)]
async fn a_result_that_comes_after_the_backend_was_removed_is_ignored() {
    let (snapshot, script, checker) = start(checked(1));
    script.set("b0", Answer::Silence);
    under_way(&script).await;
    reload(&checker, vec![], &snapshot);
    pass(2 * SECOND).await;
    assert_eq!(health(&snapshot), [Health::Unknown]);
    assert!(backend(&snapshot, 0).live.check_report().is_none());
}

/// An answer that was asked for before the operator's change must not speak for what is there now.
#[tokio::test(start_paused = true)]
async fn a_forced_check_makes_the_one_under_way_count_for_nothing() {
    let (snapshot, script, checker) = start(checked(1));
    script.set("b0", Answer::Silence);
    under_way(&script).await;
    script.set("b0", Answer::Success);
    let backend = backend(&snapshot, 0);
    checker.force(&backend);
    pass(2 * SECOND).await;
    assert_eq!(backend.live.check_report().unwrap().outcome, Outcome::success("well"));
    assert_eq!(backend.live.checks.failures[FailureReason::Timeout as usize].get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_ends_in_maintenance_changes_no_health() {
    let (snapshot, script, _checker) = start(checked(1));
    script.set("b0", Answer::Silence);
    under_way(&script).await;
    backend(&snapshot, 0).live.set_admin_override(Some(AdminState::Maint));
    pass(2 * SECOND).await;
    assert_eq!(health(&snapshot), [Health::Unknown]);
}

#[tokio::test(start_paused = true)]
async fn maintenance_stops_the_checks_and_forgets_what_was_known() {
    let (snapshot, script, checker) = start(with_check(1, |check| check.initial = InitialHealth::Down));
    assert_eq!(health(&snapshot), [Health::Down]);
    pass(22 * SECOND).await;
    assert_eq!(health(&snapshot), [Health::Up]);
    let backend = backend(&snapshot, 0);
    backend.live.set_admin_override(Some(AdminState::Maint));
    checker.force(&backend);
    settle().await;
    assert_eq!(health(&snapshot), [Health::Down], "as it was at the start");
    script.asked("b0");
    pass(100 * SECOND).await;
    assert!(script.asked("b0").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_made_ready_is_checked_at_once() {
    let (snapshot, script, checker) = start(with_state(1, AdminState::Maint));
    pass(100 * SECOND).await;
    assert!(script.asked("b0").is_empty());
    let backend = backend(&snapshot, 0);
    backend.live.set_admin_override(Some(AdminState::Ready));
    checker.force(&backend);
    settle().await;
    assert_eq!(health(&snapshot), [Health::Up]);
    backend.live.set_admin_override(None);
    pass(12 * SECOND).await;
    assert_eq!(health(&snapshot), [Health::Unknown]);
    let snapshot = reload(&checker, vec![checked(1)], &snapshot);
    settle().await;
    assert_eq!(health(&snapshot), [Health::Up], "ready by the file: checked at once, too");
}

#[tokio::test(start_paused = true)]
async fn draining_backends_are_checked() {
    let (snapshot, script, _checker) = start(with_state(1, AdminState::Drain));
    pass(10 * SECOND).await;
    assert_eq!(script.asked("b0").len(), 1);
    assert_eq!(health(&snapshot), [Health::Up]);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_checker_ends_the_checks() {
    let (_snapshot, script, checker) = start(checked(1));
    pass(10 * SECOND).await;
    drop(checker);
    script.asked("b0");
    pass(30 * SECOND).await;
    assert!(script.asked("b0").is_empty());
}

#[tokio::test(start_paused = true)]
async fn backups_are_checked_too() {
    let mut pool = checked(1);
    pool.backup = vec![Arc::new(fixtures::backend("spare", 1))];
    let (snapshot, script, _checker) = start(pool);
    script.set("spare", Answer::Failure);
    pass(10 * SECOND).await;
    assert_eq!(snapshot.pools[0].backup[0].live.health(), Health::Down);
}
