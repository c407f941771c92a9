//! `lb flows`: the flow table of layer 4, and samples of its packets.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use anyhow::Result;
use lb_l4::flows::{FlowLine, Listing, Query};
use lb_l4::samples::SampleLine;

use crate::admin::client::Client;
use crate::admin::messages::SampleRequest;
use crate::cli;
use crate::exit::print;
use crate::verbs::table::Table;

pub async fn flows(args: &cli::Flows) -> Result<()> {
    let client = Client::find(&args.server)?;
    if let Some(packets) = args.sample {
        return sample(args, &client, packets).await;
    }
    let counted = args.by_state || args.by_backend;
    let query = Query {
        frontend: args.frontend.clone(),
        backend: args.backend.clone(),
        state: args.state.clone(),
        limit: if counted { 0 } else { args.limit },
    };
    let listing: Listing = client.post("/v1/flows", &query).await?;
    match args.json {
        true => print(format_args!("{}\n", serde_json::to_string_pretty(&listing)?)),
        false if args.by_state => print(by_state(&listing.by_state)),
        false if args.by_backend => print(by_backend(&listing.by_backend)),
        false => print(Shown(&listing)),
    }
}

async fn sample(args: &cli::Flows, client: &Client, packets: usize) -> Result<()> {
    let request = SampleRequest { packets, frontend: args.frontend.clone() };
    let samples: Vec<SampleLine> = client.post("/v1/flows/sample", &request).await?;
    match args.json {
        true => print(format_args!("{}\n", serde_json::to_string_pretty(&samples)?)),
        false => print(samples.iter().map(|sample| format!("{sample}\n")).collect::<String>()),
    }
}

fn by_state(counts: &BTreeMap<String, u64>) -> Table {
    let mut table = Table::new(["STATE", ">FLOWS"]);
    counts.iter().for_each(|(state, count)| table.row([state.clone(), count.to_string()]));
    table
}

/// Neither name has a space in it.
fn by_backend(counts: &BTreeMap<String, u64>) -> Table {
    let mut table = Table::new(["FRONTEND", "BACKEND", ">FLOWS"]);
    for (names, count) in counts {
        let (frontend, backend) = names.split_once(' ').unwrap_or((names, ""));
        table.row([frontend.to_owned(), backend.to_owned(), count.to_string()]);
    }
    table
}

struct Shown<'l>(&'l Listing);

impl Display for Shown<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table =
            Table::new(["PROTO", "CLIENT", "DESTINATION", "FRONTEND", "BACKEND", "STATE", ">AGE", ">EXPIRES"]);
        self.0.flows.iter().for_each(|flow| table.row(row(flow)));
        write!(out, "{table}")?;
        match self.0.total as usize - self.0.flows.len() {
            0 => writeln!(out, "{} flows", self.0.total),
            more => writeln!(out, "{} flows, {more} of them not listed (--limit)", self.0.total),
        }
    }
}

fn row(flow: &FlowLine) -> [String; 8] {
    let snat = flow.snat.map_or_else(String::new, |snat| format!(" as {snat}"));
    [
        flow.protocol.clone(),
        flow.client.to_string(),
        flow.vip.to_string(),
        flow.frontend.clone(),
        format!("{}{snat}", flow.backend),
        flow.state.clone(),
        format!("{}s", flow.age_seconds),
        format!("{}s", flow.expires_seconds),
    ]
}
