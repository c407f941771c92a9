//! `lb completions` and `lb man`: generated from the command line's own definition.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};

use crate::cli::{Cli, Completions, Man};
use crate::exit::print;

pub fn completions(args: &Completions) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "lb", &mut script);
    print(String::from_utf8_lossy(&script))
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
