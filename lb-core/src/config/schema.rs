//! The JSON Schema of the file, for editors. Made of the same description as the decoder.

use schemars::generate::SchemaSettings;

use super::raw::Root;

/// Draft 7, which is what editors understand of YAML.
pub fn schema() -> String {
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<Root>();
    schema.insert("title".to_owned(), "lb".into());
    // A tree of strings and numbers always serializes.
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}
