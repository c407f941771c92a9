//! `bad/x.yaml` stands beside `bad/x.stderr`, the diagnostics that a person sees.

use super::{corpus, difference, good_texts, load, load_as};

#[test]
fn bad_files_are_refused_with_the_expected_diagnostics() {
    let files = corpus("bad");
    assert!(files.len() >= 40, "the corpus has only {} bad files", files.len());
    let mut differing = Vec::new();
    for file in &files {
        let name = file.file_name().unwrap().to_str().unwrap();
        match load_as(name, std::fs::read(file).unwrap()) {
            Ok(_) => differing.push(format!("{name} loads")),
            Err(diagnostics) => {
                differing.extend(difference(&file.with_extension("stderr"), &format!("{diagnostics}\n")))
            }
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

#[test]
fn good_files_load_without_a_warning() {
    for text in good_texts() {
        let loaded = load(&text).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    }
}
