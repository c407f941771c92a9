//! `lb check`: is this file right, and (`--host`) can this machine serve it?

use std::path::Path;

use anyhow::{Context, Result};
use lb_core::config::{Config, Diagnostics, LoadError, Loaded};
use serde::Serialize;

use crate::cli::{self, Format};
use crate::environment;
use crate::exit::{Silent, print};
use crate::journal;
use crate::verbs::finding::Finding;
use crate::verbs::host;

/// The whole answer, as `--format json` prints it.
#[derive(Serialize)]
struct Verdict<'a> {
    valid: bool,
    diagnostics: &'a Diagnostics,
    /// Only with `--host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a [Finding]>,
}

pub fn check(args: &cli::Check) -> Result<()> {
    match environment::load(&args.file, &args.this) {
        Ok(loaded) => valid(args, &loaded),
        Err(LoadError::Invalid(diagnostics)) => {
            match args.format {
                Format::Text => journal::error(format_args!("{diagnostics}\n\n{} is not valid", args.file.display())),
                Format::Json => json(&Verdict { valid: false, diagnostics: &diagnostics, host: None })?,
            }
            Err(Silent(1).into())
        }
        Err(unreadable) => Err(unreadable).with_context(|| args.file.display().to_string()),
    }
}

fn valid(args: &cli::Check, loaded: &Loaded) -> Result<()> {
    let findings = args.host.then(|| host::examine(&loaded.config, &args.file));
    match args.format {
        Format::Text => text(&args.file, loaded, findings.as_deref().unwrap_or_default())?,
        Format::Json => json(&Verdict { valid: true, diagnostics: &loaded.warnings, host: findings.as_deref() })?,
    }
    if findings.iter().flatten().any(Finding::is_problem) { Err(Silent(1).into()) } else { Ok(()) }
}

fn text(file: &Path, loaded: &Loaded, findings: &[Finding]) -> Result<()> {
    if !loaded.warnings.is_empty() {
        journal::warning(&loaded.warnings);
    }
    let findings: String = findings.iter().map(|f| format!("{f}\n")).collect();
    print(format_args!("{} is valid: {}\n{findings}", file.display(), contents(&loaded.config)))
}

fn contents(config: &Config) -> String {
    let backends: usize = config.pools.iter().map(|p| p.backends.len() + p.backup.len()).sum();
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let parts =
        [count(config.frontends.len(), "frontend"), count(config.pools.len(), "pool"), count(backends, "backend")];
    parts.join(", ")
}

fn json(verdict: &Verdict<'_>) -> Result<()> {
    print(format_args!("{}\n", serde_json::to_string_pretty(verdict)?))
}
