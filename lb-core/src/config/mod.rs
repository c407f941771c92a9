//! The configuration file.
//!
//! | step | from | to | in |
//! |---|---|---|---|
//! | parse | text | a tree of nodes that know their place | `tree`, `interpolate` |
//! | decode | tree | what a person wrote | `raw`, by `keys` and `decode` |
//! | validate | raw | [`Config`], which the program may trust | `validate` |
//!
//! Every step notes all problems that it meets and goes on; [`load`] is pure.

mod address;
mod decode;
mod diagnostic;
mod diff;
mod forms;
mod http_words;
mod interpolate;
mod keys;
mod manual;
mod model;
mod raw;
mod scalar;
mod schema;
mod show;
mod tree;
mod validate;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use decode::{Context, Decode};
use diagnostic::{Problems, Span};
use tree::Tree;

pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use diff::{
    BackendChange, BackendEdit, Change, ConfigDiff, FrontendChange, GlobalChange, KeyChange, PoolChange,
    VirtualRouterChange, diff,
};
pub use manual::manual;
pub use model::*;
pub use scalar::parse_duration;
pub use schema::schema;
pub use show::show;

/// A file that is larger than this is not read. 10,000 backends in full take 1 MiB.
const LARGEST_FILE: usize = 16 << 20;

/// A file without errors.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Diagnostics,
    /// Hex SHA-256 of the file's bytes.
    pub sha256: String,
}

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read the configuration")]
    Unreadable(#[from] std::io::Error),
    #[error("{0}")]
    Invalid(Diagnostics),
}

/// Which of its `nodes` reads a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// Nobody asks.
    None,
    /// The one of this name. It is an error if there are nodes, and none has it.
    Named(String),
    /// The one of this host name, in full or up to its first dot; if there is none, none.
    Host(String),
}

/// [`load_as`], without asking which node this is.
pub fn load(
    text: impl AsRef<[u8]>,
    origin: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, Diagnostics> {
    load_as(text, origin, env, &Identity::None)
}

/// Reads a configuration. `origin` names it in diagnostics; `env` answers `${NAME}`.
pub fn load_as(
    text: impl AsRef<[u8]>,
    origin: &Path,
    env: &dyn Fn(&str) -> Option<String>,
    identity: &Identity,
) -> Result<Loaded, Diagnostics> {
    let bytes = text.as_ref();
    let mut problems = Problems::default();
    let text = readable(bytes, &mut problems);
    let config = config(text, env, identity, &mut problems);
    let failed = problems.has_errors();
    let diagnostics = problems.into_diagnostics(origin, text);
    match config {
        Some(config) if !failed => Ok(Loaded { config, warnings: diagnostics, sha256: sha256(bytes) }),
        _ => Err(diagnostics),
    }
}

/// [`load_as`] of a file, with the environment of this process.
pub fn load_file(path: &Path, identity: &Identity) -> Result<Loaded, LoadError> {
    let bytes = std::fs::read(path)?;
    load_as(bytes, path, &|name| std::env::var(name).ok(), identity).map_err(LoadError::Invalid)
}

/// Where lb listens for `lb reload` and the other verbs, according to a file that may be wrong everywhere else; none if
/// that cannot be told.
pub fn admin_socket(text: impl AsRef<[u8]>, env: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let mut problems = Problems::default();
    let text = readable(text.as_ref(), &mut problems);
    let root = raw(text, env, &mut problems)?;
    if root.admin.is_absent() {
        return Some(raw::Admin::default().socket());
    }
    let admin = root.admin.value()?;
    (admin.socket.is_absent() || admin.socket.value().is_some()).then(|| admin.socket())
}

fn config(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    identity: &Identity,
    problems: &mut Problems,
) -> Option<Config> {
    let raw = raw(text, env, problems)?;
    validate::config(&raw, identity, problems)
}

fn raw(text: &str, env: &dyn Fn(&str) -> Option<String>, problems: &mut Problems) -> Option<raw::Root> {
    let tree = Tree::parse(text, env, problems);
    let Some(root) = tree.root() else {
        if !problems.has_errors() {
            problems.error(Span::default(), "the file is empty");
        }
        return None;
    };
    let mut context = Context { tree: &tree, problems: std::mem::take(problems) };
    let raw = raw::Root::decode(root, &mut context);
    *problems = context.problems;
    raw
}

/// The part of a file that is text; a problem is noted where that is not all of it.
fn readable<'a>(bytes: &'a [u8], problems: &mut Problems) -> &'a str {
    if bytes.len() > LARGEST_FILE {
        problems.error(Span::default(), format!("the file has more than {} MiB", LARGEST_FILE >> 20));
        return "";
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let at = error.valid_up_to();
            problems.error(Span { start: at, end: at }, "the file is not UTF-8 from here on");
            std::str::from_utf8(&bytes[..at]).unwrap_or_default()
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(64);
    for byte in aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
