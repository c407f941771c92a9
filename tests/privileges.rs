//! What lb may do once it runs as an ordinary user. Needs root to become one, and setpriv.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const NOBODY: u32 = 65_534;
/// 1 << CAP_NET_BIND_SERVICE
const BIND_SERVICE: u64 = 1 << 10;

fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    assert!(root || std::env::var_os("LB_TEST_REQUIRE").is_none(), "this test needs root");
    if !root {
        eprintln!("skipped: it takes root to become another user");
    }
    root
}

/// Lives in a directory that anybody may enter, since the build's own may be closed to others.
fn lb_as_nobody(dir: &Path, capabilities: &str) -> Command {
    fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap();
    chown(dir, Some(NOBODY), None).unwrap();
    let program = dir.join("lb");
    fs::copy(env!("CARGO_BIN_EXE_lb"), &program).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.args([format!("--inh-caps={capabilities}"), format!("--ambient-caps={capabilities}")]);
    command.arg(program).args(["run", "-c"]).arg(dir.join("lb.yaml"));
    command
}

fn write_config(dir: &Path) {
    let port = (600..1024).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap();
    let text = format!(
        "frontends: {{ web: {{ mode: http, listen: 127.0.0.1:{port}, pool: web }} }}
pools: {{ web: {{ backends: [127.0.0.1:1] }} }}
metrics: off
admin: {{ socket: {}/admin.sock }}
",
        dir.display()
    );
    fs::write(dir.join("lb.yaml"), text).unwrap();
}

fn wait_until_it_serves(child: &mut Child) {
    let log = BufReader::new(child.stderr.take().unwrap());
    assert!(log.lines().map(Result::unwrap).any(|line| line.contains("serving version")));
}

/// The capability sets of every thread, by name.
fn capabilities(pid: u32) -> Vec<(String, u64)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let statuses = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("status")).unwrap());
    let parse = |line: &str| {
        let (name, bits) = line.split_once(":\t").filter(|(name, _)| name.starts_with("Cap"))?;
        Some((name.to_owned(), u64::from_str_radix(bits, 16).unwrap()))
    };
    statuses.flat_map(|status| status.lines().filter_map(parse).collect::<Vec<_>>()).collect()
}

#[test]
fn it_keeps_the_one_capability_that_a_reload_may_need() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    write_config(dir.path());
    let mut child =
        lb_as_nobody(dir.path(), "+net_bind_service,+net_raw,+chown").stderr(Stdio::piped()).spawn().unwrap();
    wait_until_it_serves(&mut child);
    let found = capabilities(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(found.len() >= 4 * 3, "several threads");
    for (set, bits) in found {
        match set.as_str() {
            "CapPrm" | "CapEff" => assert_eq!(bits, BIND_SERVICE, "{set}"),
            "CapInh" | "CapAmb" => assert_eq!(bits, 0, "{set}: a script would inherit it"),
            _ => {}
        }
    }
}

#[test]
fn a_low_port_without_the_capability_is_a_clear_error() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    write_config(dir.path());
    let output = lb_as_nobody(dir.path(), "-all").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert_eq!(text.matches("Permission denied").count(), 1, "{text}");
}

/// 1 << CAP_NET_ADMIN | 1 << CAP_NET_RAW
const VRRP: u64 = 1 << 12 | 1 << 13;

/// In a network namespace of its own.
#[test]
fn virtual_routers_need_two_capabilities_and_no_more() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "nodes: {{ a: {{ address: 10.9.9.1, priority: 255 }}, b: {{ address: 10.9.9.2 }} }}
vrrp: {{ v: {{ interface: lo, vrid: 1, addresses: [192.0.2.1/32] }} }}
frontends: {{ web: {{ mode: http, listen: 192.0.2.1:600, pool: web }} }}
pools: {{ web: {{ backends: [127.0.0.1:1] }} }}
metrics: off
admin: {{ socket: {}/admin.sock }}
",
        dir.path().display()
    );
    fs::write(dir.path().join("lb.yaml"), text).unwrap();
    let lb = lb_as_nobody(dir.path(), "+net_bind_service,+net_raw,+net_admin,+sys_chroot");
    let mut command = Command::new("unshare");
    command.args([
        "--net",
        "--",
        "sh",
        "-c",
        "ip link set lo up && ip address add 10.9.9.1/24 dev lo && exec \"$@\"",
        "sh",
    ]);
    let mut child =
        command.arg(lb.get_program()).args(lb.get_args()).env("LB_NODE", "a").stderr(Stdio::piped()).spawn().unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let lines: Vec<String> = until(log.lines().map(Result::unwrap), |line| line.contains("v is active"));
    let found = capabilities(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    // It serves without the limits that would make it punctual, and says which.
    let warns = |line: &&String| line.contains("WARN") && !line.contains("sync.secret_file");
    let warnings: Vec<_> = lines.iter().filter(warns).collect();
    assert!(warnings.iter().all(|line| line.contains("LimitRTPRIO") || line.contains("LimitMEMLOCK")), "{lines:?}");
    for (set, bits) in found {
        match set.as_str() {
            "CapPrm" | "CapEff" => assert_eq!(bits, BIND_SERVICE | VRRP, "{set}"),
            "CapInh" | "CapAmb" => assert_eq!(bits, 0, "{set}: a script would inherit it"),
            _ => {}
        }
    }
}

/// What comes, to the first that is meant.
fn until(lines: impl Iterator<Item = String>, is_last: impl Fn(&str) -> bool) -> Vec<String> {
    let mut seen = Vec::new();
    for line in lines {
        let is_last = is_last(&line);
        seen.push(line);
        if is_last {
            return seen;
        }
    }
    panic!("lb ended: {seen:?}");
}

fn write_layer4(dir: &Path) {
    let text = format!(
        "frontends: {{ web: {{ mode: nat, listen: 127.0.0.1:600, pool: web }} }}
pools: {{ web: {{ backends: ['127.0.0.2:600'] }} }}
l4: {{ attach: tc, interfaces: [lo] }}
metrics: off
admin: {{ socket: {}/admin.sock }}
",
        dir.display()
    );
    fs::write(dir.join("lb.yaml"), text).unwrap();
}

/// The kernel itself says no; which capability it is for want of, lb knows.
#[test]
fn layer_4_names_the_capability_that_is_missing() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    write_layer4(dir.path());
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let all = [("net_admin", "CAP_NET_ADMIN"), ("bpf", "CAP_BPF"), ("perfmon", "CAP_PERFMON")];
    for (lacking, name) in all {
        let others: Vec<_> = all.iter().filter(|(c, _)| *c != lacking).map(|(c, _)| format!("+{c}")).collect();
        let lb = lb_as_nobody(dir.path(), &others.join(","));
        let mut command = Command::new(lb.get_program());
        command.args(lb.get_args().take_while(|argument| *argument != "run")).args(["check", "--host"]);
        let output = command.arg(dir.path().join("lb.yaml")).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find(|line| line.contains("layer 4: programs")).unwrap_or_else(|| panic!("{text}"));
        assert!(line.starts_with("warning") && line.contains(&format!("lacks {name};")), "{line}");
        assert!(line.contains(release.trim()), "{line}");
    }
}

/// In a mount namespace of its own, where nobody may mount one.
#[test]
fn layer_4_without_a_bpffs_says_how_to_get_one() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    write_layer4(dir.path());
    let lb = lb_as_nobody(dir.path(), "+net_bind_service,+net_admin,+bpf,+perfmon");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--", "sh", "-c"]);
    command.args(["umount -l /sys/fs/bpf; mount -t tmpfs none /sys/fs/bpf && exec \"$@\"", "sh"]);
    let output = command.arg(lb.get_program()).args(lb.get_args()).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && text.contains("mount -t bpf bpf /sys/fs/bpf"), "{text}");
}
