//! What was found out about this machine, one line each.

use std::fmt::{self, Display};

use serde::Serialize;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    severity: Severity,
    what: String,
    message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Ok,
    Warning,
    Problem,
}

/// About one thing: fine, or why not.
pub type Result = std::result::Result<String, (Severity, String)>;

pub fn problem(why: impl Display) -> (Severity, String) {
    (Severity::Problem, why.to_string())
}

pub fn warning(why: impl Display) -> (Severity, String) {
    (Severity::Warning, why.to_string())
}

pub fn finding(what: impl Into<String>, result: Result) -> Finding {
    let (severity, message) = match result {
        Ok(message) => (Severity::Ok, message),
        Err((severity, message)) => (severity, message),
    };
    Finding { severity, what: what.into(), message, fix: None }
}

impl Finding {
    /// Where all is well there is nothing to fix.
    pub fn or_fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = (self.severity != Severity::Ok).then(|| fix.into());
        self
    }

    pub fn is_problem(&self) -> bool {
        self.severity == Severity::Problem
    }

    #[cfg(test)]
    pub fn severity(&self) -> Severity {
        self.severity
    }
}

impl Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.severity {
            Severity::Ok => "ok",
            Severity::Warning => "warning",
            Severity::Problem => "PROBLEM",
        };
        write!(out, "{mark:<8} {}: {}", self.what, self.message)?;
        for line in self.fix.iter().flat_map(|fix| fix.lines()) {
            write!(out, "\n         fix: {line}")?;
        }
        Ok(())
    }
}
