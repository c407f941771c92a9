//! YAML text into a tree that knows where each node stands. The only file that names the YAML parser.
//!
//! The parser's events are taken as they come, rather than through serde: serde stops at the first
//! problem, merges or drops duplicate keys, and guesses types that the decoder must decide.

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, ScanError};

use super::diagnostic::{Help, Problems, Span, quoted};
use super::interpolate::interpolate;

/// Nodes of a file with every alias written out. 10,000 backends in full take 150,000.
const MOST_NODES: usize = 1_000_000;
/// Deeper than any key of the file can stand.
const DEEPEST: usize = 32;
/// Bytes that `${...}` may bring into a file.
const MOST_INTERPOLATED: usize = 8 << 20;

#[derive(Debug, Default)]
pub(super) struct Tree<'a> {
    nodes: Vec<Node<'a>>,
    root: Option<NodeId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NodeId(usize);

#[derive(Debug)]
pub(super) struct Node<'a> {
    pub span: Span,
    pub kind: Kind<'a>,
}

#[derive(Debug)]
pub(super) enum Kind<'a> {
    Scalar(Cow<'a, str>),
    /// Nothing, `~` or `null`.
    Null,
    List(Vec<NodeId>),
    /// In the order of the file; keys are scalars, duplicates included.
    Map(Vec<(NodeId, NodeId)>),
    /// Its problem was reported; to be passed over in silence.
    Bad,
}

impl<'a> Tree<'a> {
    /// After a syntax error, the tree holds nothing.
    pub fn parse(text: &'a str, env: &dyn Fn(&str) -> Option<String>, problems: &mut Problems) -> Self {
        let mut builder = Builder::new(text, env, problems);
        match builder.run() {
            Some(()) => builder.tree,
            None => Self::default(),
        }
    }

    pub fn root(&self) -> Option<&Node<'a>> {
        self.root.map(|id| self.node(id))
    }

    pub fn node(&self, id: NodeId) -> &Node<'a> {
        &self.nodes[id.0]
    }
}

struct Builder<'a, 'p> {
    text: &'a str,
    env: &'p dyn Fn(&str) -> Option<String>,
    problems: &'p mut Problems,
    tree: Tree<'a>,
    open: Vec<Open>,
    /// Finished nodes by the parser's anchor number, with their size.
    anchors: HashMap<usize, (NodeId, usize)>,
    /// Nodes so far with every alias written out.
    written_out: usize,
    /// Bytes that `${...}` may still bring in.
    room: usize,
    documents: usize,
}

/// A list or mapping that is not closed yet.
struct Open {
    id: NodeId,
    anchor: usize,
    /// `written_out` when it began.
    began: usize,
    key: Option<NodeId>,
}

impl<'a, 'p> Builder<'a, 'p> {
    fn new(text: &'a str, env: &'p dyn Fn(&str) -> Option<String>, problems: &'p mut Problems) -> Self {
        Self {
            text,
            env,
            problems,
            tree: Tree::default(),
            open: Vec::new(),
            anchors: HashMap::new(),
            written_out: 0,
            room: MOST_INTERPOLATED,
            documents: 0,
        }
    }

    fn run(&mut self) -> Option<()> {
        let options = granit_parser::options! {
            emit_comments: false,
            disallow_directives: true,
            emit_unresolved_aliases: true,
            flow_nesting_limit: DEEPEST,
            block_nesting_limit: DEEPEST,
        };
        for event in Parser::new_from_str_with_options(self.text, options) {
            let (event, span) = event.map_err(|error| self.syntax_error(&error)).ok()?;
            self.event(event, self.span(&span))?;
            if self.written_out > MOST_NODES {
                self.problems.error(self.span(&span), format!("more than {MOST_NODES} values, aliases written out"));
                return None;
            }
        }
        Some(())
    }

    fn event(&mut self, event: Event<'a>, span: Span) -> Option<()> {
        match event {
            Event::DocumentStart(..) => return self.document(span),
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(span, tag.is_some());
                let kind = self.scalar(text, style, span);
                let id = self.add(span, kind);
                self.remember(anchor, id, 1);
                self.attach(id);
            }
            Event::SequenceStart(_, anchor, tag) => self.begin(Kind::List(Vec::new()), anchor, span, tag.is_some()),
            Event::MappingStart(_, anchor, tag) => self.begin(Kind::Map(Vec::new()), anchor, span, tag.is_some()),
            Event::SequenceEnd | Event::MappingEnd => self.end(span),
            Event::Alias(anchor) => self.alias(anchor, span),
            Event::UnresolvedAlias(name) => {
                self.problems.error(span, format!("no anchor {} stands before this alias", quoted(&name)));
                let id = self.add(span, Kind::Bad);
                self.attach(id);
            }
            _ => {}
        }
        Some(())
    }

    fn document(&mut self, span: Span) -> Option<()> {
        self.documents += 1;
        if self.documents > 1 {
            self.problems.error(span, "a second YAML document; the file must hold one");
            return None;
        }
        Some(())
    }

    fn scalar(&mut self, text: Cow<'a, str>, style: ScalarStyle, span: Span) -> Kind<'a> {
        if style == ScalarStyle::Plain && matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL") {
            return Kind::Null;
        }
        if self.expects_key() { Kind::Scalar(text) } else { self.interpolated(text, span) }
    }

    fn interpolated(&mut self, text: Cow<'a, str>, span: Span) -> Kind<'a> {
        // Only where the text stands in the file as it is read, quotes aside, can a part of it be shown.
        let offset = self.text.get(span.start..span.end).and_then(|source| source.find(text.as_ref()));
        match interpolate(text, self.env, &mut self.room) {
            Ok(text) => Kind::Scalar(text),
            Err(failure) => {
                let at = offset.map(|offset| span.part(offset + failure.at.start, offset + failure.at.end));
                self.problems.error(at.unwrap_or(span), failure.message);
                Kind::Bad
            }
        }
    }

    fn begin(&mut self, kind: Kind<'a>, anchor: usize, span: Span, tagged: bool) {
        self.refuse_tag(span, tagged);
        let began = self.written_out;
        let id = self.add(span, kind);
        self.open.push(Open { id, anchor, began, key: None });
    }

    fn end(&mut self, span: Span) {
        let Some(Open { id, anchor, began, .. }) = self.open.pop() else { return };
        let node = &mut self.tree.nodes[id.0];
        node.span.end = span.end.max(node.span.end);
        self.remember(anchor, id, self.written_out - began);
        self.attach(id);
    }

    fn remember(&mut self, anchor: usize, id: NodeId, size: usize) {
        // The parser numbers anchors from 1; 0 is none.
        if anchor > 0 {
            self.anchors.insert(anchor, (id, size));
        }
    }

    fn alias(&mut self, anchor: usize, span: Span) {
        // A collection gets its anchor when it is closed: an alias inside itself is not found.
        let id = match self.anchors.get(&anchor).copied() {
            Some((id, size)) => {
                self.written_out = self.written_out.saturating_add(size);
                id
            }
            None => {
                self.problems.error(span, "an alias to a value that holds it");
                self.add(span, Kind::Bad)
            }
        };
        self.attach(id);
    }

    fn add(&mut self, span: Span, kind: Kind<'a>) -> NodeId {
        self.written_out += 1;
        self.tree.nodes.push(Node { span, kind });
        NodeId(self.tree.nodes.len() - 1)
    }

    fn attach(&mut self, id: NodeId) {
        let Some(parent) = self.open.last_mut() else {
            self.tree.root = Some(id);
            return;
        };
        match &mut self.tree.nodes[parent.id.0].kind {
            Kind::Map(entries) => match parent.key.take() {
                Some(key) => entries.push((key, id)),
                None => parent.key = Some(id),
            },
            Kind::List(items) => items.push(id),
            _ => {}
        }
    }

    fn expects_key(&self) -> bool {
        self.open.last().is_some_and(|open| open.key.is_none() && matches!(self.tree.node(open.id).kind, Kind::Map(_)))
    }

    fn refuse_tag(&mut self, span: Span, tagged: bool) {
        if tagged {
            self.problems.error(span, "YAML tags (`!...`) have no meaning here");
        }
    }

    fn syntax_error(&mut self, error: &ScanError) {
        let at = error.marker().byte_offset().unwrap_or(self.text.len());
        let span = Span { start: at, end: at };
        self.problems.error_with(span, format!("not valid YAML: {}", error.info()), self.braces(at));
    }

    /// YAML takes the braces of `${NAME}` for its own where it stands within others.
    fn braces(&self, at: usize) -> Option<Help> {
        let line = self.text.get(..at)?.rfind('\n').map_or(0, |end| end + 1);
        let is_there = self.text.get(line..)?.lines().next()?.contains("${");
        is_there.then(|| Help::Text("within braces or brackets, `${NAME}` stands in quotes".to_owned()))
    }

    fn span(&self, span: &granit_parser::Span) -> Span {
        let end = self.text.len();
        Span { start: span.start.byte_offset().unwrap_or(end), end: span.end.byte_offset().unwrap_or(end) }
    }
}
