//! The JSON Schema and the decoder must know the same keys.

use std::collections::BTreeSet;

use lb_core::config::{Diagnostics, schema};
use serde_json::{Map, Value};

use super::{difference, load, repository};

#[test]
fn the_schema_in_the_tree_is_fresh() {
    let differing = difference(&repository().join("deploy/schema/lb.schema.json"), &schema());
    assert!(differing.is_none(), "{}", differing.unwrap());
}

#[test]
fn every_key_is_described() {
    for (key, property) in objects(&parsed()).into_iter().flatten() {
        assert!(property["description"].as_str().is_some_and(|text| text.len() > 5), "`{key}` has no description");
    }
}

#[test]
fn the_decoder_knows_every_key_of_the_schema() {
    let unknown: Vec<String> = diagnostics_of_sample()
        .iter()
        .map(|diagnostic| diagnostic.message.clone())
        .filter(|message| message.starts_with("unknown key") && !message.contains(STRANGER))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn the_schema_knows_every_key_of_the_decoder() {
    // An unknown key is answered with all that are known in its place.
    let decoder: BTreeSet<BTreeSet<String>> = diagnostics_of_sample()
        .iter()
        .filter_map(|diagnostic| diagnostic.help.as_deref()?.strip_prefix("known here: "))
        .map(|keys| keys.split(", ").map(str::to_owned).collect())
        .collect();
    let schema: BTreeSet<BTreeSet<String>> =
        objects(&parsed()).into_iter().map(|object| object.keys().cloned().collect()).collect();
    assert_eq!(decoder, schema);
}

/// So that whatever is tried with that file is tried with every key.
#[test]
fn one_good_file_has_every_key() {
    let file = repository().join("tests/config/good/everything.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let is_there = |key: &str| text.split([' ', '\n', '{']).any(|word| word.strip_suffix(':') == Some(key));
    let schema = parsed();
    let keys = objects(&schema).into_iter().flat_map(Map::keys);
    let missing: Vec<_> = keys.filter(|key| !is_there(key)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// Near no key of the language.
const STRANGER: &str = "qqqqqqqqqqqqqqqq";

/// Of a file that has every key of the schema, and one stranger in every mapping.
fn diagnostics_of_sample() -> Diagnostics {
    let schema = parsed();
    load(sample(&schema, &schema).to_string()).unwrap_err()
}

fn parsed() -> Value {
    serde_json::from_str(&schema()).unwrap()
}

/// The properties of every mapping with fixed keys.
fn objects(schema: &Value) -> Vec<&Map<String, Value>> {
    let definitions = schema["definitions"].as_object().unwrap().values();
    definitions.chain([schema]).filter_map(|definition| definition["properties"].as_object()).collect()
}

fn sample(root: &Value, schema: &Value) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        return sample(root, root.pointer(reference.trim_start_matches('#')).unwrap());
    }
    if let Some(all) = schema["allOf"].as_array() {
        return sample(root, &all[0]);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        // The longest form has the most keys.
        return any.iter().map(|schema| sample(root, schema)).max_by_key(|value| value.to_string().len()).unwrap();
    }
    if let Some(properties) = schema["properties"].as_object() {
        let known = properties.iter().map(|(key, schema)| (key.clone(), sample(root, schema)));
        return known.chain([(STRANGER.to_owned(), Value::Null)]).collect::<Map<_, _>>().into();
    }
    if schema["additionalProperties"].is_object() {
        return serde_json::json!({ "name": sample(root, &schema["additionalProperties"]) });
    }
    if schema["items"].is_object() {
        return Value::Array(vec![sample(root, &schema["items"])]);
    }
    Value::String("x".to_owned())
}
