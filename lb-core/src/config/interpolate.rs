//! `${NAME}` and `${NAME:-default}` in scalars; `$${` stands for `${`.

use std::borrow::Cow;
use std::ops::Range;

/// What could not be replaced, and where in the text it stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub at: Range<usize>,
    pub message: String,
}

/// `room`: bytes that may come in from outside.
pub(super) fn interpolate<'a>(
    text: Cow<'a, str>,
    env: &dyn Fn(&str) -> Option<String>,
    room: &mut usize,
) -> Result<Cow<'a, str>, Failure> {
    if !text.contains("${") {
        return Ok(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_ref();
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            out.push_str(&rest[..at - 1]);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let start = text.len() - rest.len() + at;
        let inner = &rest[at + 2..];
        let end = inner.find('}').ok_or_else(|| Failure::new(start..text.len(), "`${` without its `}`"))?;
        let value = brought_in(&inner[..end], env, room);
        out.push_str(&value.map_err(|message| Failure::new(start..start + end + 3, message))?);
        rest = &inner[end + 1..];
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

fn value(reference: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    if !is_name(name) {
        return Err(format!("`{name}` is no name of an environment variable"));
    }
    // As in a shell, `:-` also stands in for a variable that is set but empty.
    let found = env(name).filter(|value| default.is_none() || !value.is_empty());
    found.or_else(|| default.map(str::to_owned)).ok_or_else(|| format!("environment variable `{name}` is not set"))
}

fn brought_in(reference: &str, env: &dyn Fn(&str) -> Option<String>, room: &mut usize) -> Result<String, String> {
    let too_long = || "environment variables make the file too long".to_owned();
    // A file may ask for a large variable very often: once the room is used up, nothing is fetched.
    if *room == 0 {
        return Err(too_long());
    }
    let value = value(reference, env)?;
    let left = room.checked_sub(value.len());
    *room = left.unwrap_or(0);
    left.map(|_| value).ok_or_else(too_long)
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl Failure {
    fn new(at: Range<usize>, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> Result<String, Failure> {
        let env = |name: &str| match name {
            "PORT" => Some("8080".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        interpolate(Cow::Borrowed(text), &env, &mut 100).map(Cow::into_owned)
    }

    #[test]
    fn variables_and_defaults_are_put_in() {
        assert_eq!(run("127.0.0.1:${PORT}"), Ok("127.0.0.1:8080".into()));
        assert_eq!(run("${HOST:-localhost}:${PORT:-1}"), Ok("localhost:8080".into()));
        assert_eq!(run("[${EMPTY}][${EMPTY:-x}][${NONE:-}]"), Ok("[][x][]".into()));
    }

    #[test]
    fn a_value_is_not_looked_into_again() {
        let env = |_: &str| Some("${PORT}".to_owned());
        assert_eq!(interpolate(Cow::Borrowed("${A}"), &env, &mut 100).unwrap(), "${PORT}");
    }

    #[test]
    fn a_doubled_dollar_escapes() {
        assert_eq!(run("$${PORT} $5 $$"), Ok("${PORT} $5 $$".into()));
    }

    #[test]
    fn what_comes_in_is_bounded() {
        assert_eq!(run(&"${PORT}".repeat(25)).unwrap().len(), 100);
        assert_eq!(run(&"${PORT}".repeat(26)).unwrap_err().at, 175..182);
    }

    #[test]
    fn failures_say_where() {
        assert_eq!(run("a ${NONE} b").unwrap_err().at, 2..9);
        assert_eq!(run("a ${NONE").unwrap_err().at, 2..8);
        assert_eq!(run("${no-name}").unwrap_err().message, "`no-name` is no name of an environment variable");
    }
}
