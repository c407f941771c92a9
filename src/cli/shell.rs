//! What packages and shells need of the command line.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

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
    /// Write lb.1, lb-run.1, ... into this directory
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Print lb.yaml(5), which describes the configuration file
    #[arg(long, conflicts_with = "dir")]
    pub config: bool,
}
