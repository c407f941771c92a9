//! Scalars with the syntax of HTTP and of host names.

use std::ops::RangeInclusive;

use schemars::{Schema, json_schema};
use serde_json::{Value, json};

use super::decode::Scalar;
use super::diagnostic::Complaint;
use super::keys::text_schema;
use super::model::HostPattern;
use super::scalar::unexpected;

/// Methods whose case is worth a question.
const COMMON_METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Method(pub String);

/// Held in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HeaderName(pub String);

/// A status code, 100 to 599.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status(pub u16);

/// `200`, or `200-299`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StatusRange(pub RangeInclusive<u16>);

impl Scalar for Method {
    const EXPECTED: &'static str = "a method such as `GET`";

    fn parse(text: &str) -> Result<Self, Complaint> {
        if !is_token(text) {
            return Err(unexpected::<Self>(text));
        }
        // Methods are case-sensitive (RFC 9110, section 9.1): `get` would never match.
        match COMMON_METHODS.iter().find(|method| text.eq_ignore_ascii_case(method)) {
            Some(method) if *method != text => {
                Err(Complaint::new(format!("unknown method `{text}`")).help(format!("did you mean `{method}`?")))
            }
            _ => Ok(Method(text.to_owned())),
        }
    }

    fn written(&self) -> String {
        self.0.clone()
    }

    fn describe() -> Schema {
        text_schema(None, &["GET", "POST"])
    }
}

impl Scalar for HeaderName {
    const EXPECTED: &'static str = "the name of a header field";

    fn parse(text: &str) -> Result<Self, Complaint> {
        if is_token(text) { Ok(HeaderName(text.to_ascii_lowercase())) } else { Err(unexpected::<Self>(text)) }
    }

    fn written(&self) -> String {
        self.0.clone()
    }

    fn describe() -> Schema {
        text_schema(None, &["x-canary"])
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

impl Scalar for Status {
    const EXPECTED: &'static str = "a status code from 100 to 599";

    fn parse(text: &str) -> Result<Self, Complaint> {
        status(text).map(Status).ok_or_else(|| unexpected::<Self>(text))
    }

    fn written(&self) -> String {
        self.0.to_string()
    }

    fn describe() -> Schema {
        json_schema!({ "type": "integer", "minimum": 100, "maximum": 599 })
    }

    fn to_json(&self) -> Value {
        json!(self.0)
    }
}

impl Scalar for StatusRange {
    const EXPECTED: &'static str = "a status code or range such as `200` or `200-299`, from 100 to 599";

    fn parse(text: &str) -> Result<Self, Complaint> {
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        match (status(low), status(high)) {
            (Some(low), Some(high)) if low <= high => Ok(StatusRange(low..=high)),
            (Some(low), Some(high)) => {
                Err(Complaint::new(format!("the range `{text}` is empty"))
                    .help(format!("did you mean `{high}-{low}`?")))
            }
            _ => Err(unexpected::<Self>(text)),
        }
    }

    fn written(&self) -> String {
        let (low, high) = (self.0.start(), self.0.end());
        if low == high { low.to_string() } else { format!("{low}-{high}") }
    }

    fn describe() -> Schema {
        json_schema!({
            "type": ["integer", "string"],
            "minimum": 100,
            "maximum": 599,
            "pattern": "^[1-5][0-9][0-9](-[1-5][0-9][0-9])?$",
            "examples": [200, "200-299"],
        })
    }
}

fn status(text: &str) -> Option<u16> {
    text.parse().ok().filter(|code| (100..=599).contains(code) && text.len() == 3)
}

impl Scalar for HostPattern {
    const EXPECTED: &'static str = "a host name such as `www.example.com` or `*.example.com`";

    fn parse(text: &str) -> Result<Self, Complaint> {
        if text == "*" {
            return Err(Complaint::new("`*` alone is no host pattern").help("leave `host` out to match every host"));
        }
        let lower = text.to_ascii_lowercase();
        match lower.strip_prefix('*') {
            Some(suffix) if suffix.starts_with('.') => {
                host_name::<Self>(&suffix[1..], text)?;
                Ok(HostPattern::Suffix(suffix.to_owned()))
            }
            _ => {
                host_name::<Self>(&lower, text)?;
                Ok(HostPattern::Exact(lower))
            }
        }
    }

    fn written(&self) -> String {
        match self {
            HostPattern::Exact(host) => host.clone(),
            HostPattern::Suffix(suffix) => format!("*{suffix}"),
        }
    }

    fn describe() -> Schema {
        text_schema(None, &["www.example.com", "*.example.com"])
    }
}

/// The name or address of a host, without port.
pub(super) fn host_name<S: Scalar>(host: &str, written: &str) -> Result<(), Complaint> {
    if is_host_name(host) || is_ip_literal(host) {
        return Ok(());
    }
    let complaint = unexpected::<S>(written);
    Err(match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() && is_host_name(name) => {
            complaint.help("a host is compared without its port")
        }
        _ if !host.is_ascii() => complaint.help("write international names as they are sent (`xn--...`)"),
        _ => complaint,
    })
}

pub(super) fn is_host_name(host: &str) -> bool {
    !host.is_empty() && host.len() <= 253 && host.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn is_ip_literal(host: &str) -> bool {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok())
}
