use std::time::Duration;

use clap::{Command, CommandFactory, Parser};

use super::{Cli, Verb};

const README: &str = include_str!("../../README.md");
const OTHERS: [&str; 3] =
    [include_str!("../../ARCHITECTURE.md"), include_str!("../../CHANGELOG.md"), include_str!("../../deploy/README.md")];

#[test]
fn definitions_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn durations_are_written_as_in_the_file() {
    let timeout = |text: &str| match Cli::try_parse_from(["lb", "reload", &format!("--timeout={text}")])?.verb {
        Verb::Reload(reload) => Ok::<_, clap::Error>(reload.timeout),
        _ => unreachable!("it was `reload`"),
    };
    assert_eq!(timeout("1500ms").ok(), Some(Duration::from_millis(1500)));
    assert_eq!(timeout("2m").ok(), Some(Duration::from_secs(120)));
    for wrong in ["", "5", "s", "-1s", "1 s", "1d", "99999999999999999999h", "9999999999999999999h"] {
        assert!(timeout(wrong).is_err(), "{wrong}");
    }
    let error = timeout("5").unwrap_err().to_string();
    assert!(error.contains("`5` needs a unit (`5s`"), "{error}");
}

#[test]
fn examples_of_the_help_are_command_lines() {
    let mut examples = Vec::new();
    collect_examples(&Cli::command(), &mut examples);
    assert!(examples.len() > 30);
    for example in examples {
        if let Err(error) = Cli::try_parse_from(words(&example)) {
            panic!("{example}\n{error}");
        }
    }
}

fn collect_examples(command: &Command, found: &mut Vec<String>) {
    let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let lines = help.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| line.starts_with("lb "));
    found.extend(lines.map(|line| line.split("  ").next().unwrap_or(line).to_owned()));
    command.get_subcommands().for_each(|below| collect_examples(below, found));
}

/// Of one command, without what a shell does with its output.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.split(['|', '>', '&']).next().unwrap_or(line).trim().chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => words.last_mut().expect("there is one").push(c),
        }
    }
    words
}

#[test]
fn the_readme_knows_every_verb_and_no_document_invents_one() {
    let lb = Cli::command();
    let there = README.split("\n## What is not there yet").next().unwrap_or(README);
    let commands: Vec<_> = commands_in(there).collect();
    for command in commands.iter().copied().chain(OTHERS.into_iter().flat_map(commands_in)) {
        check(&lb, command);
    }
    for verb in lb.get_subcommands().map(Command::get_name) {
        assert!(commands.iter().any(|command| command.starts_with(verb)), "README.md does not tell of `lb {verb}`");
    }
}

/// What stands behind `lb` in fenced blocks and between backticks.
fn commands_in(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split("\n```").enumerate().flat_map(|(number, part)| {
        let is_prose = number % 2 == 0;
        let lines = part.lines().filter(move |_| !is_prose);
        let spans = part.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).filter(move |_| is_prose);
        lines.chain(spans)
    });
    parts.filter_map(|line| line.strip_prefix("sudo ").unwrap_or(line).strip_prefix("lb ")).map(str::trim_start)
}

/// Its verbs and options are there; other words may stand for anything (`POOL/BACKEND`, `[NAME]`).
fn check(lb: &Command, written: &str) {
    let text = written.split(['#', '>', '&']).next().unwrap_or(written).replace("\\|", "|");
    let mut command = lb;
    for word in text.split_whitespace().map(|word| word.trim_matches(['[', ']', ','])) {
        if let Some(option) = word.strip_prefix("--") {
            let known = command.get_arguments().any(|argument| argument.get_long() == Some(option));
            assert!(known, "`lb {written}`: there is no --{option}");
        } else if command.has_subcommands() {
            let mut verbs = word.split('|').map(|verb| command.find_subcommand(verb));
            let first = verbs.next().flatten();
            assert!(first.is_some() && verbs.all(|verb| verb.is_some()), "`lb {written}`: there is no {word}");
            command = first.unwrap_or(command);
        }
    }
}
