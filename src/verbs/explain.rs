//! `lb explain`: which frontend, route, pool and backend a request or a packet would get, and why.

use anyhow::{Context, Result};
use lb_l4::explain::{Answer, Question};
use lb_l7::{ExplainRequest, Explanation};

use crate::admin::client::Client;
use crate::cli;
use crate::exit::print;

pub async fn explain(args: &cli::Explain) -> Result<()> {
    if let Some(destination) = args.destination {
        let client = args.url.parse().with_context(|| format!("`{}` is no address with a port", args.url))?;
        return packet(args, Question { client, destination, udp: args.udp }).await;
    }
    let request = ExplainRequest {
        url: args.url.clone(),
        method: args.method.clone(),
        headers: args.header.clone(),
        client: args.client,
        frontend: args.frontend.clone(),
    };
    let explanation: Explanation = Client::find(&args.server)?.post("/v1/explain", &request).await?;
    match args.json {
        true => print(format_args!("{}\n", serde_json::to_string_pretty(&explanation)?)),
        false => print(explanation),
    }
}

async fn packet(args: &cli::Explain, question: Question) -> Result<()> {
    let answer: Answer = Client::find(&args.server)?.post("/v1/explain/packet", &question).await?;
    match args.json {
        true => print(format_args!("{}\n", serde_json::to_string_pretty(&answer)?)),
        false => print(answer),
    }
}
