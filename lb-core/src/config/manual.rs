//! The man page lb.yaml(5): every key, from the description that the decoder and the schema come from.

use std::collections::HashMap;
use std::fmt::Write;

use serde_json::Value;

use super::schema::schema;

const HEAD: &str = r#".SH NAME
lb.yaml \- the configuration of lb
.SH SYNOPSIS
.I /etc/lb/lb.yaml
.SH DESCRIPTION
One YAML file says what lb listens on, which backends it has, and how it treats them. It is read by
.BR lb\-run (1)
at the start and at every reload, and checked by
.BR lb\-check (1).
Unknown keys and keys that stand twice are errors, and all errors are told at once, each with its line.
.PP
Durations are written as
.BR 500ms ,
.BR 10s ,
.BR 5m ,
.BR 1h ;
sizes as
.BR 512 ,
.BR 16KiB ,
.BR 1MiB .
In values,
.B ${NAME}
stands for a variable of lb's environment, and
.B ${NAME:\-default}
for one that may be missing.
.SH EXAMPLE
.nf
frontends:
  web:
    mode: http
    listen: 0.0.0.0:80
    pool: web
pools:
  web:
    backends: [10.0.0.11:8080, 10.0.0.12:8080]
.fi
.SH KEYS
A word in capitals in a heading stands for a name of your choice, brackets for the entries of a list.
"#;

const TAIL: &str = r".SH SEE ALSO
.BR lb (1),
.BR lb\-run (1),
.BR lb\-check (1),
.BR lb\-reload (1),
.BR lb\-config\-show (1),
.BR lb\-config\-diff (1)
";

/// The page in the language of man(7). `version` is lb's own.
pub fn manual(version: &str) -> String {
    // It was made of such a tree.
    let schema: Value = serde_json::from_str(&schema()).unwrap_or_default();
    let mut page = Page { definitions: &schema["definitions"], told: HashMap::new(), text: String::new() };
    let _ = writeln!(page.text, ".TH lb.yaml 5 \"\" \"lb {version}\" \"File formats\"");
    page.text.push_str(HEAD);
    page.mapping("Top level", "", &schema);
    page.text.push_str(TAIL);
    page.text
}

struct Page<'s> {
    definitions: &'s Value,
    /// Mappings that have a section already, and its heading.
    told: HashMap<&'s str, String>,
    text: String,
}

/// Where below a key a mapping of keys stands.
struct Below<'s> {
    definition: &'s str,
    /// What the key's name is followed by on the way there.
    suffix: &'static str,
}

impl<'s> Page<'s> {
    /// The section of one mapping, then those of the mappings below it. Nothing in it can fail: it writes to a String.
    fn mapping(&mut self, heading: &str, path: &str, mapping: &'s Value) {
        let _ = writeln!(self.text, ".SS {}", escaped(heading));
        if !path.is_empty() {
            let _ = writeln!(self.text, "{}", prose(words(mapping, "description")));
        }
        let mut sections = Vec::new();
        for (key, property) in mapping["properties"].as_object().into_iter().flatten() {
            let below = below(property, "").map(|below| (below.definition, format!("{path}{key}{}", below.suffix)));
            self.key(key, property, below.as_ref());
            if let Some((definition, at)) = below
                && !self.told.contains_key(definition)
            {
                self.told.insert(definition, at.clone());
                sections.push((definition, at));
            }
        }
        for (definition, at) in sections {
            self.mapping(&at, &format!("{at}."), &self.definitions[definition]);
        }
    }

    fn key(&mut self, key: &str, property: &Value, below: Option<&(&str, String)>) {
        let _ = writeln!(self.text, ".TP\n.B {}\n{}", escaped(key), prose(words(property, "description")));
        if let Some(remark) = property["$comment"].as_str() {
            let _ = writeln!(self.text, "It is {}.", escaped(remark));
        }
        if let Some(default) = property.get("default").map(plain) {
            let _ = writeln!(self.text, "Default: \\fB{}\\fR.", escaped(&default));
        }
        if let Some((definition, at)) = below {
            let at = self.told.get(definition).unwrap_or(at);
            let _ = writeln!(self.text, "Its keys: see \\fI{}\\fR.", escaped(at));
        }
    }
}

/// The first mapping of keys that a key's value may be or hold.
fn below<'s>(schema: &'s Value, suffix: &'static str) -> Option<Below<'s>> {
    if let Some(reference) = schema["$ref"].as_str() {
        let definition = reference.rsplit('/').next()?;
        return (definition != "Variable").then_some(Below { definition, suffix });
    }
    let any = ["anyOf", "allOf", "oneOf"].iter().filter_map(|key| schema[*key].as_array()).flatten();
    any.filter_map(|one| below(one, suffix))
        .next()
        .or_else(|| schema.get("items").and_then(|items| below(items, "[]")))
        .or_else(|| schema.get("additionalProperties").and_then(|named| below(named, ".NAME")))
}

fn words<'s>(schema: &'s Value, key: &str) -> &'s str {
    schema[key].as_str().unwrap_or_default()
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What stands in backquotes is bold.
fn prose(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let parts = parts.map(|(n, part)| if n % 2 == 1 { format!("\\fB{}\\fR", escaped(part)) } else { escaped(part) });
    parts.collect()
}

/// Nothing in it is taken for a command of roff, or for a hyphen where it is a minus.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects() -> Vec<(String, Vec<String>)> {
        let schema: Value = serde_json::from_str(&schema()).expect("JSON");
        let definitions = schema["definitions"].as_object().expect("definitions").clone();
        let all = definitions.into_iter().chain([("Root".to_owned(), schema)]);
        let keys = |v: &Value| v["properties"].as_object().map(|p| p.keys().cloned().collect());
        all.filter_map(|(name, value)| Some((name, keys(&value)?))).collect()
    }

    #[test]
    fn every_key_of_every_mapping_is_there_once() {
        let page = manual("1");
        let expected: usize = objects().iter().map(|(_, keys)| keys.len()).sum();
        assert_eq!(page.matches("\n.TP\n.B ").count(), expected);
        assert_eq!(page.matches("\n.SS ").count(), objects().len());
        for (mapping, keys) in objects() {
            for key in keys {
                assert!(page.contains(&format!("\n.TP\n.B {key}\n")), "{mapping}: no {key}");
            }
        }
    }

    #[test]
    fn a_section_is_named_by_the_way_to_it() {
        let page = manual("1");
        for heading in ["frontends.NAME", "frontends.NAME.tls.certificates[]", "pools.NAME.check.http", "log.access"] {
            assert!(page.contains(&format!("\n.SS {heading}\n")), "{heading}");
        }
        assert!(page.contains(".B connect\nTCP and TLS handshake. Range: from 1ms to 1h.\nDefault: \\fB5s\\fR.\n"));
        assert!(page.contains("\\fIpools.NAME.backends[]\\fR"), "for `backup` as well");
    }

    #[test]
    fn nothing_is_taken_for_roff() {
        assert_eq!(prose("`a-b`: c\\d"), "\\fBa\\-b\\fR: c\\ed");
        assert_eq!(escaped(".x 'y'"), "\\&.x \\(aqy\\(aq");
    }
}
