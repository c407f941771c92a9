//! `lb completions` and `lb man`: generated from the command line's own definition.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_complete::env::Shells;
use clap_complete::{CompleteEnv, Shell};

use crate::cli::{Cli, Completions, Man};
use crate::exit::print;

/// Set by what `lb completions` prints, when a shell wants candidates.
const ASKED: &str = "LB_COMPLETE";
/// Of our own: names of backends have colons in them, at which bash breaks words.
const BASH: &str = include_str!("completions.bash");

pub fn completions(args: &Completions) -> Result<()> {
    if args.shell == Shell::Bash {
        return print(BASH);
    }
    let (shells, mut script) = (Shells::builtins(), Vec::new());
    let shell = shells.completer(&args.shell.to_string()).context("no completions for this shell")?;
    shell.write_registration(ASKED, "lb", "lb", "lb", &mut script)?;
    print(String::from_utf8_lossy(&script))
}

/// Answers a shell and ends, where it was a shell that asked.
pub fn complete() {
    CompleteEnv::with_factory(Cli::command).var(ASKED).complete();
}

pub fn man(args: &Man) -> Result<()> {
    if args.config {
        return print(lb_core::config::manual(env!("CARGO_PKG_VERSION")));
    }
    let mut lb = Cli::command();
    // Gives every verb its full name.
    lb.build();
    match &args.dir {
        Some(dir) => pages(&lb, dir).with_context(|| format!("cannot write man pages to {}", dir.display())),
        None => print(String::from_utf8_lossy(&page(&lb)?)),
    }
}

/// lb.1, lb-run.1, lb-config-show.1, ...
fn pages(command: &Command, dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let name = clap_mangen::Man::new(command.clone()).get_filename();
    fs::write(dir.join(name), page(command)?)?;
    command.get_subcommands().filter(|verb| !verb.is_hide_set()).try_for_each(|verb| pages(verb, dir))
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let man = clap_mangen::Man::new(command.clone()).source(concat!("lb ", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let more = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    page.extend(more.split("\n\n").filter_map(section).flat_map(String::into_bytes));
    Ok(page)
}

/// `Examples:` and the indented lines after it, kept as they stand.
fn section(paragraph: &str) -> Option<String> {
    let (title, lines) = paragraph.split_once(":\n")?;
    let lines = lines.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    Some(format!(".SH {}\n.nf\n{lines}\n.fi\n", title.to_uppercase()))
}
