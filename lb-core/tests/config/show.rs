//! What `show` writes, `load` reads back to the same.

use std::sync::Arc;

use lb_core::config::{Action, HeaderMatch, HostPattern, Mode, Respond, Route, show};
use proptest::prelude::*;

use super::{difference, good, good_texts, repository};

#[test]
fn every_good_file_comes_back() {
    for text in good_texts() {
        let config = good(&text);
        assert_eq!(good(&show(&config)), config);
    }
}

#[test]
fn defaults_are_written_out() {
    let minimal = std::fs::read_to_string(repository().join("tests/config/good/minimal.yaml")).unwrap();
    let file = repository().join("tests/config/show/minimal.yaml");
    let differing = difference(&file, &show(&good(&minimal)));
    assert!(differing.is_none(), "{}", differing.unwrap());
}

proptest! {
    /// Texts are where YAML has its traps: quotes, block scalars, words that read as numbers, `${`.
    #[test]
    fn any_text_comes_back(body in tricky(), value in tricky(), label in "[a-z0-9]{1,10}") {
        let mut config = good("frontends: { f: { listen: '0.0.0.0:80', routes: [{ respond: 200 }] } }");
        let route = Route {
            host: Some(HostPattern::Exact(label)),
            path: None,
            methods: Vec::new(),
            headers: vec![HeaderMatch { name: "x".to_owned(), value: Some(value) }],
            action: Action::Respond(Respond { status: 200, content_type: "text/plain".to_owned(), body }),
        };
        let Mode::Http(http) = &mut Arc::make_mut(&mut config.frontends[0]).mode else { unreachable!() };
        Arc::make_mut(http).routes.insert(0, route);
        prop_assert_eq!(good(&show(&config)), config);
    }
}

fn tricky() -> impl Strategy<Value = String> {
    prop_oneof![
        "(\\$|\\{|\\}|:|-|A|#|'|\"| |\n|\t|\\\\|~|null|true|off|1e3|0x1f|é|\u{1f600}|\r|\u{85}|\u{2028}|\u{feff}|\u{0}|\u{7f}){0,12}",
        any::<String>(),
    ]
}
