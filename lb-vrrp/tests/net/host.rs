//! Hosts: network namespaces without a name, which vanish with the last descriptor of them.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};

/// A host at the other end of a wire.
pub struct Host(File);

/// Runs a test on a host of its own, whose `eth0` is wired to `eth0` of the host that it gets.
pub fn on_a_wire(test: impl FnOnce(Host) + Send) {
    on_new_host(|| {
        let peer = Host::new();
        ip(&format!("link add eth0 type veth peer name eth0 netns {}", peer.path()));
        peer.enter(|| quiet("eth0"));
        quiet("eth0");
        test(peer);
    });
}

/// Runs a test on a host of its own.
pub fn on_new_host(test: impl FnOnce() + Send) {
    let inside = || {
        if let Err(errno) = unshare(CloneFlags::CLONE_NEWNET) {
            assert!(std::env::var_os("LB_TEST_REQUIRE").is_none(), "this test needs root: {errno}");
            return eprintln!("skipped: it takes root to make network namespaces ({errno})");
        }
        ip("link set lo up");
        test();
    };
    thread::scope(|scope| {
        if let Err(panic) = scope.spawn(inside).join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Up, and without a wait for duplicate addresses.
fn quiet(interface: &str) {
    sysctl(&format!("ipv6/conf/{interface}/accept_dad"), "0");
    ip(&format!("link set {interface} up"));
}

impl Host {
    fn new() -> Self {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            ip("link set lo up");
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        Self(made.join().unwrap())
    }

    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Sockets and threads that are made there stay there.
    pub fn enter<T: Send>(&self, task: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            setns(&self.0, CloneFlags::CLONE_NEWNET).unwrap();
            task()
        };
        thread::scope(|scope| match scope.spawn(inside).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }
}

/// Runs `ip` with these words on the host of the thread.
pub fn ip(words: &str) -> String {
    run(&format!("ip {words}"))
}

/// Runs a line of words, which must succeed; its standard output.
pub fn run(line: &str) -> String {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// `key` is below /proc/sys/net, which shows the host of whoever looks.
pub fn sysctl(key: &str, value: &str) {
    std::fs::write(format!("/proc/sys/net/{key}"), value).unwrap();
}

/// Asks again until there is an answer.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "no {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
