//! Whatever a file holds: no panic, and diagnostics that stand within the file.

use std::path::Path;

use lb_core::config::{self, Diagnostics, show};
use proptest::prelude::*;
use proptest::sample::Index;

use super::{corpus, good, good_texts};

/// What is put in place of a part of a good file.
const PIECES: [&str; 32] = [
    "",
    " ",
    "\n",
    "\t",
    ":",
    "- ",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "&a ",
    "*a",
    "!!str ",
    "${X}",
    "${X:-1}",
    "$${",
    "|\n",
    ">-\n",
    "---\n",
    "...\n",
    "? ",
    "<<: ",
    "#",
    "null",
    "\u{feff}",
    "\0",
    "\u{1f600}",
    "-1",
    "99999999999999999999",
    "%YAML 1.2\n",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_damaged_file_never_panics(
        file in any::<Index>(),
        edits in prop::collection::vec((any::<Index>(), 0_usize..8, prop::sample::select(PIECES.to_vec())), 1..6),
    ) {
        let texts = good_texts();
        let mut text = texts[file.index(texts.len())].clone();
        for (at, length, piece) in edits {
            let start = text.floor_char_boundary(at.index(text.len() + 1));
            let end = text.ceil_char_boundary((start + length).min(text.len()));
            text.replace_range(start..end, piece);
        }
        check(text.as_bytes());
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes);
    }

    #[test]
    fn a_line_less_or_twice_never_panics(file in any::<Index>(), line in any::<Index>(), times in prop::sample::select(vec![0, 2])) {
        let files = corpus("good");
        let text = std::fs::read_to_string(&files[file.index(files.len())]).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let line = line.index(lines.len());
        let damaged: Vec<&str> =
            lines.iter().enumerate().flat_map(|(n, text)| vec![*text; if n == line { times } else { 1 }]).collect();
        check(damaged.join("\n").as_bytes());
    }
}

fn check(bytes: &[u8]) {
    match config::load(bytes, Path::new("x"), &|name| (name == "X").then(|| "1s".to_owned())) {
        Ok(loaded) => assert_eq!(good(&show(&loaded.config)), loaded.config),
        Err(diagnostics) => check_diagnostics(&diagnostics, bytes),
    }
}

fn check_diagnostics(diagnostics: &Diagnostics, bytes: &[u8]) {
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
    assert!(!diagnostics.is_empty());
    assert!(diagnostics.iter().all(|diagnostic| (1..=lines).contains(&diagnostic.line) && diagnostic.column > 0));
    assert!(!diagnostics.to_string().contains('\u{1b}'));
}
