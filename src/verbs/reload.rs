//! `lb reload`: have the running lb read its file again, and say what came of it.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use crate::admin::client::Client;
use crate::admin::messages::{ReloadReport, ReloadResult, Status};
use crate::cli;
use crate::exit::{Failed, print};
use crate::journal;

const POLL: Duration = Duration::from_millis(100);

pub async fn reload(args: &cli::Reload) -> Result<()> {
    let client = Client::find(&args.server)?;
    let report: ReloadReport = client.post("/v1/reload", &()).await?;
    if !report.warnings.is_empty() {
        journal::warning(&report.warnings);
    }
    if report.result == ReloadResult::Refused {
        journal::error(&report.errors);
        return Err(Failed::new("refused: everything stays as it was").into());
    }
    print(summary(&report))?;
    if args.wait { first_results(&client, args.timeout).await } else { Ok(()) }
}

fn summary(report: &ReloadReport) -> String {
    let what = match report.changes.len() {
        0 => "applied: the configuration is the same, certificates were read again".to_owned(),
        1 => "applied, 1 change".to_owned(),
        n => format!("applied, {n} changes"),
    };
    let changes: String = report.changes.iter().map(|change| format!("  {change}\n")).collect();
    format!("{what} (generation {}, {:.1} ms)\n{changes}", report.generation, report.duration_ms)
}

/// Until no checked backend is without a result.
async fn first_results(client: &Client, patience: Duration) -> Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        let status: Status = client.get("/v1/status").await?;
        let waiting = unchecked(&status);
        if waiting.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Failed::new(format!("applied, but not checked yet: {}", waiting.join(", "))).into());
        }
        sleep(POLL).await;
    }
}

fn unchecked(status: &Status) -> Vec<String> {
    let backends = status.pools.iter().flat_map(|p| p.backends.iter().map(move |b| (p, b)));
    backends
        .filter(|(_, b)| b.checked && b.last_check.is_none())
        .map(|(p, b)| format!("{}/{}", p.name, b.name))
        .collect()
}
