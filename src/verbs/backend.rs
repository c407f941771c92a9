//! `lb backend`: take a backend out of service, or put it back.

use std::time::Duration;

use anyhow::{Context, Result};
use lb_core::config::AdminState;
use tokio::time::{Instant, sleep};

use crate::admin::client::Client;
use crate::admin::messages::{BackendCommand, BackendStatus, Status, health_word, state_word};
use crate::cli;
use crate::exit::{Failed, print};

const POLL: Duration = Duration::from_millis(100);

pub async fn backend(args: &cli::Backend) -> Result<()> {
    let client = Client::find(&args.server)?;
    let command = BackendCommand { backend: args.backend.clone(), state: args.state.into() };
    let mut backend: BackendStatus = client.post("/v1/backend", &command).await?;
    if args.wait {
        let deadline = Instant::now() + args.timeout;
        while !is_there(&backend, command.state) {
            if Instant::now() >= deadline {
                return Err(Failed::new(format!("{}, but {}", describe(&backend, args), still(&backend))).into());
            }
            sleep(POLL).await;
            backend = look(&client, &args.backend).await?;
        }
    }
    print(format_args!("{}\n", describe(&backend, args)))
}

/// Has the backend reached what `--wait` waits for?
fn is_there(backend: &BackendStatus, wanted: AdminState) -> bool {
    match wanted {
        AdminState::Ready => backend.available,
        AdminState::Drain | AdminState::Maint => backend.requests_active + backend.flows_active == 0,
    }
}

fn describe(backend: &BackendStatus, args: &cli::Backend) -> String {
    let by = if backend.overridden { " (against the file)" } else { "" };
    format!(
        "{}: {}{by}, {}, {}",
        args.backend,
        state_word(backend.state),
        health_word(backend.health),
        in_flight(backend)
    )
}

/// Flows are named where there are any: most backends are of one layer.
fn in_flight(backend: &BackendStatus) -> String {
    let count = |n: u64, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    match (backend.requests_active, backend.flows_active) {
        (requests, 0) => format!("{} in flight", count(requests, "request")),
        (0, flows) => count(flows, "established flow"),
        (requests, flows) => format!("{} in flight, {}", count(requests, "request"), count(flows, "established flow")),
    }
}

fn still(backend: &BackendStatus) -> &'static str {
    if backend.state == AdminState::Ready { "it takes no requests yet" } else { "not all of them have ended" }
}

async fn look(client: &Client, id: &str) -> Result<BackendStatus> {
    let status: Status = client.get("/v1/status").await?;
    let mut all = status.pools.into_iter().flat_map(|p| {
        let pool = p.name;
        p.backends.into_iter().map(move |b| (format!("{pool}/{}", b.name), b))
    });
    let found = all.find(|(name, _)| name == id);
    found.map(|(_, backend)| backend).with_context(|| format!("a reload removed {id} meanwhile"))
}
