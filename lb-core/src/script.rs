//! A program of the operator's own, run without a shell. Whoever drops a run that has not ended kills the program, and
//! everything that it has started.

use std::fmt;
use std::io;
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

/// Kept of what it says, for the log.
const LONGEST_LINE: usize = 200;

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    /// The first line that it wrote, to standard output or standard error; may be empty.
    pub said: String,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.status.fmt(f)?;
        if self.said.is_empty() { Ok(()) } else { write!(f, ": {}", self.said) }
    }
}

/// Runs a program with its arguments, and more in its environment than this process has. It has no time limit.
pub async fn run(command: &[String], environment: &[(&str, String)]) -> io::Result<Ended> {
    let (command, output) = prepare(command, environment)?;
    let mut running = Running::start(command)?;
    let (status, said) = running.finish(output).await?;
    Ok(Ended { status, said })
}

fn prepare(words: &[String], environment: &[(&str, String)]) -> io::Result<(Command, pipe::Receiver)> {
    let (reader, writer) = io::pipe()?;
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .kill_on_drop(true);
    Ok((command, pipe::Receiver::from_owned_fd(reader.into())?))
}

struct Running {
    child: Child,
    group: Option<Pid>,
}

impl Running {
    /// `command` starts a process group of its own.
    fn start(mut command: Command) -> io::Result<Self> {
        let child = command.spawn()?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        Ok(Self { child, group })
    }

    /// Its exit, and the first line that it wrote. Not the end of its output: what it left running in
    /// the background may hold that open.
    async fn finish(&mut self, mut output: pipe::Receiver) -> io::Result<(ExitStatus, String)> {
        let (mut said, mut buffer, mut open) = (Vec::new(), [0; 1024], true);
        let status = loop {
            tokio::select! {
                biased;
                read = output.read(&mut buffer), if open => match read {
                    Ok(0) | Err(_) => open = false,
                    Ok(n) => keep(&mut said, &buffer[..n]),
                },
                status = self.child.wait() => break status?,
            }
        };
        // Its process id may be somebody else's from now on.
        self.group = None;
        if let Ok(n) = output.try_read(&mut buffer) {
            keep(&mut said, &buffer[..n]);
        }
        Ok((status, first_line(&said)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // It may have ended by itself a moment ago.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

fn keep(said: &mut Vec<u8>, more: &[u8]) {
    said.extend_from_slice(&more[..more.len().min(LONGEST_LINE - said.len())]);
}

fn first_line(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
}
