use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Child;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::hosts::Space;
use crate::shared::poll;

/// A daemon on a host, with all processes that it starts. Killed when dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// What it prints goes to `log`, behind what is there.
    pub fn start(host: &Space, line: &str, log: &Path) -> Process {
        let mut words = line.split_whitespace();
        let mut command = host.command(words.next().unwrap());
        let output = File::options().create(true).append(true).open(log).unwrap();
        command.args(words).stdout(output.try_clone().unwrap()).stderr(output).process_group(0);
        Process { child: command.spawn().unwrap(), log: log.to_owned() }
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// Ends as its own signal handlers have it.
    pub fn stop(mut self) {
        let pid = Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
        poll("a daemon ends", || self.child.try_wait().unwrap());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("---- {} ----\n{}", self.log.display(), self.log());
        }
    }
}
