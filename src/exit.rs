//! How a verb ends.

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::admin::client::Refused;
use crate::journal;

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
        out.write_str(&words(&self.0))
    }
}

impl std::error::Error for Failed {}

/// An error and its causes in one line, each told once, though some errors quote their cause themselves.
pub fn words(error: &anyhow::Error) -> String {
    let mut words = String::new();
    for cause in error.chain().map(ToString::to_string).filter(|cause| !cause.is_empty()) {
        if words.is_empty() {
            words = cause;
        } else if !words.ends_with(&cause) {
            words = format!("{words}: {cause}");
        }
    }
    words
}

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
    journal::error(format_args!("lb: {}", words(error)));
    let refused = error.is::<Failed>() || error.is::<Refused>();
    ExitCode::from(if refused { 1 } else { 2 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot listen: {source}")]
    struct Quoting {
        source: io::Error,
    }

    #[test]
    fn a_cause_is_told_once() {
        let quoting = anyhow::Error::from(Quoting { source: io::Error::other("port taken") });
        assert_eq!(words(&quoting), "cannot listen: port taken");
        let plain = anyhow::Error::from(io::Error::other("port taken")).context("cannot listen");
        assert_eq!(words(&plain), "cannot listen: port taken");
    }
}
