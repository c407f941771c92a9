//! The enums of types.h. BTF has none of them, for the fields that hold them are plain bytes.

const TYPES: &str = include_str!("../../bpf/types.h");

/// Names and values in order, without those that only mark an end.
pub fn enumeration(name: &str) -> Vec<(String, u32)> {
    let (_, rest) = TYPES.split_once(&format!("enum {name} {{")).unwrap_or_else(|| panic!("an enum {name}"));
    let (body, _) = rest.split_once("};").expect("its end");
    let mut next = 0;
    let mut constants = Vec::new();
    for constant in without_comments(body).split(',').map(str::trim).filter(|constant| !constant.is_empty()) {
        let (name, value) = match constant.split_once('=') {
            Some((name, value)) => (name.trim(), value.trim().parse().expect("a number")),
            None => (constant, next),
        };
        next = value + 1;
        constants.push((name.to_owned(), value));
    }
    constants.retain(|(name, _)| !name.ends_with("_END") && name != "FLOW_STATES");
    constants
}

fn without_comments(text: &str) -> String {
    let mut parts = text.split("/*");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once("*/").map_or("", |(_, behind)| behind))
}
