//! Every file below `tests/config` against what `load` says of it.
//!
//! `bad/x.yaml` stands beside `bad/x.stderr`, the diagnostics that a person sees; `LB_UPDATE=1` writes
//! them anew.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};

use lb_core::config::{self, Diagnostics, Loaded};

#[test]
fn bad_files_are_refused_with_the_expected_diagnostics() {
    let files = yaml_files("bad");
    assert!(!files.is_empty());
    let differing: Vec<String> = files.iter().filter_map(|file| difference(file)).collect();
    assert!(differing.is_empty(), "{}\nLB_UPDATE=1 accepts these", differing.join("\n"));
}

#[test]
fn good_files_load_without_a_warning_about_their_language() {
    for file in yaml_files("good") {
        if let Err(diagnostics) = load(&file) {
            panic!("{diagnostics}");
        }
    }
}

fn difference(file: &Path) -> Option<String> {
    let diagnostics = match load(file) {
        Ok(_) => return Some(format!("{} loads", file.display())),
        Err(diagnostics) => diagnostics.to_string(),
    };
    let expected_file = file.with_extension("stderr");
    if std::env::var_os("LB_UPDATE").is_some() {
        std::fs::write(&expected_file, &diagnostics).unwrap();
    }
    let expected = std::fs::read_to_string(&expected_file).unwrap_or_default();
    (expected != diagnostics).then(|| format!("{}\n--- expected\n{expected}\n--- found\n{diagnostics}", file.display()))
}

fn load(file: &Path) -> Result<Loaded, Diagnostics> {
    let origin = PathBuf::from(file.file_name().unwrap());
    config::load(std::fs::read(file).unwrap(), &origin, &|_| None)
}

fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/config").join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    files
}
