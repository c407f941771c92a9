//! What the unit of lb adds to its environment, for those who look at the installed file from a shell.
//!
//! lb itself gets it from systemd (EnvironmentFile= in lb.service). `lb doctor` at a shell has not got it, and would
//! take this machine for no node at all, or a `${NAME}` of the file for one that is not set.

use std::path::Path;

use lb_core::config::{self, LoadError, Loaded};

use crate::cli::{DEFAULT_CONFIG, This};
use crate::identity::identity;

const OF_THE_UNIT: &str = "/etc/default/lb";

/// A file as the lb that serves it would read it.
pub fn load(path: &Path, this: &This) -> Result<Loaded, LoadError> {
    let variables = Variables::of(path);
    let node = this.node.clone().or_else(|| variables.get("LB_NODE"));
    let bytes = std::fs::read(path)?;
    config::load_as(bytes, path, &|name| variables.get(name), &identity(node.as_deref())).map_err(LoadError::Invalid)
}

/// Those of this process, and behind them those of the unit.
pub struct Variables {
    of_the_unit: String,
}

impl Variables {
    /// The unit's count for the file that it serves.
    pub fn of(path: &Path) -> Self {
        let is_installed = path == Path::new(DEFAULT_CONFIG);
        let text = is_installed.then(|| std::fs::read_to_string(OF_THE_UNIT).ok()).flatten();
        Self { of_the_unit: text.unwrap_or_default() }
    }

    pub fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().or_else(|| assigned(&self.of_the_unit, name))
    }
}

/// The last assignment holds; a value may be quoted as a whole (EnvironmentFile= in systemd.exec(5)).
fn assigned(text: &str, name: &str) -> Option<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';']));
    let mut assignments = lines.filter_map(|line| line.split_once('=')).filter(|(key, _)| key.trim_end() == name);
    let value = assignments.next_back()?.1.trim();
    let unquoted = ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
    Some(unquoted.unwrap_or(value).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_the_unit_is_read_as_systemd_reads_it() {
        let text = "# LB_NODE=no\nLB_NODE=lb-a\n; X=no\n X = \"two words\" \nY='z'\nLB_NODE=lb-b\nEMPTY=\n";
        let is = |name| assigned(text, name);
        assert_eq!(is("LB_NODE").as_deref(), Some("lb-b"));
        assert_eq!((is("X").as_deref(), is("Y").as_deref()), (Some("two words"), Some("z")));
        assert_eq!((is("EMPTY").as_deref(), is("NODE")), (Some(""), None));
    }

    #[test]
    fn the_file_of_the_unit_is_for_the_installed_configuration() {
        assert!(Variables::of(Path::new("./lb.yaml")).of_the_unit.is_empty());
    }
}
