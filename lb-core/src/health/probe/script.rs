//! A program of the operator's own; exit code 0 is success.

use std::io;
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

use super::{Doing, Found, fail, io_outcome};
use crate::config::ScriptProbe;
use crate::health::target::Target;
use crate::health::{FailureReason, Outcome};

/// Kept of what it says, for the log.
const LONGEST_LINE: usize = 200;

pub async fn probe(target: &Target, probe: &ScriptProbe, doing: &Doing) -> Found {
    doing.now("the script");
    let failed = |error: io::Error| io_outcome(FailureReason::Exit, "script", &error);
    let (command, output) = command(target, probe).map_err(failed)?;
    let mut script = Running::start(command).map_err(failed)?;
    let (status, said) = script.finish(output).await.map_err(failed)?;
    let text = if said.is_empty() { status.to_string() } else { format!("{status}: {said}") };
    if status.success() { Ok(Outcome::success(text)) } else { fail(FailureReason::Exit, text) }
}

fn command(target: &Target, probe: &ScriptProbe) -> io::Result<(Command, pipe::Receiver)> {
    let (reader, writer) = io::pipe()?;
    let (program, arguments) = probe.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let address = target.address();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("LB_POOL", &*target.backend.pool)
        .env("LB_BACKEND", &*target.backend.config.name)
        .env("LB_ADDRESS", address.ip().to_string())
        .env("LB_PORT", address.port().to_string())
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .kill_on_drop(true);
    Ok((command, pipe::Receiver::from_owned_fd(reader.into())?))
}

/// A script and all that it started; whoever drops it before its end kills the whole group.
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
