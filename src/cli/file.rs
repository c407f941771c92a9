//! What looks at a file and at this machine; no lb has to run.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{DEFAULT_CONFIG, Format, Server, This};

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
    /// Also look at this machine: descriptors, ports, certificates, secrets, directories, interfaces of layer 4
    #[arg(long)]
    pub host: bool,
    #[command(flatten)]
    pub this: This,
}

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
    pub real_server: Vec<IpAddr>,
    /// With --real-server: the backend is reached by `mode: tunnel`
    #[arg(long, requires = "real_server")]
    pub tunnel: bool,
    /// How to print what was found
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    #[command(flatten)]
    pub this: This,
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
