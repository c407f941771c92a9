use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lb_core::config;
use lb_core::pool::Health;
use lb_core::snapshot::Snapshot;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use super::*;

type Observed = UnboundedReceiver<(String, usize, bool)>;

fn snapshot(routers: &str, previous: Option<&Snapshot>) -> Arc<Snapshot> {
    let text = format!(
        "frontends: {{ f: {{ listen: '0.0.0.0:80', pool: web }} }}\n\
         pools: {{ web: {{ check: {{ tcp: {{}} }}, backends: ['10.0.0.1:80', '10.0.0.2:80'], backup: ['10.0.0.3:80'] }} }}\n\
         vrrp:\n{routers}"
    );
    let loaded = config::load(text, Path::new("lb.yaml"), &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
    Arc::new(Snapshot::build(Arc::new(loaded.config), String::new(), 1, previous))
}

fn router(name: &str, vrid: u8, track: &str) -> String {
    format!("  {name}: {{ interface: eth0, vrid: {vrid}, addresses: [203.0.113.{vrid}/24], track: [{track}] }}\n")
}

fn observing() -> (Observe, Observed) {
    let (sender, receiver) = unbounded_channel();
    (Arc::new(move |router, index, is_up| sender.send((router.to_owned(), index, is_up)).unwrap()), receiver)
}

async fn next(observed: &mut Observed) -> (String, usize, bool) {
    timeout(Duration::from_secs(20), observed.recv()).await.expect("an observation").expect("somebody looks")
}

fn set(snapshot: &Snapshot, backend: usize, health: Health) {
    let pool = snapshot.pool("web").unwrap();
    pool.backend(backend).unwrap().live.set_health(health);
    pool.live.availability_changed();
}

fn seen(router: &str, index: usize, is_up: bool) -> (String, usize, bool) {
    (router.to_owned(), index, is_up)
}

#[tokio::test]
async fn a_pool_is_down_when_too_few_backends_are_available() {
    let tracked = router("r", 1, "{ interface: eth1 }, { pool: web, below: 2, weight: -60 }");
    let first = snapshot(&tracked, None);
    let (observe, mut observed) = observing();
    let mut trackers = Trackers::start(&first, observe);
    assert_eq!(next(&mut observed).await, seen("r", 1, true), "as yet unknown counts");
    set(&first, 0, Health::Down);
    assert_eq!(next(&mut observed).await, seen("r", 1, true), "one and a backup are left");
    set(&first, 2, Health::Down);
    assert_eq!(next(&mut observed).await, seen("r", 1, false));
    set(&first, 0, Health::Up);
    assert_eq!(next(&mut observed).await, seen("r", 1, true));

    // After a reload it is the same backends, and other routers.
    let second = snapshot(&(router("r", 1, "") + &router("s", 2, "{ pool: web, below: 3 }")), Some(&first));
    trackers.apply(&second);
    assert_eq!(next(&mut observed).await, seen("s", 0, false));
}

#[tokio::test]
async fn a_script_counts_after_so_many_results() {
    let folder = tempfile::tempdir().unwrap();
    let (flag, count) = (folder.path().join("up"), folder.path().join("count"));
    let check = format!("echo >>{}; test -e {}", count.display(), flag.display());
    let script = format!("{{ script: [sh, -c, '{check}'], interval: 100ms, timeout: 90ms, rise: 2, fall: 3 }}");
    let both = router("r", 1, &script) + &router("s", 2, &format!("{{ interface: eth1 }}, {script}"));
    std::fs::write(&flag, "").unwrap();
    let first = snapshot(&both, None);
    let (observe, mut observed) = observing();
    let mut trackers = Trackers::start(&first, observe);
    assert_eq!(next(&mut observed).await, seen("r", 0, true), "the first result decides");
    assert_eq!(next(&mut observed).await, seen("s", 1, true), "and it is one program for both");

    std::fs::remove_file(&flag).unwrap();
    let before = runs(&count);
    assert_eq!(next(&mut observed).await, seen("r", 0, false));
    assert!(runs(&count) >= before + 2, "three failures in a row, of which one may have been under way");
    assert_eq!(next(&mut observed).await, seen("s", 1, false));

    // Who comes later learns what is known, without a run.
    let second = snapshot(&router("t", 3, &script), Some(&first));
    trackers.apply(&second);
    assert_eq!(next(&mut observed).await, seen("t", 0, false));
}

fn runs(count: &Path) -> usize {
    std::fs::read_to_string(count).unwrap_or_default().len()
}

#[tokio::test]
async fn a_script_that_hangs_is_down_and_killed_with_all_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let script = format!(
        "{{ script: [sh, -c, 'sleep 600 & echo $! >{}; wait'], interval: 1s, timeout: 500ms, fall: 1 }}",
        pid.display()
    );
    let (observe, mut observed) = observing();
    let trackers = Trackers::start(&snapshot(&router("r", 1, &script), None), observe);
    assert_eq!(next(&mut observed).await, seen("r", 0, false));
    drop(trackers);
    let pid = std::fs::read_to_string(&pid).unwrap();
    // Killed, and maybe not yet reaped by whoever inherits it.
    for _ in 0..2000 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("what the script started still runs");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_down() {
    let script = "{ script: /nonexistent/check, interval: 100ms }";
    let (observe, mut observed) = observing();
    let _trackers = Trackers::start(&snapshot(&router("r", 1, script), None), observe);
    assert_eq!(next(&mut observed).await, seen("r", 0, false));
}
