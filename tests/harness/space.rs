//! Hosts: network namespaces without a name, which vanish with the last process and descriptor in them,
//! so that a killed test leaves nothing behind.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

use nix::ifaddrs::getifaddrs;
use nix::mount::{MsFlags, mount};
use nix::net::if_::InterfaceFlags;
use nix::sched::{CloneFlags, setns, unshare};

use crate::shared::eventually;

pub struct Space {
    pub name: &'static str,
    file: File,
}

impl Space {
    /// A host with nothing but a loopback interface.
    pub fn new(name: &'static str) -> Space {
        let made = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            Space::here(name)
        });
        let space = made.join().unwrap();
        space.set_up();
        space
    }

    /// A new host on which the calling thread stands from now on, with a /sys and a bpf file system of its own,
    /// and room for large files in [`SCRATCH`].
    pub fn move_to(name: &'static str) -> Space {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
        let nothing = None::<&str>;
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).unwrap();
        mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), nothing).unwrap();
        mount(Some("bpf"), "/sys/fs/bpf", Some("bpf"), MsFlags::empty(), nothing).unwrap();
        mount(Some("tmpfs"), SCRATCH, Some("tmpfs"), MsFlags::empty(), nothing).unwrap();
        let space = Space::here(name);
        space.set_up();
        space
    }

    fn here(name: &'static str) -> Space {
        Space { name, file: File::open("/proc/thread-self/ns/net").unwrap() }
    }

    /// No wait for duplicate addresses, nothing filtered, every ICMP error sent.
    fn set_up(&self) {
        self.ip("link set lo up");
        for family in ["all", "default"] {
            self.sysctl(&format!("ipv6/conf/{family}/accept_dad"), "0");
            self.sysctl(&format!("ipv4/conf/{family}/rp_filter"), "0");
            self.sysctl(&format!("ipv4/conf/{family}/send_redirects"), "0");
        }
        self.sysctl("ipv4/icmp_ratelimit", "0");
        self.sysctl("ipv6/icmp/ratelimit", "0");
    }

    /// Runs a part of the test on this host. Threads and sockets that it makes stay there.
    pub fn enter<T: Send>(&self, task: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            setns(&self.file, CloneFlags::CLONE_NEWNET).unwrap();
            task()
        };
        thread::scope(|scope| match scope.spawn(inside).join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// A program on this host, which ends with the thread of the test that starts it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path())).args(UNTIL_THE_TEST_ENDS).arg(program);
        command.stdin(Stdio::null()).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// Runs a line of words to its end.
    pub fn try_run(&self, line: &str) -> Output {
        let mut words = line.split_whitespace();
        self.command(words.next().unwrap()).args(words).output().unwrap()
    }

    /// The same where it must succeed; its standard output.
    pub fn run(&self, line: &str) -> String {
        let output = self.try_run(line);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{}: {line}: {}\n{out}{err}", self.name, output.status);
        out.into_owned()
    }

    /// Waits for the kernel's worker to see that the other end is up too: until then what is sent is lost.
    pub fn comes_up(&self, interface: &str) {
        let running = || {
            let mut ends = getifaddrs().unwrap().filter(|end| end.interface_name == interface);
            ends.any(|end| end.flags.contains(InterfaceFlags::IFF_RUNNING))
        };
        self.enter(|| eventually(&format!("{}: {interface} is not up", self.name), running));
    }

    /// Waits for an answer to a ping.
    pub fn reaches(&self, address: &str) {
        let ping = format!("ping -c 1 -W 1 {address}");
        eventually(&format!("{}: no answer from {address}", self.name), || self.try_run(&ping).status.success());
    }

    /// Lines for `ip`, without that word.
    pub fn ip(&self, lines: &str) {
        let mut child = self.command("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{}: ip refuses a line of\n{lines}", self.name);
    }

    /// Rules as `nft -f` reads them.
    pub fn nft(&self, rules: &str) {
        let mut child = self.command("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{}: nft refuses\n{rules}", self.name);
    }

    /// The MAC address of an interface.
    pub fn mac(&self, interface: &str) -> String {
        let line = self.run(&format!("ip -br link show {interface}"));
        line.split_whitespace().nth(2).unwrap().to_owned()
    }

    /// Does the kernel have a MAC address for this one?
    pub fn knows(&self, address: &str, interface: &str) -> bool {
        self.run(&format!("ip neigh show {address} dev {interface}")).contains("lladdr")
    }

    /// `key` is below /proc/sys/net, which shows the host of whoever looks.
    pub fn sysctl(&self, key: &str, value: &str) {
        let path = Path::new("/proc/sys/net").join(key);
        self.enter(|| std::fs::write(&path, value).unwrap_or_else(|e| panic!("{}: {e}", path.display())));
    }

    /// Frames that have come in by an interface.
    pub fn received(&self, interface: &str) -> u64 {
        let shown: serde_json::Value =
            serde_json::from_str(&self.run(&format!("ip -j -s link show {interface}"))).unwrap();
        shown[0]["stats64"]["rx"]["packets"].as_u64().unwrap()
    }

    /// For programs that ask for a host by its file.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }
}

/// Of the test alone; gone with it, even when it is killed.
pub const SCRATCH: &str = "/mnt";

/// What a program is started with to be killed when the thread of the test is gone.
pub const UNTIL_THE_TEST_ENDS: [&str; 4] = ["setpriv", "--pdeathsig", "KILL", "--"];

impl AsRef<Space> for Space {
    fn as_ref(&self) -> &Space {
        self
    }
}
