//! What the tests of several parts look at.

use std::fs;
use std::path::Path;

use lb_core::config::{self, Config, Identity};
use tempfile::TempDir;

use super::machine::Machine;

/// What `ip -o address show` says.
pub const ADDRESSES: &str = "1: lo    inet 127.0.0.1/8 scope host lo\n2: eth0    inet 10.0.0.2/24 scope global eth0\n";

pub fn config(identity: &str, keys: &str) -> Config {
    let text = format!(
        "nodes: {{ lb-a: {{ address: 10.0.0.2 }}, lb-b: {{ address: 10.0.0.3 }} }}\n\
         vrrp: {{ r: {{ interface: eth0, vrid: 51, addresses: [203.0.113.10/24], {keys} }} }}\n\
         frontends: {{ f: {{ listen: '0.0.0.0:80', routes: [{{ respond: 200 }}] }} }}"
    );
    let identity = Identity::Host(identity.to_owned());
    let loaded = config::load_as(text, Path::new("lb.yaml"), &|_| None, &identity);
    loaded.unwrap_or_else(|problems| panic!("{problems}")).config
}

/// A machine with these files.
pub fn machine(files: &[(&str, &str)]) -> (TempDir, Machine) {
    let dir = TempDir::new().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let machine = Machine::at(dir.path());
    (dir, machine)
}

/// But for one line, which has a fix, all is well.
pub fn assert_one(lines: &[String], mark: &str, words: &str) {
    let wrong: Vec<_> = lines.iter().filter(|line| !line.starts_with("ok")).collect();
    assert!(wrong.len() == 1 && wrong[0].starts_with(mark) && wrong[0].contains(words), "{lines:#?}");
    assert!(wrong[0].contains("fix: "), "{wrong:#?}");
}
