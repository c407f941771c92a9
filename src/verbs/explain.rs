//! `lb explain`: which frontend, route, pool and backend a request would get, and why.

use anyhow::Result;
use lb_l7::{ExplainRequest, Explanation};

use crate::admin::client::Client;
use crate::cli;
use crate::exit::print;

pub async fn explain(args: &cli::Explain) -> Result<()> {
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
