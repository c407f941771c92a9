//! Checks by programs of the operator's own.

use std::path::Path;
use std::time::Duration;

use lb_core::health::{FailureReason, Outcome};
use tempfile::TempDir;

use crate::servers::{Server, nobody};
use crate::{assert_fails, assert_passes, watch};

#[tokio::test]
async fn exit_code_0_passes_and_any_other_fails() {
    let address = nobody().await;
    assert_passes(address, "script: ['true']", "").await;
    assert_fails(address, "script: [sh, -c, 'exit 3']", "", FailureReason::Exit, "exit status: 3").await;
}

#[tokio::test]
async fn a_program_that_is_not_there_fails() {
    let check = "script: [/nonexistent/check]";
    assert_fails(nobody().await, check, "", FailureReason::Exit, "No such file").await;
}

#[tokio::test]
async fn it_learns_from_its_environment_what_to_look_at() {
    let watched = watch(
        "192.0.2.7:8080".parse().unwrap(),
        "script: [sh, -c, 'echo $LB_POOL $LB_BACKEND $LB_ADDRESS $LB_PORT'], port: 9000",
        "",
    );
    assert_eq!(watched.outcome().await, Outcome::success("exit status: 0: app one 192.0.2.7 9000"));
}

#[tokio::test]
async fn its_arguments_are_not_read_by_a_shell() {
    let watched = watch(nobody().await, "script: [echo, '$LB_POOL; false']", "");
    assert_eq!(watched.outcome().await, Outcome::success("exit status: 0: $LB_POOL; false"));
}

#[tokio::test]
async fn of_its_words_the_first_line_is_kept_and_the_rest_does_not_stop_it() {
    let talkative = "script: [sh, -c, 'echo disk full >&2; head -c 1000000 /dev/zero; exit 1']";
    assert_fails(nobody().await, talkative, "", FailureReason::Exit, "exit status: 1: disk full").await;
}

/// What a script leaves running holds its output open; its own exit is what counts.
#[tokio::test]
async fn a_process_left_in_the_background_does_not_delay_the_result() {
    let folder = TempDir::new().unwrap();
    let pid = folder.path().join("pid");
    let check = format!("script: [sh, -c, 'sleep 60 & echo $! > {}; exit 0']", pid.display());
    assert_passes(nobody().await, &check, "").await;
    let left: i32 = read_pid(&pid).await;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(left), nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn at_its_timeout_it_is_killed_with_all_that_it_started() {
    let folder = TempDir::new().unwrap();
    let pid = folder.path().join("pid");
    let check = format!("script: [sh, -c, 'sleep 60 & echo $! > {}; wait']", pid.display());
    assert_fails(nobody().await, &check, "", FailureReason::Timeout, "the script").await;
    let child = read_pid(&pid).await;
    for _ in 0..1500 {
        if !runs(child) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("process {child} outlived its script");
}

#[tokio::test]
async fn a_script_that_hangs_does_not_hold_up_other_checks() {
    let server = Server::silent().await;
    let hangs = watch(server.address, "script: [sleep, '60']", "");
    assert_passes(server.address, "tcp: {}", "").await;
    let outcome = hangs.outcome().await;
    assert!(matches!(outcome, Outcome::Failure(FailureReason::Timeout, _)), "{outcome:?}");
}

async fn read_pid(file: &Path) -> i32 {
    for _ in 0..1500 {
        if let Some(pid) = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()) {
            return pid;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the script wrote no process id");
}

/// A zombie that nobody has waited for yet runs no more.
fn runs(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
