//! `lb config show|diff|schema`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use lb_core::config::{self, LoadError, Loaded};

use crate::admin::client::Client;
use crate::admin::messages::{DiffReport, DiffRequest};
use crate::cli;
use crate::environment;
use crate::exit::{Silent, print};
use crate::journal;
use crate::supervisor::workers;

pub fn show(args: &cli::ConfigShow) -> Result<()> {
    print(config::show(&load(&args.file, &args.this)?.config))
}

pub fn schema() -> Result<()> {
    print(config::schema())
}

pub async fn diff(args: &cli::ConfigDiff) -> Result<()> {
    let changes = match &args.from {
        Some(old) => {
            let (old, new) = (load(old, &args.this)?.config, load(&args.new, &args.this)?.config);
            config::diff(&old.with_workers(workers(&old)), &new.with_workers(workers(&new))).to_string()
        }
        None => with_running(args).await?,
    };
    print(if changes.is_empty() { "nothing would change\n" } else { &changes })
}

/// The running lb reads the text, so that its environment fills in the variables.
async fn with_running(args: &cli::ConfigDiff) -> Result<String> {
    let text = fs::read_to_string(&args.new).with_context(|| args.new.display().to_string())?;
    let request = DiffRequest { origin: args.new.display().to_string(), text };
    let report: DiffReport = Client::find(&args.server)?.post("/v1/config/diff", &request).await?;
    if !report.errors.is_empty() {
        print(report.changes)?;
        journal::error(report.errors);
        return Err(Silent(1).into());
    }
    Ok(report.changes)
}

fn load(path: &Path, this: &cli::This) -> Result<Loaded> {
    match environment::load(path, this) {
        Err(LoadError::Invalid(diagnostics)) => {
            journal::error(diagnostics);
            Err(Silent(1).into())
        }
        result => result.with_context(|| path.display().to_string()),
    }
}
