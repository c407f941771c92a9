//! What `benches/failover/run` starts inside of its namespaces: a client that asks once a millisecond, and what
//! answers it on the nodes. Who starts it gives it a real-time priority.

mod advert;
mod echo;
mod probe;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Asks until standard input ends, then writes one record for each question
    Probe {
        to: SocketAddr,
        #[arg(long, default_value_t = 1000)]
        microseconds: u64,
        #[arg(long)]
        out: PathBuf,
    },
    /// Answers on an address that may be another's for now
    Echo {
        on: SocketAddr,
        /// One byte that says who answers
        #[arg(long)]
        name: char,
    },
    /// Ends so long after the next advert that this node receives
    Advert {
        #[arg(long)]
        microseconds: u64,
    },
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().verb {
        Verb::Probe { to, microseconds, out } => probe::run(to, microseconds * 1000, &out),
        Verb::Echo { on, name } => echo::run(on, name as u8),
        Verb::Advert { microseconds } => advert::run(Duration::from_micros(microseconds)),
    }
}
