//! What `diff` tells of two files.

use lb_core::config::{self, BackendEdit, Change, ConfigDiff};

use super::{good, good_texts};

const BEFORE: &str = "
workers: 2
frontends:
  site: { listen: 0.0.0.0:80, timeouts: { header: 10s }, routes: [{ host: a.example, pool: web }, { pool: api }] }
  old: { listen: 0.0.0.0:81, pool: web }
pools:
  web:
    backends: [10.0.0.1:80, 10.0.0.2:80, 10.0.0.3:80, { address: 10.0.0.4:80, name: four }]
  api: { backends: [10.0.1.1:80] }
  gone: { backends: [10.0.2.1:80] }
log: { level: info }
";

const AFTER: &str = "
workers: 4
frontends:
  site: { listen: 0.0.0.0:80, timeouts: { header: 5s }, routes: [{ host: b.example, pool: web }, { pool: api }] }
  admin: { listen: 127.0.0.1:81, pool: api }
pools:
  web:
    scheduler: maglev
    check: { tcp: {} }
    backends:
      - { address: 10.0.0.2:80, weight: 5 }
      - { address: 10.0.0.3:80, state: drain }
      - { address: 10.0.0.5:80, name: four, weight: 2 }
      - 10.0.0.6:80
  api: { backends: [10.0.1.2:80], backup: [10.0.1.1:80] }
  new: { backends: [10.0.3.1:80] }
log: { level: debug, access: stdout }
metrics: off
";

#[test]
fn every_change_is_one_line() {
    assert_eq!(
        between(BEFORE, AFTER).to_string(),
        "\
~ frontend site: timeouts.header 10s -> 5s, routes[1].host a.example -> b.example
+ frontend admin
- frontend old
~ pool web: scheduler round-robin -> maglev, check (absent) -> { tcp: {  }, interval: 2s, timeout: 1s, rise: 2, fall: 3, in...
+ pool new
- pool gone
~ backend web/10.0.0.2:80: weight 1 -> 5
~ backend web/10.0.0.3:80: state ready -> drain
~ backend web/four: address 10.0.0.4:80 -> 10.0.0.5:80, weight 1 -> 2
+ backend web/10.0.0.6:80
- backend web/10.0.0.1:80
+ backend api/10.0.1.2:80
~ backend api/10.0.1.1:80: list backends -> backup
~ workers 2 -> 4 (takes a restart; a reload refuses the file)
~ metrics { listen: 127.0.0.1:9600 } -> off
~ log.level info -> debug
~ log.access none -> { path: stdout, format: json }
"
    );
}

#[test]
fn changes_are_typed() {
    let diff = between(BEFORE, AFTER);
    assert_eq!(diff.frontends[1].change, Change::Added);
    assert_eq!(diff.backends[0].change, BackendEdit::Reweighted { old: 1, new: 5 });
    assert!(diff.needs_restart());
    assert_eq!(diff.len(), diff.to_string().lines().count());
}

#[test]
fn nothing_changes_between_equals() {
    for text in good_texts() {
        let diff = between(&text, &text);
        assert!(diff.is_empty() && !diff.needs_restart(), "{diff}");
    }
}

#[test]
fn a_diff_is_there_exactly_when_the_files_differ() {
    let configs: Vec<_> = good_texts().iter().map(|text| good(text)).collect();
    for (a, old) in configs.iter().enumerate() {
        for (b, new) in configs.iter().enumerate() {
            assert_eq!(config::diff(old, new).is_empty(), a == b);
        }
    }
}

fn between(old: &str, new: &str) -> ConfigDiff {
    config::diff(&good(old), &good(new))
}
