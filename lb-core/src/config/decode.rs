//! From the tree of a file to raw types. Nothing stops at a problem: it is noted, the entry counts as
//! [`Entry::Bad`], and reading goes on.

use std::borrow::Cow;
use std::collections::HashMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::diagnostic::{Complaint, Help, Problems, Span, nearest, quoted};
use super::tree::{Kind, Node, NodeId, Tree};

/// A raw type: how it is read, and how the JSON Schema describes it.
pub(super) trait Decode: Sized {
    /// `None` after a problem that was noted.
    fn decode<'t>(node: &'t Node<'t>, context: &mut Context<'t>) -> Option<Self>;

    fn schema(generator: &mut SchemaGenerator) -> Schema;
}

/// A raw type that is one word, number or text.
pub(super) trait Scalar: Sized {
    /// With article, as in "expected ...".
    const EXPECTED: &'static str;

    fn parse(text: &str) -> Result<Self, Complaint>;

    /// As a person would write it.
    fn written(&self) -> String;

    fn describe() -> Schema;

    /// `default` of the JSON Schema.
    fn to_json(&self) -> Value {
        Value::String(self.written())
    }
}

/// A value of the file with the places of its key and of itself.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub value: T,
    pub span: Span,
    /// In a list, the item's own.
    pub key: Span,
}

/// What a mapping says under one key.
#[derive(Debug, Clone)]
pub(super) enum Entry<T> {
    Absent,
    /// Its problem was noted.
    Bad,
    Given(At<T>),
}

/// What could be read of a list.
#[derive(Debug, Clone)]
pub(super) struct List<T> {
    pub items: Vec<At<T>>,
    /// Nothing was written, rather than nothing understood.
    pub is_empty: bool,
}

/// A list, or one item in its place.
#[derive(Debug, Clone)]
pub(super) struct OneOrMore<T>(pub List<T>);

/// A mapping from names that the file chooses.
#[derive(Debug, Clone)]
pub(super) struct Named<T>(pub Vec<(At<String>, Option<T>)>);

pub(super) struct Context<'t> {
    pub tree: &'t Tree<'t>,
    pub problems: Problems,
}

/// An entry of a mapping whose keys are fixed.
pub(super) struct KnownEntry<'t> {
    pub name: &'static str,
    pub key: Span,
    pub node: &'t Node<'t>,
}

impl<T> Entry<T> {
    pub fn given(&self) -> Option<&At<T>> {
        match self {
            Entry::Given(at) => Some(at),
            Entry::Absent | Entry::Bad => None,
        }
    }

    pub fn value(&self) -> Option<&T> {
        self.given().map(|at| &at.value)
    }

    /// Where its key stands, if it was given.
    pub fn key(&self) -> Option<Span> {
        self.given().map(|at| at.key)
    }

    pub fn is_absent(&self) -> bool {
        matches!(self, Entry::Absent)
    }

    pub fn set(&mut self, value: Option<T>, span: Span, key: Span) {
        *self = match value {
            Some(value) => Entry::Given(At { value, span, key }),
            None => Entry::Bad,
        };
    }
}

static BAD: Node<'static> = Node { span: Span { start: 0, end: 0 }, kind: Kind::Bad };

impl<'t> Context<'t> {
    /// The entries of a mapping, without those that are unknown or given twice.
    pub fn entries(&mut self, node: &'t Node<'t>, what: &str, keys: &[&'static str]) -> Option<Vec<KnownEntry<'t>>> {
        let entries = self.mapping(node, what)?;
        let mut first: Vec<Option<Span>> = vec![None; keys.len()];
        let mut known = Vec::with_capacity(entries.len());
        let mut misspelt = Vec::new();
        for &(key, value) in entries {
            let Some((word, span)) = self.key(key) else { continue };
            match keys.iter().position(|known| *known == word) {
                None => misspelt.extend(self.unknown_key(word, span, what, keys)),
                Some(index) => match first[index] {
                    Some(first) => self.duplicate_key(word, span, first),
                    None => {
                        first[index] = Some(span);
                        known.push(KnownEntry { name: keys[index], key: span, node: self.tree.node(value) });
                    }
                },
            }
        }
        // A misspelt key is not missed as well.
        let meant = misspelt.into_iter().filter(|index| first[*index].is_none());
        known.extend(meant.map(|index| KnownEntry { name: keys[index], key: Span::default(), node: &BAD }));
        Some(known)
    }

    pub fn expected<T>(&mut self, what: &str, node: &Node<'_>) -> Option<T> {
        if let Some(found) = found(node) {
            self.problems.error(node.span, format!("expected {what}, found {found}"));
        }
        None
    }

    fn mapping(&mut self, node: &'t Node<'t>, what: &str) -> Option<&'t [(NodeId, NodeId)]> {
        match &node.kind {
            Kind::Map(entries) => Some(entries),
            // A key whose entries are all commented out.
            Kind::Null => Some(&[]),
            _ => self.expected(&format!("a mapping ({what})"), node),
        }
    }

    fn key(&mut self, id: NodeId) -> Option<(&'t str, Span)> {
        let node = self.tree.node(id);
        match &node.kind {
            Kind::Scalar(word) => Some((word, node.span)),
            _ => self.expected("a word as key", node),
        }
    }

    /// The index of the key that was meant, if that can be told.
    fn unknown_key(&mut self, word: &str, span: Span, what: &str, keys: &[&'static str]) -> Option<usize> {
        let near = nearest(word, keys.iter().copied());
        let help = match near {
            Some(name) => Help::Near { name: name.to_owned(), defined: None },
            None if word == "<<" => {
                Help::Text("YAML's merge keys are not followed; `*name` repeats a whole value".to_owned())
            }
            None if keys.is_empty() => Help::Text("nothing stands here".to_owned()),
            None => Help::Text(format!("known here: {}", keys.join(", "))),
        };
        self.problems.error_with(span, format!("unknown key {} in {what}", quoted(word)), help);
        keys.iter().position(|key| Some(*key) == near)
    }

    fn duplicate_key(&mut self, word: &str, span: Span, first: Span) {
        self.problems.error_with(span, format!("duplicate key {}", quoted(word)), Help::First(first));
    }

    fn item<T: Decode>(&mut self, id: NodeId) -> Option<At<T>> {
        let node = self.tree.node(id);
        T::decode(node, self).map(|value| At { value, span: node.span, key: node.span })
    }
}

/// For "expected ..., found ...". `None` where the problem was noted before.
fn found(node: &Node<'_>) -> Option<String> {
    match &node.kind {
        Kind::Scalar(text) => Some(quoted(text)),
        Kind::Null => Some("nothing".to_owned()),
        Kind::List(_) => Some("a list".to_owned()),
        Kind::Map(_) => Some("a mapping".to_owned()),
        Kind::Bad => None,
    }
}

impl<S: Scalar> Decode for S {
    fn decode<'t>(node: &'t Node<'t>, context: &mut Context<'t>) -> Option<Self> {
        let Kind::Scalar(text) = &node.kind else { return context.expected(S::EXPECTED, node) };
        S::parse(text).map_err(|complaint| context.problems.complaint(node.span, complaint)).ok()
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let scalar = S::describe();
        if scalar == String::describe() {
            return scalar;
        }
        let variable = generator.subschema_for::<Variable>();
        json_schema!({ "anyOf": [scalar, variable] })
    }
}

/// A text with `${NAME}` or `${NAME:-default}`, which may stand for any scalar.
struct Variable;

impl JsonSchema for Variable {
    fn schema_name() -> Cow<'static, str> {
        "Variable".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Taken from the environment of lb when the file is read.",
            "type": "string",
            "pattern": "\\$\\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\\}",
        })
    }
}

impl<T: Decode> Decode for List<T> {
    fn decode<'t>(node: &'t Node<'t>, context: &mut Context<'t>) -> Option<Self> {
        let Kind::List(ids) = &node.kind else { return context.expected("a list", node) };
        let items = ids.iter().filter_map(|id| context.item(*id)).collect();
        Some(List { items, is_empty: ids.is_empty() })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let items = T::schema(generator);
        json_schema!({ "type": "array", "items": items })
    }
}

impl<T: Decode> Decode for OneOrMore<T> {
    fn decode<'t>(node: &'t Node<'t>, context: &mut Context<'t>) -> Option<Self> {
        if matches!(node.kind, Kind::List(_)) {
            return List::decode(node, context).map(OneOrMore);
        }
        let value = T::decode(node, context)?;
        Some(OneOrMore(List { items: vec![At { value, span: node.span, key: node.span }], is_empty: false }))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let one = T::schema(generator);
        let more = List::<T>::schema(generator);
        json_schema!({ "anyOf": [one, more] })
    }
}

impl<T: Decode> Decode for Named<T> {
    fn decode<'t>(node: &'t Node<'t>, context: &mut Context<'t>) -> Option<Self> {
        let mut first: HashMap<&str, Span> = HashMap::new();
        let mut named = Vec::new();
        for &(key, value) in context.mapping(node, "by name")? {
            let Some((name, span)) = context.key(key) else { continue };
            if let Some(first) = first.get(name) {
                context.duplicate_key(name, span, *first);
                continue;
            }
            first.insert(name, span);
            let value = T::decode(context.tree.node(value), context);
            named.push((At { value: name.to_owned(), span, key: span }, value));
        }
        Some(Named(named))
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let value = T::schema(generator);
        json_schema!({ "type": "object", "additionalProperties": value })
    }
}
