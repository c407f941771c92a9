//! The Debian package and `make install`: what is in them, wherever cargo builds.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A directory that cargo would have built into.
fn built() -> TempDir {
    let target = tempfile::tempdir().unwrap();
    fs::create_dir(target.path().join("release")).unwrap();
    symlink(env!("CARGO_BIN_EXE_lb"), target.path().join("release/lb")).unwrap();
    target
}

fn run(target: &Path, program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).env("CARGO_TARGET_DIR", target).env("DPKG_DEB_COMPRESSOR_TYPE", "gzip");
    command.output().unwrap_or_else(|error| panic!("{program}: {error}"))
}

fn must(target: &Path, program: &str, arguments: &[&str]) -> String {
    let output = run(target, program, arguments);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Of this name, and whether the machine has what they need: the whole suite must have it.
fn has(program: &str) -> bool {
    let is_there = Command::new(program).arg("--version").output().is_ok();
    assert!(is_there || std::env::var_os("LB_TEST_REQUIRE").is_none(), "{program} is not installed");
    is_there
}

#[test]
fn every_target_of_make_looks_where_cargo_builds() {
    let target = built();
    let at = target.path().display().to_string();
    assert!(must(target.path(), "make", &["-n", "demo"]).contains(&format!("{at}/release/lb demo")));
    let deb = fs::read_to_string("deploy/debian/build").unwrap();
    assert!(deb.contains("${CARGO_TARGET_DIR:-target}"), "make deb");
    for (file, only) in [("Makefile", "$(or $(CARGO_TARGET_DIR),target)"), (".ci/test", "${CARGO_TARGET_DIR:-target}")]
    {
        let text = fs::read_to_string(file).unwrap();
        let elsewhere: Vec<_> = text
            .lines()
            .filter(|line| line.contains("target/release") || line.contains("target/debug"))
            .filter(|line| !line.contains("## ") && !line.contains(only))
            .collect();
        assert!(elsewhere.is_empty(), "{file}: {elsewhere:#?}");
    }
}

#[test]
fn make_install_installs_everything_and_keeps_what_stands_in_etc() {
    let (target, root) = (built(), tempfile::tempdir().unwrap());
    let destination = format!("DESTDIR={}", root.path().display());
    let there = |path: &str| root.path().join(path);
    fs::create_dir_all(there("etc/default")).unwrap();
    fs::write(there("etc/default/lb"), "LB_NODE=mine\n").unwrap();
    must(target.path(), "make", &["install", &destination]);
    for file in [
        "usr/local/bin/lb",
        "usr/local/sbin/lb-real-server",
        "usr/local/share/man/man1/lb-run.1",
        "usr/local/share/man/man5/lb.yaml.5",
        "usr/local/share/man/man8/lb-real-server.8",
        "usr/local/share/bash-completion/completions/lb",
        "usr/local/share/zsh/site-functions/_lb",
        "usr/local/share/fish/vendor_completions.d/lb.fish",
        "etc/logrotate.d/lb",
        "etc/default/lb-real-server",
    ] {
        assert!(there(file).is_file(), "{file}");
    }
    assert_eq!(fs::read_to_string(there("etc/default/lb")).unwrap(), "LB_NODE=mine\n");
    for (unit, program) in [("lb", "/usr/local/bin/lb run"), ("lb-real-server", "/usr/local/sbin/lb-real-server start")]
    {
        let text = fs::read_to_string(there(&format!("usr/local/lib/systemd/system/{unit}.service"))).unwrap();
        assert!(text.contains(&format!("ExecStart={program}")), "{text}");
    }
    let nothing = tempfile::tempdir().unwrap();
    let missing = run(nothing.path(), "make", &["install", &destination]);
    assert!(String::from_utf8(missing.stderr).unwrap().contains("make build"));
}

fn package(target: &Path) -> Option<PathBuf> {
    if !has("dpkg-shlibdeps") {
        return None;
    }
    Some(PathBuf::from(must(target, "deploy/debian/build", &[]).trim()))
}

#[test]
fn the_package_has_what_debian_expects() {
    let target = built();
    let Some(package) = package(target.path()) else { return };
    assert!(package.starts_with(target.path().join("debian")), "{}", package.display());
    let path = package.to_str().unwrap();
    let list = must(target.path(), "dpkg-deb", &["--contents", path]);
    for file in [
        "./usr/bin/lb",
        "./usr/sbin/lb-real-server",
        "./usr/lib/systemd/system/lb.service",
        "./usr/lib/sysusers.d/lb.conf",
        "./usr/share/man/man8/lb-real-server.8.gz",
        "./usr/share/doc/lb/examples/pair.yaml",
        "./usr/share/doc/lb/copyright",
    ] {
        assert!(list.lines().any(|line| line.ends_with(file) && line.contains("root/root")), "{file} in\n{list}");
    }
    assert!(!list.contains("/usr/local"), "{list}");
    let field = |name| must(target.path(), "dpkg-deb", &["--field", path, name]);
    let depends = field("Depends");
    assert!(["libc6 ", "libgcc-s1 ", "systemd"].iter().all(|package| depends.contains(package)), "{depends}");
    assert!(field("Maintainer").contains('@') && !field("Maintainer").contains("localhost"));
    assert!(field("Homepage").starts_with("https://"));
    let control = must(target.path(), "dpkg-deb", &["--info", path, "conffiles"]);
    assert_eq!(control, "/etc/default/lb\n/etc/default/lb-real-server\n/etc/logrotate.d/lb\n");
    if has("lintian") {
        let output = run(target.path(), "lintian", &["--allow-root", "--fail-on", "error", path]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn the_log_is_rotated_as_the_user_who_writes_it() {
    let text = fs::read_to_string("deploy/etc/lb.logrotate").unwrap();
    assert!(text.contains("su lb lb") && text.contains("-s USR1 lb.service"), "{text}");
    if !has("/usr/sbin/logrotate") || !nix::unistd::geteuid().is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let logs = dir.path().join("logs");
    fs::create_dir(&logs).unwrap();
    let (uid, gid) = (nix::unistd::Uid::from_raw(65534), nix::unistd::Gid::from_raw(65534));
    for path in [dir.path(), &logs] {
        nix::unistd::chown(path, Some(uid), Some(gid)).unwrap();
    }
    fs::write(logs.join("access.log"), "a line\n").unwrap();
    nix::unistd::chown(&logs.join("access.log"), Some(uid), Some(gid)).unwrap();
    // The user and the directory are the test's, and there is no service to tell.
    let text = text.replace("/var/log/lb", logs.to_str().unwrap()).replace(" lb lb", " nobody nogroup");
    let told = dir.path().join("told");
    let text = text.replace("systemctl -q is-active lb.service", "true");
    let text = text.replace("systemctl kill --kill-who=main -s USR1 lb.service", &format!("touch {}", told.display()));
    let file = dir.path().join("logrotate");
    fs::write(&file, text).unwrap();
    let state = dir.path().join("state");
    must(dir.path(), "/usr/sbin/logrotate", &["--force", "--state", state.to_str().unwrap(), file.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(logs.join("access.log.1")).unwrap(), "a line\n");
    assert_eq!(fs::read_to_string(logs.join("access.log")).unwrap(), "");
    assert!(told.exists(), "lb is told to open it anew");
}
