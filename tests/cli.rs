//! The command line as a person meets it: messages and exit codes, without a running lb.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use tempfile::TempDir;

const VALID: &str = "
frontends:
  web: { mode: http, listen: 127.0.0.1:18080, pool: web }
pools:
  web: { backends: [127.0.0.1:8080] }
";

fn lb(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lb"));
    command.args(arguments).env_remove("LB_SOCKET").env_remove("LB_NODE");
    command
}

fn write(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn ran(mut command: Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn check(file: &Path, more: &[&str]) -> Ran {
    let mut command = lb(&["check"]);
    command.arg(file).args(more);
    ran(command)
}

#[test]
fn the_examples_are_valid() {
    let examples: Vec<_> = fs::read_dir("deploy/examples").unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(examples.len() >= 2);
    for example in examples {
        let ran = check(&example, &[]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{}", example.display());
    }
}

#[test]
fn a_pair_is_checked_anywhere_and_served_by_its_nodes() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = "nodes: { lb-a: { address: 10.0.0.2 }, lb-b: { address: 10.0.0.3 } }\n";
    let file = write(&dir, "pair.yaml", &format!("{nodes}{VALID}"));
    assert_eq!(check(&file, &[]).code, Some(0), "whatever this host is called");
    assert_eq!(check(&file, &["--node", "lb-b"]).code, Some(0));
    let unknown = check(&file, &["--node", "lb-c"]);
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.stderr.contains("node `lb-c`, which is not among the nodes"), "{}", unknown.stderr);

    let mut command = lb(&["run", "-c"]);
    command.arg(&file);
    let stranger = ran(command);
    assert_eq!(stranger.code, Some(2));
    assert!(stranger.stderr.contains("the nodes are lb-a, lb-b: name one with --node"), "{}", stranger.stderr);
    let mut command = lb(&["run", "-c"]);
    command.arg(&file).env("LB_NODE", "lb-x");
    let misnamed = ran(command);
    assert_eq!(misnamed.code, Some(2));
    assert!(misnamed.stderr.contains("`lb-x`"), "{}", misnamed.stderr);
}

#[test]
fn check_has_three_exit_codes() {
    let dir = tempfile::tempdir().unwrap();
    let valid = check(&write(&dir, "valid.yaml", VALID), &[]);
    assert_eq!(valid.code, Some(0), "{}", valid.stderr);
    assert!(valid.stdout.contains("1 frontend, 1 pool, 1 backend"), "{}", valid.stdout);

    let invalid = check(&write(&dir, "invalid.yaml", &VALID.replace("pool: web", "pool: wep")), &[]);
    assert_eq!(invalid.code, Some(1));
    assert!(
        invalid.stderr.contains("invalid.yaml:3") && invalid.stderr.contains("did you mean `web`"),
        "{}",
        invalid.stderr
    );

    let unreadable = check(&dir.path().join("missing.yaml"), &[]);
    assert_eq!(unreadable.code, Some(2));
    assert!(unreadable.stderr.contains("missing.yaml"), "{}", unreadable.stderr);
    assert_eq!(unreadable.stderr.lines().count(), 1, "{}", unreadable.stderr);
}

#[test]
fn check_speaks_json() {
    let dir = tempfile::tempdir().unwrap();
    let invalid = check(&write(&dir, "lb.yaml", &VALID.replace("pool: web", "pool: wep")), &["--format", "json"]);
    assert_eq!(invalid.code, Some(1));
    let verdict: serde_json::Value = serde_json::from_str(&invalid.stdout).unwrap();
    assert_eq!((&verdict["valid"], &verdict["diagnostics"][0]["line"]), (&false.into(), &3.into()), "{verdict}");
}

#[test]
fn check_host_finds_what_this_machine_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let text = VALID
        .replace("127.0.0.1:18080", &busy.local_addr().unwrap().to_string())
        .replace("pool: web }", "pool: web, tls: { certificates: [{ cert: /nowhere/a.crt, key: /nowhere/a.key }] } }")
        + &format!("log: {{ access: {}/lb.yaml/access.log }}\n", dir.path().display())
        + &format!("admin: {{ socket: {}/admin.sock }}\nmetrics: off\n", dir.path().display());
    let ran = check(&write(&dir, "lb.yaml", &text), &["--host"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    let problems: Vec<_> = ran.stdout.lines().filter(|line| line.starts_with("PROBLEM")).collect();
    assert_eq!(problems.len(), 3, "{}", ran.stdout);
    for (problem, words) in
        problems.iter().zip(["in use by another program", "/nowhere/a.crt", "lb.yaml is no directory"])
    {
        assert!(problem.contains(words), "{problem}");
    }
}

#[test]
fn check_host_says_of_secrets_what_a_start_would_say() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = VALID.replace("127.0.0.1:18080", &free.to_string()).trim_end().to_owned()
        + &format!(
            "
nodes: {{ a: {{ address: 192.0.2.1 }}, b: {{ address: 192.0.2.2 }} }}
sync: {{ secret_file: {path}/between }}
vrrp:
  v:
    interface: eth0
    vrid: 1
    addresses: [192.0.2.9/24]
    auth: {{ hmac: {{ keys: [{{ id: 1, secret_file: {path}/key }}] }} }}
admin: {{ socket: {path}/admin.sock }}
metrics: off
"
        );
    let file = write(&dir, "lb.yaml", &text);
    let said = |words: &str, what: &str| {
        let found = check(&file, &["--host", "--node", "a"]);
        assert_eq!(found.code, Some(1), "{}", found.stderr);
        let problem = found.stdout.lines().find(|line| line.starts_with("PROBLEM") && line.contains(what));
        assert!(problem.is_some_and(|line| line.contains(words)), "{}", found.stdout);
        let mut run = lb(&["run", "--node", "a", "-c"]);
        run.arg(&file);
        let ran = ran(run);
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    };
    said(&format!("cannot read the secret: {path}/key: No such file"), "virtual router v");
    std::fs::write(dir.path().join("key"), "too short\n").unwrap();
    said(&format!("cannot read the secret: {path}/key: a key has 32 to 64 bytes, not 9"), "virtual router v");
    std::fs::write(dir.path().join("key"), "\n").unwrap();
    said(&format!("cannot read the secret: {path}/key: there is nothing in it"), "virtual router v");
    std::fs::write(dir.path().join("key"), "x".repeat(64)).unwrap();
    let found = check(&file, &["--host", "--node", "a"]);
    assert!(found.stdout.contains(&format!("ok       virtual router v: {path}/key can be read")), "{}", found.stdout);
    let words = format!("cannot read `sync.secret_file`: {path}/between: No such file");
    assert!(found.stdout.contains(&words), "{}", found.stdout);
}

#[test]
fn check_host_says_what_run_would_refuse() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().display();
    let text =
        format!("nodes: {{ lb-a: {{ address: 10.0.0.2 }} }}\n{VALID}log: {{ access: {here}/none/access.log }}\n")
            + &format!("admin: {{ socket: {here}/made/admin.sock }}\nmetrics: off\n");
    let ran = check(&write(&dir, "lb.yaml", &text), &["--host"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    let problems: Vec<_> = ran.stdout.lines().filter(|line| line.starts_with("PROBLEM")).collect();
    let [node, directory] = problems[..] else { panic!("{}", ran.stdout) };
    assert!(node.contains("this host is none of lb-a"), "{node}");
    assert!(directory.contains(&format!("there is no directory {here}/none")), "{directory}");

    let file = write(&dir, "own.yaml", &format!("{VALID}admin: {{ socket: {here}/own.yaml }}\nmetrics: off\n"));
    let taken = check(&file, &["--host"]).stdout;
    assert!(taken.contains("PROBLEM  admin socket: ") && taken.contains("that is no socket"), "{taken}");
}

#[test]
fn clients_say_in_one_line_that_lb_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("admin.sock");
    let dead = dir.path().join("dead.sock");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    for (socket, words) in [(&missing, "is lb running?"), (&dead, "lb is not running")] {
        for verb in [&["status"][..], &["reload"], &["backend", "drain", "web/a"], &["explain", "http://x/"]] {
            let mut command = lb(verb);
            command.arg("--socket").arg(socket);
            let ran = ran(command);
            assert_eq!(ran.code, Some(2), "{verb:?}");
            assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
            assert!(ran.stderr.contains(words) && ran.stderr.contains(&socket.display().to_string()), "{}", ran.stderr);
        }
    }
}

#[test]
fn clients_find_the_socket_in_this_order() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("{VALID}admin: {{ socket: {}/from-file.sock }}\n", dir.path().display());
    let file = write(&dir, "lb.yaml", &text);
    let tried = |flag: Option<&str>, environment: Option<&str>| {
        let mut command = lb(&["status", "-c", file.to_str().unwrap()]);
        command.args(flag.iter().flat_map(|socket| ["--socket", socket])).envs(environment.map(|e| ("LB_SOCKET", e)));
        ran(command).stderr
    };
    assert!(tried(Some("/x/flag.sock"), Some("/x/env.sock")).contains("/x/flag.sock"));
    assert!(tried(None, Some("/x/env.sock")).contains("/x/env.sock"));
    assert!(tried(None, None).contains("from-file.sock"));
}

/// Where an edit went wrong, `lb reload` is what says so, and `lb status` goes on.
#[test]
fn clients_find_the_socket_in_a_broken_file() {
    let dir = tempfile::tempdir().unwrap();
    let valid = format!("{VALID}admin: {{ socket: '{}/from-file.sock' }}\n", dir.path().display());
    let tried = |text: &str| ran(lb(&["reload", "-c", write(&dir, "lb.yaml", text).to_str().unwrap()])).stderr;
    for broken in [valid.replace("pool: web", "pool: '${NOBODY}'"), format!("{valid}nonsense: 1\npools: {{}}\n")] {
        assert!(tried(&broken).contains("from-file.sock: is lb running?"), "{}", tried(&broken));
    }
    for unclear in [valid.replace("pool: web", "pool: [web"), valid.replace("from-file.sock", "${NOBODY}")] {
        assert!(tried(&unclear).contains("does not say where lb listens"), "{}", tried(&unclear));
    }
}

#[test]
fn run_refuses_a_broken_file_before_it_binds_anything() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("admin.sock");
    let text = format!("{VALID}admin: {{ socket: {} }}\nnonsense: 1\n", socket.display());
    let mut command = lb(&["run", "-c"]);
    command.arg(write(&dir, "lb.yaml", &text));
    let ran = ran(command);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("nonsense"), "{}", ran.stderr);
    assert!(!socket.exists());
}

#[test]
fn completions_know_every_verb() {
    for shell in ["bash", "zsh", "fish"] {
        let script = ran(lb(&["completions", shell])).stdout;
        let asks = format!("LB_COMPLETE={shell}");
        assert!(script.contains(&asks) || script.contains("LB_COMPLETE=\"zsh\""), "{script}");
        let mut asked = lb(&["--", "lb", ""]);
        asked.env("LB_COMPLETE", shell).env("_CLAP_COMPLETE_INDEX", "1").env("_CLAP_IFS", "\n");
        let answer = ran(asked).stdout;
        for verb in ["run", "check", "reload", "status", "backend", "explain", "config", "demo", "man"] {
            assert!(answer.lines().any(|line| line.starts_with(verb)), "{verb} in {shell}: {answer}");
        }
    }
}

/// As `systemctl show` would describe it; the test is root, the service is not.
const UNIT: &str = "LoadState=loaded\nUser=nobody\nProtectHome=yes\nProtectSystem=strict\nProtectKernelTunables=yes\n\
                    ReadWritePaths=-/sys/fs/bpf\nLogsDirectory=lb\nAmbientCapabilities=cap_net_admin\n";

/// With a machine on which systemd knows this unit.
fn check_under(dir: &TempDir, file: &Path) -> Ran {
    let text = format!("#!/bin/sh\ncat <<'E'\n{UNIT}E\n");
    let systemctl = write(dir, "systemctl", &text);
    fs::set_permissions(&systemctl, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    let mut command = lb(&["check", "--host"]);
    command.arg(file).env("PATH", path);
    ran(command)
}

#[test]
fn check_host_as_root_finds_what_the_service_may_not() {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("LB_TEST_REQUIRE").is_none(), "this test must run as root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let key = write(&dir, "key", &"k".repeat(40));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let path = dir.path().display();
    let text = format!(
        "nodes: {{ a: {{ address: 192.0.2.1 }}, b: {{ address: 192.0.2.2 }} }}\n\
         sync: {{ secret_file: {path}/key }}\n\
         frontends: {{ f: {{ mode: nat, listen: '192.0.2.9:80', pool: p }} }}\n\
         pools: {{ p: {{ backends: ['192.0.2.3:80'], check: {{ script: [/home/nobody/check] }} }} }}\n\
         admin: {{ socket: /run/lb-test/admin.sock }}\nmetrics: off\nlog: {{ access: /var/log/lb/access.log }}\n"
    );
    let found = check_under(&dir, &write(&dir, "lb.yaml", &text));
    assert_eq!(found.code, Some(1), "{}", found.stderr);
    let said = |words: &str| assert!(found.stdout.contains(words), "no `{words}` in:\n{}", found.stdout);
    said("ok       sync: ");
    said(&format!("PROBLEM  sync: {path}/key cannot be read by the user nobody, as whom lb.service runs lb"));
    said(&format!("fix: chgrp nobody {path}/key && chmod g+r {path}/key"));
    said("PROBLEM  pool p: /home/nobody/check is hidden from lb.service by ProtectHome=");
    said("PROBLEM  admin socket: /run/lb-test/admin.sock is on a read-only file system for lb.service");
    said("PROBLEM  lb.service: does not give CAP_BPF, CAP_PERFMON, which the file calls for");
    said("PROBLEM  lb.service: makes /sys/fs/bpf/lb read-only, where layer 4 keeps its programs");
    said("ok       access log: /var/log/lb/access.log is in a directory that lb.service makes");

    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let found = check_under(&dir, &dir.path().join("lb.yaml"));
    assert!(found.stdout.contains(&format!("fix: chgrp nobody {path} && chmod g+x {path}")), "{}", found.stdout);
}

#[test]
fn there_is_a_man_page_for_every_verb() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = lb(&["man"]);
    command.arg(dir.path());
    assert_eq!(ran(command).code, Some(0));
    for page in ["lb.1", "lb-run.1", "lb-check.1", "lb-backend.1", "lb-config.1", "lb-config-diff.1", "lb-demo.1"] {
        let text = fs::read_to_string(dir.path().join(page)).unwrap();
        assert!(text.contains(".SH SYNOPSIS"), "{page}");
    }
    let run = fs::read_to_string(dir.path().join("lb-run.1")).unwrap();
    assert!(run.contains("EXIT CODES") && run.contains("SIGHUP"));
}

#[test]
fn there_is_a_man_page_for_the_file() {
    let ran = ran(lb(&["man", "--config"]));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.starts_with(".TH lb.yaml 5 "), "{}", ran.stdout);
    assert!(ran.stdout.contains(".SS pools.NAME.check\n"), "{}", ran.stdout);
}

#[test]
fn the_schema_is_json() {
    let schema: serde_json::Value = serde_json::from_str(&ran(lb(&["config", "schema"])).stdout).unwrap();
    assert!(schema["properties"]["frontends"].is_object());
}

#[test]
fn what_show_prints_is_a_valid_file_that_differs_in_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(&dir, "lb.yaml", VALID);
    let mut show = lb(&["config", "show"]);
    show.arg(&file);
    let shown = ran(show);
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    let again = write(&dir, "shown.yaml", &shown.stdout);
    let mut diff = lb(&["config", "diff", "--from"]);
    diff.arg(&file).arg(&again);
    assert_eq!(ran(diff).stdout, "nothing would change\n");
}

#[test]
fn diff_of_two_files_names_what_differs() {
    let dir = tempfile::tempdir().unwrap();
    let old = write(&dir, "old.yaml", VALID);
    let new = write(&dir, "new.yaml", &VALID.replace("[127.0.0.1:8080]", "[127.0.0.1:8080, 127.0.0.1:8081]"));
    let mut diff = lb(&["config", "diff", "--from"]);
    diff.arg(&old).arg(&new);
    let ran = ran(diff);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("127.0.0.1:8081") && !ran.stdout.contains("127.0.0.1:8080"), "{}", ran.stdout);
}

#[test]
fn doctor_names_what_is_wrong_and_what_to_do() {
    let dir = TempDir::new().unwrap();
    let text = "frontends: { f: { mode: dr, listen: '203.0.113.10:443', pool: p } }\n\
                pools: { p: { backends: ['10.0.0.1:443'] } }\nmetrics: off\n";
    let file = write(&dir, "lb.yaml", text);
    let ran = ran(lb(&["doctor", file.to_str().unwrap()]));
    assert!(ran.stdout.contains("frontend f"), "{}", ran.stdout);
    assert!(ran.stdout.contains("fix: on each backend: lb-real-server start 203.0.113.10"), "{}", ran.stdout);
}

#[test]
fn doctor_looks_at_a_backend_too() {
    let ran = ran(lb(&["doctor", "--real-server", "203.0.113.99", "--format", "json"]));
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    assert!(ran.stdout.contains("is missing: packets for it are not accepted"), "{}", ran.stdout);
}
