//! The command line, defined once: parsing, help, completions and man pages all come from here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use lb_core::config::AdminState;

pub const DEFAULT_CONFIG: &str = "/etc/lb/lb.yaml";

/// A load balancer in one program and one file
///
/// lb takes HTTP/1.1 and HTTP/2 from clients, in clear text or TLS, and spreads it over pools of
/// backends whose health it watches. One YAML file says everything; `lb reload` applies a changed
/// file entirely or not at all, without losing a request.
#[derive(Debug, Parser)]
#[command(name = "lb", version, arg_required_else_help = true, disable_help_subcommand = true)]
#[command(after_long_help = "\
Getting started:
  lb demo                          see it work, with toy backends and without root
  lb check lb.yaml                 is this file right?
  lb run -c lb.yaml                serve
  lb status                        what is it doing?

Exit codes:
  0  it worked
  1  it was refused, or failed
  2  the command line, the file or the running lb could not be understood or reached")]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    Run(Run),
    Check(Check),
    Reload(Reload),
    Status(Status),
    Backend(Backend),
    Explain(Explain),
    Flows(Flows),
    Vrrp(Vrrp),
    Detach(Detach),
    Config(Config),
    Doctor(Doctor),
    Demo(Demo),
    Completions(Completions),
    Man(Man),
}

/// Serve in the foreground
///
/// SIGHUP reloads the file, SIGUSR1 reopens the access log, SIGTERM and SIGINT drain: virtual addresses
/// are handed over, listeners close, requests in flight finish (at most reload.drain_timeout), then lb
/// ends. A second SIGTERM or SIGINT ends it at once. Under systemd it reports through sd_notify: READY,
/// RELOADING, STOPPING, WATCHDOG.
///
/// Beside /metrics the metrics listener answers /healthz (200 while the process lives) and /readyz
/// (200 while it takes requests, 503 while it drains; backends that are down do not count).
///
/// lb needs no root: a port below 1024 takes CAP_NET_BIND_SERVICE, which the systemd unit gives.
/// Started as an ordinary user it gives up every other capability.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  lb run
  lb run -c ./lb.yaml
  kill -HUP \"$(pidof lb)\"           reload (`lb reload` also shows the result)

Exit codes:
  0    drained after SIGTERM or SIGINT
  1    could not start: a port is taken, a certificate is not readable, ...
  2    the configuration file is invalid or unreadable, or does not say which of its nodes this is
  130  ended at once by a second SIGINT (143: SIGTERM)")]
pub struct Run {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
    #[command(flatten)]
    pub this: This,
}

/// Say whether a configuration file is valid, and everything that is wrong with it
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  lb check
  lb check ./lb.yaml --format json
  lb check ./lb.yaml --host        also try it against this machine

Exit codes:
  0  valid
  1  invalid (with --host: or this machine cannot serve it)
  2  unreadable")]
pub struct Check {
    #[arg(value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub file: PathBuf,
    /// How to print what was found
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Also look at this machine: descriptors, ports, certificates, directories, interfaces of layer 4
    #[arg(long)]
    pub host: bool,
    #[command(flatten)]
    pub this: This,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

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
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
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
    #[arg(value_name = "POOL/BACKEND")]
    pub backend: String,
    /// Wait until it has no request in flight (with ready: until it takes requests)
    #[arg(long)]
    pub wait: bool,
    /// How long --wait waits
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
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
    pub client: Option<std::net::IpAddr>,
    /// Which frontend, where the URL fits none or several
    #[arg(long, value_name = "NAME")]
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
  1  there is no layer-4 frontend
  2  no running lb was reached")]
pub struct Flows {
    /// Only of this frontend
    #[arg(long, value_name = "NAME")]
    pub frontend: Option<String>,
    /// Only of this backend, as its pool names it
    #[arg(long, value_name = "NAME", conflicts_with = "sample")]
    pub backend: Option<String>,
    /// Only in this state: syn, syn_recv, established, fin, time_wait, closed, udp_new, udp
    #[arg(long, value_name = "STATE", conflicts_with = "sample")]
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

/// Remove the data plane of layer 4 that a stopped lb has left at work
///
/// When lb ends, packets of layer-4 frontends go on being forwarded, so that a restart or an upgrade
/// costs nothing. This ends it: programs leave the interfaces, and every flow is forgotten.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Example:
  systemctl stop lb && lb detach

Exit codes:
  0  removed, or there was nothing
  1  an lb is running and drives it, or it cannot be removed")]
pub struct Detach {}

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
    #[arg(value_name = "NAME")]
    pub router: Option<String>,
    #[command(flatten)]
    pub server: Server,
}

/// Show, compare and describe configuration files
#[derive(Debug, Args)]
pub struct Config {
    #[command(subcommand)]
    pub verb: ConfigVerb,
}

#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    Show(ConfigShow),
    Diff(ConfigDiff),
    Schema(ConfigSchema),
}

/// Print the effective configuration, with every default filled in
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  lb config show
  lb config show ./lb.yaml

Exit codes:
  0  shown
  1  invalid
  2  unreadable")]
pub struct ConfigShow {
    #[arg(value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub file: PathBuf,
    #[command(flatten)]
    pub this: This,
}

/// Say what a reload would do
///
/// Compares NEW with what the running lb serves, or with another file.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  lb config diff /etc/lb/lb.yaml           edited, and not yet reloaded
  lb config diff --from old.yaml new.yaml  without a running lb

Exit codes:
  0  compared, whether or not anything differs
  1  a file is invalid
  2  a file is unreadable, or no running lb was reached")]
pub struct ConfigDiff {
    #[arg(value_name = "NEW")]
    pub new: PathBuf,
    /// Compare with this file instead of the running lb
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    #[command(flatten)]
    pub server: Server,
    #[command(flatten)]
    pub this: This,
}

/// Print the JSON Schema of the configuration file, for editors
#[derive(Debug, Args)]
#[command(after_long_help = "\
Example:
  lb config schema > lb.schema.json
  sed -i '1i # yaml-language-server: $schema=lb.schema.json' lb.yaml")]
pub struct ConfigSchema {}

/// Say what on this machine would stop lb from working, and how to fix it
///
/// Looks at what the file asks for and at what this machine has: ports, certificates, descriptors;
/// for layer 4 also the kernel, capabilities, bpffs and routing; for nodes and virtual routers the
/// firewall, ARP, secrets, and for some advert intervals who speaks VRRP on their networks. On a backend
/// of `mode: dr` or `tunnel`, --real-server looks at what such a machine needs instead.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  lb doctor
  lb doctor ./lb.yaml --format json
  lb doctor --real-server 203.0.113.10      on a backend

Exit codes:
  0  nothing stands in the way (there may be warnings)
  1  something does, or the file is invalid
  2  the file is unreadable")]
pub struct Doctor {
    #[arg(value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub file: PathBuf,
    /// This machine is a backend that must own these addresses; the file is not read
    #[arg(long, value_name = "VIP", num_args = 1.., conflicts_with = "file")]
    pub real_server: Vec<std::net::IpAddr>,
    /// With --real-server: the backend is reached by `mode: tunnel`
    #[arg(long, requires = "real_server")]
    pub tunnel: bool,
    /// How to print what was found
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    #[command(flatten)]
    pub this: This,
}

/// See lb work: three toy backends, two frontends and a table that lives
///
/// Everything runs inside this process, on 127.0.0.1, without root, from a configuration file that
/// you may edit while it runs.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  lb demo
  lb demo --for 20s                ends by itself
  lb demo --port 9000              when 8080 is taken

Exit codes:
  0  ended by --for, SIGINT or SIGTERM
  1  could not start")]
pub struct Demo {
    /// End by itself after this long
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub lasts: Option<Duration>,
    /// Port of the frontend in clear text; 0 takes any
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// Port of the frontend with TLS; 0 takes any
    #[arg(long, default_value_t = 8443)]
    pub tls_port: u16,
    /// Address of the metrics; port 0 takes any
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9600")]
    pub metrics: SocketAddr,
}

/// Print what makes a shell complete lb's command line
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  lb completions bash > /usr/share/bash-completion/completions/lb
  lb completions zsh > /usr/share/zsh/vendor-completions/_lb
  lb completions fish > /usr/share/fish/vendor_completions.d/lb.fish")]
pub struct Completions {
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Print the man page of lb, or write one for each verb into a directory
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  lb man | man -l -
  lb man --config | man -l -
  lb man /usr/share/man/man1")]
pub struct Man {
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Print lb.yaml(5), which describes the configuration file
    #[arg(long, conflicts_with = "dir")]
    pub config: bool,
}

/// Which of the file's nodes this is.
#[derive(Debug, Clone, Args)]
pub struct This {
    /// Which of the file's nodes this is; otherwise the one with the name of this host
    #[arg(long, value_name = "NAME", env = "LB_NODE")]
    pub node: Option<String>,
}

/// How a client verb finds the running lb.
#[derive(Debug, Clone, Args)]
pub struct Server {
    /// Admin socket of the running lb; otherwise the one that the configuration file names
    #[arg(long, value_name = "PATH", env = "LB_SOCKET")]
    pub socket: Option<PathBuf>,
    /// Configuration file that names the admin socket
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
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

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it as 'NAME: VALUE'")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// `500ms`, `20s`, `5m`, `1h`, as in the configuration file.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| "write it as 500ms, 20s, 5m or 1h".to_owned())?;
    let ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("write it as 500ms, 20s, 5m or 1h".to_owned()),
    };
    number.checked_mul(ms).map(Duration::from_millis).ok_or_else(|| "too long".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "5", "s", "-1s", "1 s", "1d", "99999999999999999999h", "9999999999999999999h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
