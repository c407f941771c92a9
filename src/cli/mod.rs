//! The command line, defined once: parsing, help, completions and man pages all come from here.
//!
//! | module | verbs |
//! |---|---|
//! | [`serve`] | run, demo, and detach, which ends what they leave at work |
//! | [`ask`] | those that ask the running lb, or command it |
//! | [`mod@file`] | those that look at a file, or at this machine |
//! | [`shell`] | completions and man pages |

mod ask;
mod file;
mod serve;
mod shell;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use ask::{Backend, Explain, Flows, Reload, Status, Vrrp, VrrpStatus, VrrpVerb, VrrpYield};
pub use file::{Check, Config, ConfigDiff, ConfigShow, ConfigVerb, Doctor};
pub use serve::{Demo, Detach, Run};
pub use shell::{Completions, Man};

pub const DEFAULT_CONFIG: &str = "/etc/lb/lb.yaml";

/// A load balancer in one program and one file
///
/// In layer 7 lb takes HTTP/1.1 and HTTP/2 from clients, in clear text or TLS; in layer 4 it forwards TCP
/// and UDP in the kernel. Either way it spreads them over pools of backends whose health it watches, and
/// several nodes can hold virtual addresses between them. One YAML file says everything; `lb reload`
/// applies a changed file entirely or not at all, without losing a request.
#[derive(Debug, Parser)]
#[command(name = "lb", version, arg_required_else_help = true, disable_help_subcommand = true)]
#[command(after_long_help = "\
Getting started:
  lb demo                          see it work, with toy backends and without root
  lb check lb.yaml                 is this file right?
  lb run -c lb.yaml                serve
  lb status                        what is it doing?
  lb doctor                        what on this machine stands in its way?

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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
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
