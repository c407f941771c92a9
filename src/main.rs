//! lb: a load balancer in one program and one file.
//!
//! | module | what it does |
//! |---|---|
//! | [`cli`] | the command line, defined once |
//! | [`supervisor`] | what serves: start order, the reload transaction, signals, drain |
//! | [`identity`] | which of the file's nodes this is |
//! | [`environment`] | what the unit adds to it |
//! | [`admin`] | the admin API over a unix socket, and its client |
//! | [`metrics`] | /metrics, /healthz and /readyz |
//! | [`verbs`] | the other verbs |
//! | [`demo`] | `lb demo`: all of it with toy backends |
//! | [`logging`] | the log, which never blocks |
//! | [`journal`] | standard error, where the journal of systemd may be listening |
//! | [`allocator`] | which memory allocator, and how long it keeps what is free |
//! | [`exit`] | how a verb ends: its words and its exit code |

mod admin;
mod allocator;
mod cli;
mod demo;
mod environment;
mod exit;
mod identity;
mod journal;
mod logging;
mod metrics;
mod supervisor;
mod verbs;

use std::future::Future;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use crate::cli::{Cli, ConfigVerb, Verb, VrrpVerb};

fn main() -> ExitCode {
    allocator::set_up();
    journal::mark_panics();
    verbs::shell::complete();
    match run(&Cli::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error),
    }
}

fn run(verb: &Verb) -> Result<()> {
    match verb {
        Verb::Run(args) => supervisor::run(args),
        Verb::Demo(args) => demo::demo(args),
        Verb::Check(args) => verbs::check::check(args),
        Verb::Reload(args) => ask(verbs::reload::reload(args)),
        Verb::Status(args) => ask(verbs::status::status(args)),
        Verb::Backend(args) => ask(verbs::backend::backend(args)),
        Verb::Explain(args) => ask(verbs::explain::explain(args)),
        Verb::Flows(args) => ask(verbs::flows::flows(args)),
        Verb::Vrrp(vrrp) => match &vrrp.verb {
            VrrpVerb::Status(args) => ask(verbs::vrrp::status(args)),
            VrrpVerb::Yield(args) => ask(verbs::vrrp::yield_role(args)),
        },
        Verb::Detach(_) => verbs::detach::detach(),
        Verb::Config(config) => match &config.verb {
            ConfigVerb::Show(args) => verbs::config::show(args),
            ConfigVerb::Diff(args) => ask(verbs::config::diff(args)),
            ConfigVerb::Schema(_) => verbs::config::schema(),
        },
        Verb::Doctor(args) => verbs::doctor::doctor(args),
        Verb::Completions(args) => verbs::shell::completions(args),
        Verb::Man(args) => verbs::shell::man(args),
    }
}

/// A client verb asks the running lb, and needs no more than this thread for it.
fn ask(verb: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start")?.block_on(verb)
}
