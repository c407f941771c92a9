//! What README.md and ARCHITECTURE.md say must be so: their configurations load, their tables know every
//! key and default of the schema, and every metric and file that they name is there.

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
    let roots = ["", "lb-core", "lb-core/src", "lb-l7/src", "src"].map(|root| repository().join(root));
    for file in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"] {
        let text = read(file);
        let named = code_spans(&text).filter(|span| span.ends_with(".rs") || (span.ends_with('/') && span.len() > 1));
        let missing: Vec<_> =
            named.filter(|span| !span.starts_with('/') && !roots.iter().any(|root| root.join(span).exists())).collect();
        assert!(missing.is_empty(), "{file} names files that are not there: {missing:?}");
    }
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
