use std::path::Path;

use tempfile::TempDir;
use tokio::time::sleep;

use super::*;
use crate::machine::Reason;

/// A hook that writes down what it is told, and ends when nothing holds it.
struct Stage {
    folder: TempDir,
    hooks: Hooks,
}

impl Stage {
    fn new(hook: &str) -> Self {
        let stage = Self { folder: tempfile::tempdir().unwrap(), hooks: Hooks::new(Handle::current()) };
        stage.hooks.apply(&stage.config(hook, "r"));
        stage
    }

    fn config(&self, hook: &str, router: &str) -> Config {
        let hook = hook.replace("@", &self.folder.path().display().to_string());
        let text = format!(
            "frontends: {{ f: {{ listen: '0.0.0.0:80', routes: [{{ respond: 200 }}] }} }}\n\
             vrrp: {{ {router}: {{ interface: eth0, vrid: 1, addresses: [203.0.113.1/24, 203.0.113.2], {hook} }} }}\n"
        );
        let loaded = lb_core::config::load(text, Path::new("lb.yaml"), &|_| None);
        loaded.unwrap_or_else(|problems| panic!("{problems}")).config
    }

    fn tell(&self, from: Role, to: Role) {
        self.hooks.tell("r", RoleChange { from, to, reason: Reason::Group }, 150);
    }

    fn hold(&self, held: bool) {
        let file = self.folder.path().join("held");
        if held { std::fs::write(file, "").unwrap() } else { std::fs::remove_file(file).unwrap() }
    }

    /// Once there are so many.
    async fn lines(&self, count: usize) -> Vec<String> {
        for _ in 0..2000 {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            if log.lines().count() >= count {
                return log.lines().map(str::to_owned).collect();
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("the hook was not told {count} times");
    }
}

const WRITES: &str =
    "notify: [sh, -c, 'echo $LB_PREVIOUS_ROLE $LB_ROLE >>@/log; while test -e @/held; do sleep 0.01; done']";

#[tokio::test]
async fn a_hook_learns_who_is_what_and_why() {
    let stage = Stage::new(
        "notify: [sh, -c, 'echo $LB_VIRTUAL_ROUTER $LB_PREVIOUS_ROLE $LB_ROLE $LB_REASON $LB_PRIORITY $LB_ADDRESSES >>@/log']",
    );
    stage.tell(Role::Backup, Role::Active);
    let line = "r backup active follows its sync group 150 203.0.113.1/24 203.0.113.2/32";
    assert_eq!(stage.lines(1).await, [line]);
}

#[tokio::test]
async fn one_runs_at_a_time_and_the_latest_role_wins() {
    let stage = Stage::new(WRITES);
    stage.hold(true);
    stage.tell(Role::Initialize, Role::Backup);
    stage.lines(1).await;
    for (from, to) in [(Role::Backup, Role::Active), (Role::Active, Role::Fault), (Role::Fault, Role::Active)] {
        stage.tell(from, to);
    }
    stage.hold(false);
    assert_eq!(stage.lines(2).await, ["initialize backup", "backup active"]);
    stage.tell(Role::Active, Role::Fault);
    assert_eq!(stage.lines(3).await[2], "active fault", "nothing in between was told");
}

#[tokio::test]
async fn what_came_back_while_a_hook_ran_is_not_told() {
    let stage = Stage::new(WRITES);
    stage.hold(true);
    stage.tell(Role::Backup, Role::Active);
    stage.lines(1).await;
    stage.tell(Role::Active, Role::Backup);
    stage.tell(Role::Backup, Role::Active);
    stage.hold(false);
    stage.tell(Role::Active, Role::Fault);
    assert_eq!(stage.lines(2).await, ["backup active", "active fault"]);
}

#[tokio::test]
async fn the_hook_of_a_virtual_router_that_is_removed_hears_of_its_end() {
    let stage = Stage::new(WRITES);
    stage.tell(Role::Backup, Role::Active);
    stage.lines(1).await;
    stage.hooks.apply(&stage.config(WRITES, "another"));
    stage.tell(Role::Active, Role::Initialize);
    assert_eq!(stage.lines(2).await[1], "active initialize");
    stage.tell(Role::Initialize, Role::Backup);
    assert!(stage.hooks.lock().contains_key("another") && stage.hooks.lock().len() == 1);
}

#[tokio::test]
async fn a_hook_that_fails_is_run_again_at_the_next_change() {
    let stage = Stage::new("notify: [sh, -c, 'echo $LB_ROLE >>@/log; exit 3']");
    stage.tell(Role::Initialize, Role::Backup);
    stage.lines(1).await;
    stage.tell(Role::Backup, Role::Active);
    assert_eq!(stage.lines(2).await, ["backup", "active"]);
}

#[tokio::test]
async fn the_last_hook_is_waited_for() {
    let stage = Stage::new(WRITES);
    stage.tell(Role::Active, Role::Initialize);
    stage.hooks.finish(Duration::from_secs(20)).await;
    assert_eq!(stage.lines(0).await, ["active initialize"]);
}
