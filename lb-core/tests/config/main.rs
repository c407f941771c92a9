//! The configuration from outside: a corpus of files, the schema, `show` and `diff`.

#![expect(clippy::unwrap_used, reason = "a test")]

mod corpus;
mod deploy;
mod diff;
mod documents;
mod layer4;
mod mutate;
mod pair;
mod schema;
mod show;
mod text;

use std::path::{Path, PathBuf};

use lb_core::config::{self, Config, Diagnostics, Loaded};

/// No variable is set.
fn load(text: impl AsRef<[u8]>) -> Result<Loaded, Diagnostics> {
    load_as("lb.yaml", text)
}

fn load_as(name: &str, text: impl AsRef<[u8]>) -> Result<Loaded, Diagnostics> {
    config::load(text, Path::new(name), &|_| None)
}

fn good(text: &str) -> Config {
    load(text).unwrap_or_else(|diagnostics| panic!("{diagnostics}\n{text}")).config
}

/// The YAML files of a folder of the corpus.
fn corpus(folder: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(repository().join("tests/config").join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}

fn good_texts() -> Vec<String> {
    corpus("good").iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Compares with a file of the repository, or under `LB_UPDATE=1` writes it.
fn difference(file: &Path, found: &str) -> Option<String> {
    if std::env::var_os("LB_UPDATE").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, found).unwrap();
    }
    let expected = std::fs::read_to_string(file).unwrap_or_default();
    let name = file.file_name().unwrap().display();
    (expected != found)
        .then(|| format!("{name}\n--- expected\n{expected}\n--- found (LB_UPDATE=1 accepts it)\n{found}"))
}
