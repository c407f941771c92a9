//! How a verb ends.

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::admin::client::Refused;

/// It was understood and tried, and did not come out: exit code 1.
#[derive(Debug)]
pub struct Failed(anyhow::Error);

/// What was wrong has been printed already; only the code is left to give.
#[derive(Debug, thiserror::Error)]
#[error("exit code {0}")]
pub struct Silent(pub u8);

impl Failed {
    pub fn new(why: impl Into<String>) -> Self {
        Self(anyhow::Error::msg(why.into()))
    }
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        Self(error)
    }
}

impl Display for Failed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:#}", self.0)
    }
}

impl std::error::Error for Failed {}

/// To standard output. A reader that has seen enough (`| head`) is no error.
pub fn print(text: impl Display) -> Result<()> {
    match write!(io::stdout(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Silent(0).into()),
        result => result.context("cannot write to standard output"),
    }
}

/// Prints what went wrong as one line, and picks the exit code that the help promises.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if let Some(Silent(code)) = error.downcast_ref() {
        return ExitCode::from(*code);
    }
    eprintln!("lb: {error:#}");
    let refused = error.is::<Failed>() || error.is::<Refused>();
    ExitCode::from(if refused { 1 } else { 2 })
}
