//! `lb doctor`: what on this machine would stop lb from working, and what to do about it.
//!
//! Each part looks at one subject and returns its findings; [`Machine`] is where they look, so that
//! a test can show them any machine.

mod firewall;
#[cfg(test)]
mod fixtures;
mod interface;
mod layer4;
mod machine;
mod manager;
mod pair;
mod real_server;
mod segment;
mod thread;

use std::path::Path;

use anyhow::{Context, Result};
use lb_core::config::{Config, LoadError};
use serde::Serialize;

use super::finding::{Finding, finding, problem};
use super::host;
use crate::cli::{self, Format};
use crate::environment;
use crate::exit::{Silent, print};
use machine::Machine;

pub fn doctor(args: &cli::Doctor) -> Result<()> {
    let machine = Machine::this();
    let findings = match args.real_server.as_slice() {
        [] => node(&machine, args)?,
        vips => real_server::examine(&machine, vips, args.tunnel),
    };
    match args.format {
        Format::Text => print(findings.iter().map(|f| format!("{f}\n")).collect::<String>())?,
        Format::Json => print(format_args!("{}\n", serde_json::to_string_pretty(&Report { findings: &findings })?))?,
    }
    if findings.iter().any(Finding::is_problem) { Err(Silent(1).into()) } else { Ok(()) }
}

#[derive(Serialize)]
struct Report<'a> {
    findings: &'a [Finding],
}

/// A machine that runs lb with this file.
fn node(machine: &Machine, args: &cli::Doctor) -> Result<Vec<Finding>> {
    match environment::load(&args.file, &args.this) {
        Ok(loaded) => Ok(examine(machine, &loaded.config, &args.file)),
        Err(LoadError::Invalid(_)) => {
            let what = format!("file {}", args.file.display());
            Ok(vec![finding(what, Err(problem("is not valid"))).or_fix(format!("lb check {}", args.file.display()))])
        }
        Err(unreadable) => Err(unreadable).with_context(|| args.file.display().to_string()),
    }
}

fn examine(machine: &Machine, config: &Config, file: &Path) -> Vec<Finding> {
    let mut findings = host::examine(config, file);
    findings.extend(layer4::examine(machine, config));
    findings.extend(pair::examine(machine, config));
    findings
}
