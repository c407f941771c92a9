//! What runs lb, in the foreground or as a demonstration, and what it leaves behind.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use lb_core::config::parse_duration;

use super::{DEFAULT_CONFIG, This};

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
/// lb needs no root: a port below 1024 takes CAP_NET_BIND_SERVICE, layer 4 CAP_NET_ADMIN, CAP_BPF and
/// CAP_PERFMON, virtual routers CAP_NET_ADMIN and CAP_NET_RAW. The systemd unit gives them. Started as an
/// ordinary user lb gives up all that the file does not call for.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  lb run
  lb run -c ./lb.yaml
  kill -HUP \"$(pidof lb)\"           reload (`lb reload` also shows the result)

Exit codes:
  0    drained after SIGTERM or SIGINT
  1    could not start, and may another time: a port is taken, an interface is not there yet, ...
  2    cannot start until something is mended: the configuration file or a file that it names (certificate,
       key, secret, access log) is invalid or unreadable, the file does not say which of its nodes this is,
       a capability is missing, the kernel does not take layer 4; the systemd unit is not started again
  130  ended at once by a second SIGINT (143: SIGTERM)")]
pub struct Run {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub config: PathBuf,
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
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
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
