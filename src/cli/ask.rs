//! What asks the running lb, or commands it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand, ValueEnum};
use clap_complete::ArgValueCandidates;
use lb_core::config::{AdminState, parse_duration};
use lb_l4::report::STATES;

use super::Server;
use crate::verbs::names;

/// Make the running lb read its file again, and print what came of it
///
/// All of the file is applied, or none of it: a refused file leaves everything as it was.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  lb reload
  lb reload --wait --timeout 10s   return when every new backend was checked once

Exit codes:
  0  applied
  1  refused (the reasons are printed), or --wait ran out of time
  2  no running lb was reached")]
pub struct Reload {
    /// After it was applied, wait until every checked backend has a result
    #[arg(long)]
    pub wait: bool,
    /// How long --wait waits
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    pub timeout: Duration,
    #[command(flatten)]
    pub server: Server,
}

/// Show every frontend, pool, backend and virtual router of the running lb
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  lb status
  lb status --json | jq '.pools[].backends[] | select(.health == \"down\").name'

Exit codes:
  0  shown
  2  no running lb was reached")]
pub struct Status {
    /// Everything, as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub server: Server,
}

/// Take a backend out of service or put it back
///
/// What is commanded here overrides the file, and holds until lb restarts or the file itself gives
/// that backend another state. Commanding what the file says removes the override.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  lb backend drain web/10.0.0.11:8080 --wait    return when its last request ended
  lb backend ready web/10.0.0.11:8080

Exit codes:
  0  done
  1  there is no such backend, or --wait ran out of time
  2  no running lb was reached")]
pub struct Backend {
    /// ready: takes requests; drain: finishes those it has; maint: as drain, and not checked
    #[arg(value_enum)]
    pub state: State,
    /// As `lb status` names it
    #[arg(value_name = "POOL/BACKEND", add = ArgValueCandidates::new(names::backends))]
    pub backend: String,
    /// Wait until it has no request in flight and no established flow (with ready: until it takes requests)
    #[arg(long)]
    pub wait: bool,
    /// How long --wait waits
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    pub timeout: Duration,
    #[command(flatten)]
    pub server: Server,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum State {
    Ready,
    Drain,
    Maint,
}

impl From<State> for AdminState {
    fn from(state: State) -> Self {
        match state {
            State::Ready => AdminState::Ready,
            State::Drain => AdminState::Drain,
            State::Maint => AdminState::Maint,
        }
    }
}

/// Say which frontend, route, pool and backend a request or a packet would get, and why
///
/// A URL is a request of layer 7; two addresses with ports are a packet of layer 4, from the first to
/// the second. Asked of the running lb, which answers with the code that serves. Nothing is sent anywhere.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  lb explain http://localhost:8080/
  lb explain https://api.example.com/v1/users --method POST --header 'X-Beta: 1'
  lb explain http://localhost:8080/ --client 198.51.100.7
  lb explain 198.51.100.7:1234 203.0.113.10:443
  lb explain 198.51.100.7:1234 203.0.113.11:53 --udp

Exit codes:
  0  explained
  1  no frontend takes this
  2  no running lb was reached")]
pub struct Explain {
    /// http or https; the port (or the scheme's) finds the frontend. With a second address: the client's
    #[arg(value_name = "URL|CLIENT")]
    pub url: String,
    /// Where the client's packet goes
    #[arg(value_name = "DESTINATION")]
    pub destination: Option<SocketAddr>,
    /// The packet is a datagram
    #[arg(long, requires = "destination")]
    pub udp: bool,
    #[arg(long, default_value = "GET")]
    pub method: String,
    /// A header field of the request; may be given more than once
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    pub header: Vec<(String, String)>,
    /// The client's address, for schedulers that look at it
    #[arg(long, value_name = "IP")]
    pub client: Option<IpAddr>,
    /// Which frontend, where the URL fits none or several
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(names::frontends))]
    pub frontend: Option<String>,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub server: Server,
}

/// Show the flows of layer 4: listed, counted, or packet by packet
///
/// A flow is what keeps the packets of one connection with one backend.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  lb flows
  lb flows --frontend dns --state udp_new
  lb flows --by-state
  lb flows --by-backend --frontend shop
  lb flows --sample 20             the next 20 packets, and what becomes of them

Exit codes:
  0  shown
  1  there is no layer-4 frontend, or none of that name
  2  no running lb was reached")]
pub struct Flows {
    /// Only of this frontend
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(names::frontends))]
    pub frontend: Option<String>,
    /// Only of this backend, as its pool names it
    #[arg(long, value_name = "NAME", conflicts_with = "sample", add = ArgValueCandidates::new(names::backends_alone))]
    pub backend: Option<String>,
    /// Only in this state
    #[arg(long, value_name = "STATE", conflicts_with = "sample", value_parser = PossibleValuesParser::new(&STATES[1..]))]
    pub state: Option<String>,
    /// Count them by state
    #[arg(long, conflicts_with_all = ["by_backend", "sample"])]
    pub by_state: bool,
    /// Count them by frontend and backend
    #[arg(long, conflicts_with = "sample")]
    pub by_backend: bool,
    /// Show the next packets that layer 4 takes, for at most five seconds
    #[arg(long, value_name = "PACKETS")]
    pub sample: Option<usize>,
    /// List at most so many
    #[arg(long, default_value_t = 1000)]
    pub limit: usize,
    /// As JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub server: Server,
}

/// Show which node holds the virtual addresses, or hand them over
#[derive(Debug, Args)]
pub struct Vrrp {
    #[command(subcommand)]
    pub verb: VrrpVerb,
}

#[derive(Debug, Subcommand)]
pub enum VrrpVerb {
    Status(VrrpStatus),
    Yield(VrrpYield),
}

/// Show every virtual router: its role, who is active, since when and why
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  lb vrrp status
  lb vrrp status --json | jq -r '.[] | select(.role == \"active\").name'

Exit codes:
  0  shown
  2  no running lb was reached")]
pub struct VrrpStatus {
    /// Everything, as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub server: Server,
}

/// Hand virtual addresses over to another node, and say what came of it
///
/// This node goes on serving until the other one has the addresses and has told the network. It then
/// stays a backup until that node lets go or fails, whatever their priorities. Where nobody takes over,
/// nothing changes.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  lb vrrp yield                    everything that is active here
  lb vrrp yield public

Exit codes:
  0  handed over
  1  nobody took over, nothing is active here, or there is no such virtual router
  2  no running lb was reached")]
pub struct VrrpYield {
    /// The virtual router; otherwise all that are active here
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(names::virtual_routers))]
    pub router: Option<String>,
    #[command(flatten)]
    pub server: Server,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it as 'NAME: VALUE'")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}
