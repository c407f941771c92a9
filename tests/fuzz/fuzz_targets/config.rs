//! The configuration: whatever the bytes, no panic and no exhaustion; what loads survives `show`.
#![no_main]

use std::path::Path;

use lb_core::config::{self, Loaded};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    match config::load(input, Path::new("lb.yaml"), &environment) {
        Ok(loaded) => comes_back(&loaded),
        Err(diagnostics) => {
            assert!(!diagnostics.is_empty());
            assert!(!diagnostics.to_string().contains('\u{1b}'), "terminal escapes come through");
        }
    }
});

fn comes_back(loaded: &Loaded) {
    let shown = config::show(&loaded.config);
    match config::load(&shown, Path::new("shown.yaml"), &|_| None) {
        Ok(again) => assert!(config::diff(&loaded.config, &again.config).is_empty() && loaded.config == again.config),
        Err(diagnostics) => panic!("{diagnostics}\n{shown}"),
    }
}

fn environment(name: &str) -> Option<String> {
    (name.len() == 1).then(|| format!("{name}:${{A}}\n"))
}
