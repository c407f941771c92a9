//! The macros that make a raw type, its decoder and its JSON Schema out of one description, so that
//! the three cannot disagree.

use std::fmt::Write;
use std::ops::{Bound, RangeBounds};

use schemars::{Schema, json_schema};
use serde_json::{Map, Value, json};

use super::decode::{At, Entry, Scalar};
use super::diagnostic::{Complaint, Problems, nearest, quoted};

/// Types of a mapping with fixed keys: `key: Type = default, range;`. Every key is optional to the
/// decoder; a default makes a getter of the key's name.
macro_rules! keys {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident $what:literal {
            $( $(#[doc = $key_doc:literal])+ $key:ident : $kind:ty $(= $default:expr)? $(, $range:expr)? ; )*
        }
    )*) => { $(
        $(#[doc = $doc])+
        #[derive(Debug, Clone)]
        pub(in crate::config) struct $name {
            $( $(#[doc = $key_doc])+ pub $key: $crate::config::decode::Entry<$kind>, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $key: $crate::config::decode::Entry::Absent, )* }
            }
        }

        impl $name {
            $( $(
                pub fn $key(&self) -> $kind {
                    self.$key.value().cloned().unwrap_or_else(|| $default)
                }
            )? )*
        }

        impl $crate::config::decode::Decode for $name {
            fn decode<'t>(
                node: &'t $crate::config::tree::Node<'t>,
                context: &mut $crate::config::decode::Context<'t>,
            ) -> Option<Self> {
                let mut raw = Self::default();
                for entry in context.entries(node, $what, &[$( stringify!($key) ),*])? {
                    $( if entry.name == stringify!($key) {
                        let value = $crate::config::decode::Decode::decode(entry.node, context);
                        raw.$key.set(value, entry.node.span, entry.key);
                        $( $crate::config::keys::within(&mut raw.$key, entry.name, $range, &mut context.problems); )?
                        continue;
                    } )*
                }
                Some(raw)
            }

            fn schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                generator.subschema_for::<Self>()
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let mut object = $crate::config::keys::Object::new(&[$( $doc ),+]);
                $(
                    let schema = <$kind as $crate::config::decode::Decode>::schema(generator);
                    #[allow(unused_mut, reason = "a key may have neither default nor range")]
                    let mut property = $crate::config::keys::Property::new(schema, &[$( $key_doc ),+]);
                    $( property.default::<$kind>(&$default); )?
                    $( property.range::<$kind>($range); )?
                    object.property(stringify!($key), property);
                )*
                object.schema()
            }
        }
    )* };
}

/// Scalars of a closed set of words.
macro_rules! words {
    ($( $kind:ty, $what:literal { $( $word:literal => $value:path ),+ $(,)? } )+) => { $(
        impl $crate::config::decode::Scalar for $kind {
            const EXPECTED: &'static str = concat!("a word (", $what, ")");

            fn parse(text: &str) -> Result<Self, $crate::config::diagnostic::Complaint> {
                match text {
                    $( $word => Ok($value), )+
                    _ => Err($crate::config::keys::unknown_word($what, text, &[$( $word ),+])),
                }
            }

            fn written(&self) -> String {
                match self { $( $value => $word, )+ }.to_owned()
            }

            fn describe() -> schemars::Schema {
                schemars::json_schema!({ "enum": [$( $word ),+] })
            }
        }
    )+ };
}

pub(super) use {keys, words};

pub(super) fn unknown_word(what: &str, text: &str, words: &[&str]) -> Complaint {
    // What is near to a word of two or three characters means nothing.
    let near = nearest(text, words.iter().copied()).filter(|near| near.len() > 3);
    let help = match near {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("one of {}", words.join(", ")),
    };
    Complaint::new(format!("unknown {what} {}", quoted(text))).help(help)
}

/// Refuses a value outside its range.
pub(super) fn within<T: Scalar + PartialOrd>(
    entry: &mut Entry<T>,
    key: &str,
    range: impl RangeBounds<T>,
    problems: &mut Problems,
) {
    let Entry::Given(At { value, span, .. }) = entry else { return };
    if !range.contains(value) {
        problems.error(*span, format!("`{key}` must be {}, found `{}`", range_words(&range), value.written()));
        *entry = Entry::Bad;
    }
}

fn range_words<T: Scalar + PartialEq>(range: &impl RangeBounds<T>) -> String {
    match (bound(range.start_bound()), bound(range.end_bound())) {
        (Some(low), Some(high)) if low == high => low,
        (Some(low), Some(high)) => format!("from {low} to {high}"),
        (Some(low), None) => format!("at least {low}"),
        (None, Some(high)) => format!("at most {high}"),
        (None, None) => "anything".to_owned(),
    }
}

/// Ranges of the file include their ends.
fn bound<T: Scalar>(bound: Bound<&T>) -> Option<String> {
    match bound {
        Bound::Included(value) | Bound::Excluded(value) => Some(value.written()),
        Bound::Unbounded => None,
    }
}

/// The JSON Schema of a mapping with fixed keys.
pub(super) struct Object {
    doc: String,
    properties: Map<String, Value>,
}

/// The JSON Schema of what stands under one key.
pub(super) struct Property {
    schema: Schema,
    doc: String,
}

impl Object {
    pub fn new(doc: &[&str]) -> Self {
        Self { doc: sentence(doc), properties: Map::new() }
    }

    pub fn property(&mut self, key: &str, property: Property) {
        let mut schema = property.schema;
        schema.insert("description".to_owned(), Value::String(property.doc));
        self.properties.insert(key.to_owned(), schema.to_value());
    }

    pub fn schema(self) -> Schema {
        json_schema!({
            "type": "object",
            "description": self.doc,
            "properties": self.properties,
            "additionalProperties": false,
        })
    }
}

impl Property {
    pub fn new(schema: Schema, doc: &[&str]) -> Self {
        Self { schema, doc: sentence(doc) }
    }

    pub fn default<T: Scalar>(&mut self, value: &T) {
        self.schema.insert("default".to_owned(), value.to_json());
    }

    pub fn range<T: Scalar + PartialEq>(&mut self, range: impl RangeBounds<T>) {
        // JSON Schema can only limit numbers; the rest is told to the reader.
        for (name, bound) in [("minimum", range.start_bound()), ("maximum", range.end_bound())] {
            if let Bound::Included(value) = bound
                && let number @ Value::Number(_) = value.to_json()
            {
                self.schema.insert(name.to_owned(), number);
            }
        }
        // Writing to a String cannot fail.
        let _ = write!(self.doc, " Range: {}.", range_words(&range));
    }
}

fn sentence(doc: &[&str]) -> String {
    let mut text = doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    if !text.ends_with(['.', '?', '!']) {
        text.push('.');
    }
    text
}

/// A scalar that JSON Schema knows as text.
pub(super) fn text_schema(pattern: Option<&str>, examples: &[&str]) -> Schema {
    let mut schema = json_schema!({ "type": "string" });
    if let Some(pattern) = pattern {
        schema.insert("pattern".to_owned(), json!(pattern));
    }
    if !examples.is_empty() {
        schema.insert("examples".to_owned(), json!(examples));
    }
    schema
}
