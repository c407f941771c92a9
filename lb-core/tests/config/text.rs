//! Properties of `load` that need more than a file: the environment, the fingerprint, hostile sizes.

use std::path::Path;

use lb_core::config::{self, Identity, LoadError, Severity, load_file};

use super::{good, load};

const MINIMAL: &str =
    "{ frontends: { f: { listen: '${LISTEN}', pool: p } }, pools: { p: { backends: ['10.0.0.1:${PORT:-80}'] } } }";

#[test]
fn variables_are_taken_from_the_environment() {
    let env = |name: &str| (name == "LISTEN").then(|| "127.0.0.1:8080".to_owned());
    let config = config::load(MINIMAL, Path::new("x"), &env).unwrap().config;
    assert_eq!(config.frontends[0].listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.pools[0].backends[0].address.to_string(), "10.0.0.1:80");
}

#[test]
fn a_variable_cannot_bring_in_yaml() {
    let env = |_: &str| Some("1.2.3.4:80', pool: evil, x: '".to_owned());
    let diagnostics = config::load(MINIMAL, Path::new("x"), &env).unwrap_err();
    assert!(
        diagnostics.iter().all(|diagnostic| diagnostic.message.starts_with("expected an IP address")),
        "{diagnostics}"
    );
}

#[test]
fn a_variable_cannot_use_up_the_memory() {
    // In many scalars, and many times in one.
    for text in [format!("[{}]", "'${X}',".repeat(10_000)), "${X}".repeat(10_000)] {
        let diagnostics = config::load(text, Path::new("x"), &|_| Some("x".repeat(100_000))).unwrap_err();
        assert!(diagnostics.to_string().contains("environment variables make the file too long"));
    }
}

#[test]
fn the_fingerprint_is_that_of_the_bytes() {
    let text = "frontends: { f: { listen: '1.2.3.4:80', routes: [{ respond: 200 }] } }";
    let expected = "663d8a90efed32f5e5eb2f95f8245cc25422a6b4ec5d4c331647c97b087a9ae1";
    assert_eq!(load(text).unwrap().sha256, expected);
}

#[test]
fn a_file_is_unreadable_or_invalid() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(load_file(&folder.path().join("none.yaml"), &Identity::None), Err(LoadError::Unreadable(_))));
    let file = folder.path().join("lb.yaml");
    std::fs::write(&file, "frontends: 1").unwrap();
    let Err(LoadError::Invalid(diagnostics)) = load_file(&file, &Identity::None) else { panic!("it loads") };
    assert!(diagnostics.to_string().contains(&format!("{}:1:12", file.display())));
}

#[test]
fn warnings_do_not_refuse_a_file() {
    let loaded = load("{ frontends: { f: { listen: '1.2.3.4:80', routes: [{ respond: 200 }] } }, pools: { p: { backends: ['10.0.0.1:80'] } } }").unwrap();
    let warning = loaded.warnings.iter().next().unwrap();
    assert_eq!((warning.severity, warning.message.as_str()), (Severity::Warning, "pool `p` is not used"));
}

#[test]
fn diagnostics_are_machine_readable() {
    let diagnostics = load("frontends:\n  f: { lisen: 1 }").unwrap_err();
    let json: serde_json::Value = serde_json::to_value(&diagnostics).unwrap();
    let expected = serde_json::json!({
        "severity": "error",
        "message": "unknown key `lisen` in a frontend",
        "line": 2,
        "column": 8,
        "help": "did you mean `listen`?",
    });
    assert!(json.as_array().unwrap().contains(&expected), "{json}");
}

#[test]
fn a_bomb_of_aliases_is_refused() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..20 {
        let aliases = vec![format!("*a{}", n - 1); 10].join(", ");
        text += &format!("a{n}: &a{n} [{aliases}]\n");
    }
    let diagnostics = load(text).unwrap_err();
    assert!(diagnostics.to_string().contains("aliases written out"), "{diagnostics}");
}

#[test]
fn depth_and_number_of_problems_are_bounded() {
    for opening in ["[", "{ a: ", "- ", "? "] {
        let diagnostics = load(opening.repeat(100_000)).unwrap_err();
        assert!(diagnostics.to_string().len() < 1000, "{diagnostics}");
    }
    let many: String = (0..10_000).map(|n| format!("key{n}: 1\n")).collect();
    let diagnostics = load(many).unwrap_err();
    assert!(diagnostics.len() <= 200 && diagnostics.to_string().contains("and 98"), "{diagnostics}");
}

#[test]
fn a_file_without_end_is_refused_unread() {
    let diagnostics = load(vec![b'x'; 17 << 20]).unwrap_err();
    assert!(diagnostics.to_string().contains("the file has more than 16 MiB"));
}

#[test]
fn an_alias_may_repeat_a_value() {
    let config = good(
        "frontends: { f: { listen: '1.2.3.4:80', routes: [{ path: /a, pool: a }, { pool: b }] } }\n\
         pools:\n  a: { check: &often { tcp: {}, interval: 1s }, backends: ['10.0.0.1:80'] }\n  \
         b: { check: *often, backends: ['10.0.0.1:80'] }",
    );
    assert_eq!(config.pools[0].check, config.pools[1].check);
}
