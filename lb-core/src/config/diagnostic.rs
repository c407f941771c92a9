//! What is wrong with a file, and where: collected while reading, shown all at once.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Characters of a word that a message repeats.
const MOST_QUOTED: usize = 60;
/// More than anybody reads at once; bounds memory on a hostile file.
const MOST_SHOWN: usize = 200;
/// Longer source lines are shown in part.
const WIDEST_LINE: usize = 160;

/// Every problem of one file, in the order of its lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    #[serde(skip)]
    left_out: usize,
    #[serde(skip)]
    origin: PathBuf,
}

/// One problem. Lines and columns start at 1; columns count characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    pub severity: Severity,
    pub message: String,
    pub line: usize,
    pub column: usize,
    pub help: Option<String>,
    #[serde(skip)]
    excerpt: Excerpt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
}

/// The source line as shown, and where the carets stand in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Excerpt {
    line: String,
    caret: usize,
    carets: usize,
}

/// A range of bytes in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    pub start: usize,
    pub end: usize,
}

impl Span {
    /// A part of it, by offsets from its start.
    pub fn part(self, from: usize, to: usize) -> Self {
        Span { start: self.start + from, end: self.start + to }
    }
}

/// Problems as they are found, before they are joined to the lines of the file.
#[derive(Debug, Default)]
pub(super) struct Problems {
    list: Vec<Problem>,
    left_out: usize,
    errors: usize,
}

#[derive(Debug)]
struct Problem {
    severity: Severity,
    span: Span,
    message: String,
    help: Option<Help>,
}

#[derive(Debug)]
pub(super) enum Help {
    Text(String),
    /// "did you mean", with the place where that name is defined.
    Near {
        name: String,
        defined: Option<Span>,
    },
    /// Where the other one of two stands.
    First(Span),
}

/// What a scalar's parser has to say about its text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub message: String,
    pub help: Option<String>,
}

impl Complaint {
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

impl Problems {
    pub fn error(&mut self, span: Span, message: impl Into<String>) {
        self.push(Severity::Error, span, message.into(), None);
    }

    pub fn error_with(&mut self, span: Span, message: impl Into<String>, help: impl Into<Option<Help>>) {
        self.push(Severity::Error, span, message.into(), help.into());
    }

    pub fn warning(&mut self, span: Span, message: impl Into<String>, help: impl Into<Option<Help>>) {
        self.push(Severity::Warning, span, message.into(), help.into());
    }

    pub fn complaint(&mut self, span: Span, complaint: Complaint) {
        self.push(Severity::Error, span, complaint.message, complaint.help.map(Help::Text));
    }

    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// How many so far.
    pub fn errors(&self) -> usize {
        self.errors
    }

    pub fn into_diagnostics(mut self, origin: &Path, text: &str) -> Diagnostics {
        self.list.sort_by_key(|problem| problem.span.start);
        let lines = Lines::of(text);
        let list = self.list.into_iter().map(|problem| problem.locate(&lines)).collect();
        Diagnostics { list, left_out: self.left_out, origin: origin.to_owned() }
    }

    fn push(&mut self, severity: Severity, span: Span, message: String, help: Option<Help>) {
        self.errors += usize::from(severity == Severity::Error);
        if self.list.len() == MOST_SHOWN {
            self.left_out += 1;
            return;
        }
        self.list.push(Problem { severity, span, message, help });
    }
}

impl Problem {
    fn locate(self, lines: &Lines<'_>) -> Diagnostic {
        let (line, column) = lines.position(self.span.start);
        Diagnostic {
            severity: self.severity,
            message: self.message,
            line,
            column,
            help: self.help.map(|help| help.words(lines)),
            excerpt: Excerpt::of(lines, self.span),
        }
    }
}

impl Help {
    fn words(self, lines: &Lines<'_>) -> String {
        match self {
            Help::Text(text) => text,
            Help::Near { name, defined: None } => format!("did you mean `{name}`?"),
            Help::Near { name, defined: Some(span) } => {
                format!("did you mean `{name}` (line {})?", lines.position(span.start).0)
            }
            Help::First(span) => format!("the first one is in line {}", lines.position(span.start).0),
        }
    }
}

impl Excerpt {
    /// Looks no further than what is shown: a file may be one line, with many problems.
    fn of(lines: &Lines<'_>, span: Span) -> Self {
        let (before, after) = lines.around(span.start);
        let before = last_chars(before, WIDEST_LINE);
        let after: String = after.chars().take(WIDEST_LINE).collect();
        let caret = before.chars().count();
        let carets = after.char_indices().take_while(|(at, _)| span.start + at < span.end).count().max(1);
        let line = before.chars().chain(after.chars()).map(printable).collect();
        Self { line, caret, carets }.shortened()
    }

    /// Keeps the carets in view where the line is too long to be shown.
    fn shortened(self) -> Self {
        let length = self.line.chars().count();
        if length <= WIDEST_LINE {
            return self;
        }
        let from = self.caret.saturating_sub(WIDEST_LINE / 2).min(length - WIDEST_LINE);
        let line: String = self.line.chars().skip(from).take(WIDEST_LINE).collect();
        let caret = self.caret - from;
        Self { line, caret, carets: self.carets.min((WIDEST_LINE - caret).max(1)) }
    }
}

/// A file may hold terminal escapes; what is shown must not.
fn printable(c: char) -> char {
    if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c }
}

/// Finds lines by byte offset.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// Line and column of an offset, both from 1.
    fn position(&self, offset: usize) -> (usize, usize) {
        let offset = self.text.floor_char_boundary(offset.min(self.text.len()));
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line - 1];
        (line, self.text[start..offset].chars().count() + 1)
    }

    /// The line of an offset, cut in two there. A position within the line break stands at its end.
    fn around(&self, offset: usize) -> (&'a str, &'a str) {
        let offset = self.text.floor_char_boundary(offset.min(self.text.len()));
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts[line - 1];
        let end = self.starts.get(line).map_or(self.text.len(), |next| next - 1);
        let line = &self.text[start..end];
        let line = line.strip_suffix('\r').unwrap_or(line);
        line.split_at((offset - start).min(line.len()))
    }
}

fn last_chars(text: &str, most: usize) -> &str {
    let from = text.char_indices().rev().nth(most - 1).map_or(0, |(at, _)| at);
    &text[from..]
}

impl Diagnostics {
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }
}

impl std::error::Error for Diagnostics {}

/// As a compiler would show them, without a line break at the end.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            diagnostic.write(f, &self.origin)?;
        }
        if self.left_out > 0 {
            write!(f, "\n\n... and {} more", self.left_out)?;
        }
        Ok(())
    }
}

impl Diagnostic {
    fn write(&self, f: &mut fmt::Formatter<'_>, origin: &Path) -> fmt::Result {
        writeln!(f, "{}: {}", self.severity, self.message)?;
        writeln!(f, "  --> {}:{}:{}", origin.display(), self.line, self.column)?;
        writeln!(f, "   | {}", self.excerpt.line)?;
        write!(f, "   | {}{}", self.excerpt.indent(), "^".repeat(self.excerpt.carets))?;
        match &self.help {
            Some(help) => write!(f, " help: {help}"),
            None => Ok(()),
        }
    }
}

impl Excerpt {
    /// Tabs stay, so that the carets stand below what they mean.
    fn indent(&self) -> String {
        self.line.chars().take(self.caret).map(|c| if c == '\t' { '\t' } else { ' ' }).collect()
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

/// A word of the file within a message.
pub(super) fn quoted(text: &str) -> String {
    if text.is_empty() {
        return "an empty text".to_owned();
    }
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    let mut shown: String = text.chars().take(MOST_QUOTED).map(escaped).collect();
    if text.chars().nth(MOST_QUOTED).is_some() {
        shown.push_str("...");
    }
    format!("`{shown}`")
}

/// The candidate that a person most likely meant.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > MOST_QUOTED {
        return None;
    }
    let tolerated = ((word.chars().count() + 1) / 4).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= tolerated)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wherever_a_problem_stands_its_carets_are_in_the_line() {
        let long = format!("{}\r\r\r\r\n\t{}", "x".repeat(200), "é".repeat(300));
        for text in ["", "\n", "\r\n", "a\r\r\r\n\n", "\t\u{1f600}b", &long, &"\r".repeat(400)] {
            for start in 0..=text.len() + 1 {
                for end in [start, start + 1, start + 500, 0] {
                    let diagnostic = one(text, Span { start, end });
                    let Excerpt { line, caret, carets } = diagnostic.excerpt;
                    let width = line.chars().count();
                    assert!(width <= WIDEST_LINE && carets > 0, "{line}");
                    assert!(caret + carets <= width.max(caret + 1) && caret <= width, "{line}: {caret} {carets}");
                }
            }
        }
    }

    #[test]
    fn what_is_shown_cannot_steer_a_terminal() {
        let diagnostic = one("a\u{1b}[2Jb", Span { start: 0, end: 1 });
        assert_eq!(diagnostic.excerpt.line, "a\u{fffd}[2Jb");
    }

    #[test]
    fn near_means_near() {
        let words = ["round-robin", "random", "pool"];
        assert_eq!(nearest("rond-robin", words), Some("round-robin"));
        assert_eq!(nearest("plo", words), None);
        assert_eq!(nearest("polo", words), Some("pool"));
        assert_eq!(nearest("fastest", words), None);
    }

    fn one(text: &str, span: Span) -> Diagnostic {
        let mut problems = Problems::default();
        problems.error(span, "x");
        problems.into_diagnostics(Path::new("x"), text).list.remove(0)
    }
}
