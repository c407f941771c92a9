//! Programs on a host.

use std::process::{Child, Command, Stdio};

use super::Space;

/// Killed when dropped.
pub struct Running(Child);

impl Running {
    pub fn start(mut command: Command) -> Running {
        Running(command.stdout(Stdio::null()).spawn().unwrap())
    }

    /// A line of words on a host.
    pub fn start_with(host: &Space, line: &str) -> Running {
        let mut words = line.split_whitespace();
        let mut command = host.command(words.next().unwrap());
        command.args(words);
        Running::start(command)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
