//! What `benches/l4/run` starts inside of its namespaces. Reads what to measure as JSON on its standard input, and
//! writes measurements as JSON.
//!
//! | module | what it does |
//! |---|---|
//! | [`plan`] | the packets of a case, as bpf/packets.c writes them |
//! | [`packets`] | loads the generator and the sink |
//! | [`forwarder`] | loads the product, and fills its maps |
//! | [`prices`] | ns per packet, by BPF_PROG_TEST_RUN |
//! | [`throughput`] | packets per second over veth |
//! | [`control`] | tables and large configurations |

mod checksum;
mod control;
mod forwarder;
mod packets;
mod plan;
mod prices;
mod throughput;

use std::io;

use clap::{Parser, Subcommand};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

#[derive(Parser)]
struct Cli {
    /// Everything runs on this CPU.
    #[arg(long, default_value_t = 1)]
    cpu: usize,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// ns per packet of every case, round by round
    Prices,
    /// packets per second of one contender
    Throughput,
    /// milliseconds of the control plane
    Control,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let mut cpus = CpuSet::new();
    cpus.set(cli.cpu)?;
    sched_setaffinity(Pid::this(), &cpus)?;
    let input = io::read_to_string(io::stdin())?;
    let output = match cli.verb {
        Verb::Prices => serde_json::to_string(&prices::measure(&serde_json::from_str(&input)?)?)?,
        Verb::Throughput => serde_json::to_string(&throughput::measure(&serde_json::from_str(&input)?)?)?,
        Verb::Control => serde_json::to_string(&control::measure(&serde_json::from_str(&input)?)?)?,
    };
    println!("{output}");
    Ok(())
}
