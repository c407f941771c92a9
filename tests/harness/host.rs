//! Hosts that run lb.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::thread;

use super::{Space, UNTIL_THE_TEST_ENDS};

/// A host with mounts of its own: a /sys that shows it, a bpf file system, and room in [`super::SCRATCH`].
pub struct Host {
    pub space: Space,
    mounts: File,
}

impl Host {
    pub fn new(name: &'static str) -> Host {
        let made = thread::spawn(move || {
            let space = Space::move_to(name);
            Host { space, mounts: File::open("/proc/thread-self/ns/mnt").unwrap() }
        });
        made.join().unwrap()
    }

    /// What makes a program run on this host, with these variables, until the thread of the test ends.
    pub fn wrapper(&self, variables: &[String]) -> Vec<String> {
        let mounts = format!("--mount=/proc/{}/fd/{}", std::process::id(), self.mounts.as_raw_fd());
        let enter = ["nsenter".to_owned(), format!("--net={}", self.space.path()), mounts];
        let until = UNTIL_THE_TEST_ENDS.map(str::to_owned);
        enter.into_iter().chain(until).chain(["env".to_owned()]).chain(variables.iter().cloned()).collect()
    }

    pub fn command(&self, program: &str, variables: &[String]) -> Command {
        let wrapper = self.wrapper(variables);
        let mut command = Command::new(&wrapper[0]);
        command.args(&wrapper[1..]).arg(program).stdin(Stdio::null());
        command
    }
}
