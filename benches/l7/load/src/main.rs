//! Closed-loop HTTP/1 generator: so many connections, one request in flight on each, every response checked.
//!
//! It speaks with the harness over its standard streams, so that CPU and memory of the proxy are read at the right
//! moments: `ready` once connections are warm, then a line on stdin starts the measured requests, `done` reports, and
//! the connections stay open until stdin ends.

mod client;
mod response;
mod tally;
mod tls;

use std::io::BufRead;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::client::{Client, Target};
use crate::tally::{Budget, Tally};

#[derive(Parser)]
struct Args {
    /// Address of the proxy.
    address: SocketAddr,
    /// PEM certificate that the proxy must show for `localhost`; without it, plain TCP.
    #[arg(long)]
    ca: Option<PathBuf>,
    #[arg(long, default_value = "/")]
    path: String,
    /// Length that every body must have.
    #[arg(long)]
    body: u64,
    #[arg(long, default_value_t = 64)]
    connections: usize,
    #[arg(long, default_value_t = 1000)]
    warmup: u64,
    /// Measured requests, over all connections.
    #[arg(long)]
    requests: u64,
    /// A new connection for every request.
    #[arg(long)]
    close: bool,
    /// Connections that are used one after another, at most so many at once; each sends one request before `ready`
    /// and one after. `warmup` and `requests` do not matter.
    #[arg(long)]
    idle: Option<usize>,
    /// Give up after so many seconds.
    #[arg(long, default_value_t = 120)]
    limit: u64,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let limit = Duration::from_secs(args.limit);
    let tasks = tokio::task::LocalSet::new();
    let run = async { tokio::time::timeout(limit, run(args)).await.context("took too long")? };
    tasks.block_on(&runtime, run)
}

async fn run(args: Args) -> Result<()> {
    let target = Rc::new(Target::new(&args)?);
    let clients = (0..args.connections).map(|_| Client::new(target.clone())).collect();

    let (clients, warm) = drive(clients, args.warm_up()).await?;
    announce("ready", None, &warm);
    wait_for_line()?;

    let started = tally::now();
    let (clients, measured) = drive(clients, args.measured()).await?;
    announce("done", Some(started.elapsed()), &measured);
    wait_for_line()?;
    drop(clients);
    Ok(())
}

/// Who sends how much.
struct Work {
    /// By every client.
    each: u64,
    /// By whichever client is free.
    common: u64,
    /// Clients at work at once.
    parallel: usize,
}

impl Args {
    /// Opens every connection.
    fn warm_up(&self) -> Work {
        let common = if self.idle.is_some() { 0 } else { self.warmup };
        Work { common, ..self.idle_work() }
    }

    fn measured(&self) -> Work {
        match self.idle {
            Some(_) => self.idle_work(),
            None => Work { each: 0, common: self.requests, parallel: self.connections },
        }
    }

    fn idle_work(&self) -> Work {
        Work { each: 1, common: 0, parallel: self.idle.unwrap_or(self.connections) }
    }
}

async fn drive(clients: Vec<Client>, work: Work) -> Result<(Vec<Client>, Tally)> {
    let budget = Budget::new(work.common);
    let turns = Rc::new(Semaphore::new(work.parallel));
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|client| tokio::task::spawn_local(client.run(work.each, budget.clone(), turns.clone())))
        .collect();
    let mut clients = Vec::with_capacity(tasks.len());
    let mut tally = Tally::default();
    for task in tasks {
        let (client, part) = task.await?;
        clients.push(client);
        tally.merge(part);
    }
    Ok((clients, tally))
}

fn announce(event: &str, took: Option<Duration>, tally: &Tally) {
    let seconds = took.map(|took| took.as_secs_f64());
    println!("{}", json!({ "event": event, "seconds": seconds, "result": tally.summary() }));
}

/// Blocks the only thread on purpose: nothing may happen on the connections until the harness says so.
fn wait_for_line() -> Result<()> {
    std::io::stdin().lock().read_line(&mut String::new())?;
    Ok(())
}
