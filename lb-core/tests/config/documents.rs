//! What README.md and ARCHITECTURE.md say must be so: their configurations load, their tables know every
//! key and default of the schema, every metric and file that they name is there, and the maps of the tree (of its
//! folders, its modules, the data plane's maps) leave nothing out.

use std::collections::BTreeSet;
use std::path::Path;

use lb_core::config::schema;
use lb_core::metrics;
use serde_json::{Map, Value};

use super::{load_as, repository};

#[test]
fn every_configuration_in_the_readme_loads() {
    let readme = read("README.md");
    let blocks = yaml_blocks(&readme);
    assert!(blocks.len() >= 2, "a short one and a real one");
    for block in blocks {
        let loaded = load_as("README.md", block).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    }
}

#[test]
fn the_readme_shows_examples_as_they_are() {
    let readme = read("README.md");
    let shown = yaml_blocks(&readme);
    for example in ["minimal", "site", "pair"] {
        let text = read(&format!("deploy/examples/{example}.yaml"));
        assert!(shown.contains(&text.as_str()), "README.md shows another {example}.yaml");
    }
}

#[test]
fn the_tables_of_keys_agree_with_the_schema() {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    let readme = read("README.md");
    let mut documented = Vec::new();
    for table in key_tables(&readme) {
        for path in &table.paths {
            let mapping = find(&schema, path).unwrap_or_else(|| panic!("the schema has no mapping `{path}`"));
            table.compare(path, mapping["properties"].as_object().unwrap());
            documented.push(mapping);
        }
    }
    for (name, definition) in schema["definitions"].as_object().unwrap() {
        let has_keys = definition["properties"].is_object();
        let is_documented = documented.iter().any(|mapping| std::ptr::eq(*mapping, definition));
        assert!(!has_keys || is_documented, "README.md has no table for {name}");
    }
}

#[test]
fn every_metric_that_is_named_exists() {
    let known: BTreeSet<_> = metrics::ALL.iter().map(|metric| metric.name).collect();
    for file in ["README.md", "ARCHITECTURE.md"] {
        let text = read(file);
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let named = words.filter(|word| word.starts_with("lb_") || word.starts_with("process_"));
        let unknown: Vec<_> = named.filter(|word| !known.contains(word)).collect();
        assert!(unknown.is_empty(), "{file} names metrics that are not there: {unknown:?}");
    }
}

#[test]
fn every_file_that_is_named_exists() {
    let roots = ["", "lb-core/src", "lb-l7/src", "lb-l4/bpf", "src"].map(|root| repository().join(root));
    for file in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"] {
        let text = read(file);
        let named = code_spans(&text).filter(|span| is_path(span));
        let missing: Vec<_> = named.filter(|span| !roots.iter().any(|root| root.join(span).exists())).collect();
        assert!(missing.is_empty(), "{file} names files that are not there: {missing:?}");
    }
}

/// Not `/etc/lb`, `POOL/BACKEND:PORT` or `lb run`.
fn is_path(span: &str) -> bool {
    let plain = span.bytes().all(|b| b.is_ascii_alphanumeric() || b"./_-".contains(&b));
    let names_source = [".rs", ".c", ".h"].iter().any(|ending| span.ends_with(ending));
    plain && !span.starts_with('/') && (names_source || span.contains('/'))
}

#[test]
fn the_architecture_names_every_crate_and_every_set_of_tests() {
    let text = read("ARCHITECTURE.md");
    let named: Vec<_> = code_spans(&text).map(|span| span.trim_end_matches('/')).collect();
    let crates = CRATES.map(|(root, _)| root.trim_end_matches("/src").to_owned());
    let folders = ["tests", "benches"].into_iter().map(str::to_owned).chain(crates.map(|name| format!("{name}/tests")));
    let wanted: Vec<_> = entries("").into_iter().chain(folders.flat_map(|folder| entries(&folder))).collect();
    let is_named = |path: &String| {
        let (below, module) = (format!("{path}/"), format!("{path}.rs"));
        named.iter().any(|span| *span == path || *span == module || span.starts_with(&below))
    };
    let missing: Vec<_> = wanted.iter().filter(|path| !is_named(path)).collect();
    assert!(wanted.len() > 20 && missing.is_empty(), "ARCHITECTURE.md does not name {missing:?}");
}

const CRATES: [(&str, &str); 5] = [
    ("src", "main.rs"),
    ("lb-core/src", "lib.rs"),
    ("lb-l4/src", "lib.rs"),
    ("lb-l7/src", "lib.rs"),
    ("lb-vrrp/src", "lib.rs"),
];

/// What a folder holds of folders and tests, where there is such a folder.
fn entries(folder: &str) -> Vec<String> {
    let found = std::fs::read_dir(repository().join(folder)).into_iter().flatten().map(Result::unwrap);
    let ours = found.filter(|entry| entry.path().is_dir() || (entry.path().extension().is_some_and(|e| e == "rs")));
    let names = ours.map(|entry| entry.file_name().into_string().unwrap());
    let told =
        names.filter(|name| !name.starts_with('.') && !["target", "proptest-regressions"].contains(&name.as_str()));
    told.map(|name| if folder.is_empty() { name } else { format!("{folder}/{name}") }).collect()
}

#[test]
fn every_crate_opens_with_a_map_of_its_modules() {
    for (root, file) in CRATES {
        let text = read(&format!("{root}/{file}"));
        let map: String = text.lines().filter(|line| line.starts_with("//! |")).collect();
        let modules: Vec<_> = modules(&text).collect();
        let ways = |name: &str| [format!("`{name}`"), format!("`{name}()`"), format!("`mod@{name}`")];
        let has = |name: &str| ways(name).iter().any(|link| map.contains(link));
        let missing: Vec<_> = modules.iter().filter(|name| !has(name)).collect();
        assert!(modules.len() > 5 && missing.is_empty(), "{root}/{file} has no line for {missing:?}");
    }
}

/// But those of the tests.
fn modules(text: &str) -> impl Iterator<Item = &str> {
    let before = std::iter::once("").chain(text.lines());
    text.lines().zip(before).filter(|(_, before)| *before != "#[cfg(test)]").filter_map(|(line, _)| {
        let line = line.strip_prefix("pub ").unwrap_or(line);
        line.strip_prefix("mod ")?.strip_suffix(';')
    })
}

#[test]
fn the_architecture_has_every_map_of_the_data_plane() {
    let architecture = read("ARCHITECTURE.md");
    let mut maps = Vec::new();
    for entry in std::fs::read_dir(repository().join("lb-l4/bpf")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let names = text.lines().filter_map(|line| line.strip_prefix("} ")?.strip_suffix(" SEC(\".maps\");"));
        maps.extend(names.map(str::to_owned));
    }
    let missing: Vec<_> = maps.iter().filter(|name| !architecture.contains(&format!("\n| `{name}` |"))).collect();
    assert!(maps.len() > 10 && missing.is_empty(), "ARCHITECTURE.md has no line for {missing:?}");
}

fn read(file: &str) -> String {
    let path = repository().join(Path::new(file));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The blocks that are fenced as YAML.
fn yaml_blocks(text: &str) -> Vec<&str> {
    text.split("\n```yaml\n").skip(1).map(|rest| &rest[..rest.find("```").unwrap_or(rest.len())]).collect()
}

/// What stands between single backticks, outside fenced blocks.
fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    let prose = text.split("\n```").step_by(2);
    prose.flat_map(str::lines).flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// One table of the reference: `| path | default | |`, and a line for each key.
struct KeyTable<'t> {
    paths: Vec<&'t str>,
    /// Key, and what stands under `default`.
    rows: Vec<(&'t str, &'t str)>,
}

fn key_tables(text: &str) -> impl Iterator<Item = KeyTable<'_>> {
    text.split("\n\n").filter_map(|paragraph| {
        let mut lines = paragraph.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
        let header = lines.next().filter(|cells| cells.get(2) == Some(&"default"))?;
        let paths = if header[1] == "top level" { vec![""] } else { code_spans(header[1]).collect() };
        let rows = lines.skip(1).flat_map(|cells| code_spans(cells[1]).map(|key| (key, cells[2])).collect::<Vec<_>>());
        Some(KeyTable { paths, rows: rows.collect() })
    })
}

impl KeyTable<'_> {
    fn compare(&self, path: &str, properties: &Map<String, Value>) {
        let keys: BTreeSet<_> = self.rows.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, properties.keys().map(String::as_str).collect(), "the keys of `{path}`");
        for (key, written) in &self.rows {
            let expected = match &properties[*key]["default"] {
                Value::Null => None,
                Value::String(text) if text.is_empty() => None,
                Value::String(text) => Some(format!("`{text}`")),
                other => Some(format!("`{other}`")),
            };
            let literal = written.starts_with('`').then(|| (*written).to_owned());
            assert_eq!(literal, expected, "the default of `{path}.{key}`");
        }
    }
}

/// The mapping at a path such as `frontends.NAME.routes[]`.
fn find<'s>(root: &'s Value, path: &str) -> Option<&'s Value> {
    let mut steps = path.split('.').filter(|step| !step.is_empty());
    steps.try_fold(root, |schema, step| {
        let below = match step {
            "NAME" => &schema["additionalProperties"],
            key => &schema["properties"][key.trim_end_matches("[]")],
        };
        mapping(root, below)
    })
}

/// The mapping that a value may be, or that the items of a list may be.
fn mapping<'s>(root: &'s Value, schema: &'s Value) -> Option<&'s Value> {
    if let Some(reference) = schema["$ref"].as_str() {
        return mapping(root, root.pointer(reference.trim_start_matches('#'))?);
    }
    if schema["properties"].is_object() || schema["additionalProperties"].is_object() {
        return Some(schema);
    }
    let choices = schema["allOf"].as_array().or(schema["anyOf"].as_array()).into_iter().flatten();
    choices.chain(schema.get("items")).find_map(|choice| mapping(root, choice))
}
