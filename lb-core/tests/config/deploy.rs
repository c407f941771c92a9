//! What deploy/ holds must be so: its rules work, what it names is there.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use lb_core::metrics;

use super::repository;

fn read(file: impl AsRef<Path>) -> String {
    let path = repository().join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// `None`: it is not installed, and need not be.
fn run(program: &str, arguments: &[&str], folder: &str) -> Option<Output> {
    let folder = repository().join(folder);
    match Command::new(program).args(arguments).current_dir(folder).output() {
        Ok(output) => Some(output),
        Err(error) => {
            assert!(std::env::var_os("LB_TEST_REQUIRE").is_none(), "{program}: {error}");
            eprintln!("skipped: {program}: {error}");
            None
        }
    }
}

fn must_succeed(program: &str, arguments: &[&str], folder: &str) {
    let Some(output) = run(program, arguments, folder) else { return };
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[test]
fn alert_rules_fire_when_they_should_and_only_then() {
    must_succeed("promtool", &["check", "rules", "lb.rules.yml"], "deploy/prometheus");
    must_succeed("promtool", &["test", "rules", "lb.rules.test.yml"], "deploy/prometheus");
}

#[test]
fn every_alert_is_tested_and_described() {
    let (rules, tests, readme) =
        (read("deploy/prometheus/lb.rules.yml"), read("deploy/prometheus/lb.rules.test.yml"), read("deploy/README.md"));
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 9, "{alerts:?}");
    for alert in alerts {
        let fires = format!("{alert}\n        exp_alerts:\n          - ");
        let counted = format!("ALERTS{{alertname=\"{alert}\", alertstate=\"firing\"}}");
        assert!(tests.contains(&fires) || tests.contains(&counted), "no test in which {alert} fires");
        assert!(tests.contains(&format!("{alert}, exp_alerts: []")), "no test in which {alert} does not");
        assert!(readme.contains(&format!("| {alert} |")), "{alert} is not in deploy/README.md");
    }
}

#[test]
fn rules_and_dashboard_name_metrics_that_lb_has() {
    let known: BTreeSet<_> = metrics::ALL.iter().map(|metric| metric.name).collect();
    let is_known = |word: &&str| {
        let parts = ["_bucket", "_sum", "_count"].into_iter().filter_map(|part| word.strip_suffix(part));
        std::iter::once(*word).chain(parts).any(|name| known.contains(name))
    };
    for file in ["deploy/prometheus/lb.rules.yml", "deploy/grafana/lb.json"] {
        let text = read(file);
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let named: Vec<_> = words.filter(|word| word.starts_with("lb_") || word.starts_with("process_")).collect();
        assert!(named.len() > 10, "{file}: {named:?}");
        let unknown: Vec<_> = named.into_iter().filter(|word| !is_known(word)).collect();
        assert!(unknown.is_empty(), "{file} names metrics that are not there: {unknown:?}");
    }
}

#[test]
fn the_dashboard_is_what_its_script_writes() {
    let Some(output) = run("/usr/bin/python3", &["-B", "make-dashboard.py"], "deploy/grafana") else { return };
    assert!(
        String::from_utf8(output.stdout).unwrap() == read("deploy/grafana/lb.json"),
        "run make-dashboard.py >lb.json"
    );
}

#[test]
fn every_example_is_described() {
    let readme = read("deploy/README.md");
    for example in std::fs::read_dir(repository().join("deploy/examples")).unwrap() {
        let name = example.unwrap().file_name().into_string().unwrap();
        assert!(readme.contains(&format!("| `{name}` |")), "{name} is not in deploy/README.md");
    }
}

/// The figure is that of one version of systemd; others count other things.
#[test]
fn the_unit_is_as_little_exposed_as_the_readme_says() {
    let unit = ["security", "--offline=true", "--threshold=25", "systemd/lb.service"];
    let Some(output) = run("systemd-analyze", &unit, "deploy") else { return };
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "more than 2.5: {said}");
    let figure = said.split_once("exposure level for lb.service: ").unwrap().1.split(' ').next().unwrap();
    let readme = read("deploy/README.md");
    let sentence = readme.lines().find(|line| line.starts_with("`systemd-analyze security")).unwrap();
    let version = String::from_utf8(run("systemd-analyze", &["--version"], "deploy").unwrap().stdout).unwrap();
    if sentence.contains(version.split(" (").next().unwrap()) {
        assert!(sentence.contains(&format!("**{figure}, OK**")), "measured {figure}: {sentence}");
    }
}
