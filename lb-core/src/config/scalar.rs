//! Numbers, durations, sizes and other scalars that mean the same wherever they stand.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use schemars::{Schema, json_schema};
use serde_json::{Value, json};

use super::decode::Scalar;
use super::diagnostic::{Complaint, quoted};
use super::keys::text_schema;

/// Bytes: `512`, `16KiB`, `1MiB`, `2GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Size(pub u64);

/// `20%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Percent(pub u32);

/// An even number of hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hex(pub Vec<u8>);

/// `1024-65535`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PortRange(pub RangeInclusive<u16>);

pub(super) const fn kib(n: u64) -> Size {
    Size(n << 10)
}

pub(super) const fn mib(n: u64) -> Size {
    Size(n << 20)
}

pub(super) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(super) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(super) const fn hours(n: u64) -> Duration {
    Duration::from_secs(n * 3600)
}

/// Largest first, in milliseconds.
const TIME_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
/// Largest first, in bytes.
const SIZE_UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl Scalar for Duration {
    const EXPECTED: &'static str = "a duration such as `500ms`, `10s` or `5m`";

    fn parse(text: &str) -> Result<Self, Complaint> {
        let (digits, unit) = split_number(text);
        let factor = TIME_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
        match (digits.parse::<u64>().ok(), factor) {
            (Some(n), Some(factor)) => {
                n.checked_mul(factor).map(Duration::from_millis).ok_or_else(|| too_large(text, "a duration"))
            }
            (Some(n), None) if unit.is_empty() => {
                Err(Complaint::new(format!("`{n}` needs a unit")).help(format!("`{n}s`, `{n}ms`, `{n}m` or `{n}h`")))
            }
            (None, _) if digits.len() > 15 => Err(too_large(text, "a duration")),
            _ => Err(unexpected::<Self>(text)),
        }
    }

    fn written(&self) -> String {
        let total = u64::try_from(self.as_millis()).unwrap_or(u64::MAX);
        written_in(total, &TIME_UNITS).unwrap_or_else(|| format!("{total}s"))
    }

    fn describe() -> Schema {
        text_schema(Some("^[0-9]+(ms|s|m|h)$"), &["100ms", "10s", "5m", "1h"])
    }
}

/// As a duration stands in the file: `500ms`, `20s`, `5m`, `1h`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    Scalar::parse(text).map_err(|Complaint { message, help }| match help {
        Some(help) => format!("{message} ({help})"),
        None => message,
    })
}

impl Scalar for Size {
    const EXPECTED: &'static str = "a size such as `512`, `16KiB` or `1MiB`";

    fn parse(text: &str) -> Result<Self, Complaint> {
        let (digits, unit) = split_number(text);
        let factor = SIZE_UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
        let factor = if unit.is_empty() || unit == "B" { Some(1) } else { factor };
        match (digits.parse::<u64>().ok(), factor) {
            (Some(n), Some(factor)) => n.checked_mul(factor).map(Size).ok_or_else(|| too_large(text, "a size")),
            (Some(n), None) => Err(match size_unit_meant(unit) {
                Some(meant) => {
                    Complaint::new(format!("unknown unit `{unit}`")).help(format!("did you mean `{n}{meant}`?"))
                }
                None => unexpected::<Self>(text),
            }),
            (None, _) if digits.len() > 15 => Err(too_large(text, "a size")),
            _ => Err(unexpected::<Self>(text)),
        }
    }

    fn written(&self) -> String {
        written_in(self.0, &SIZE_UNITS).unwrap_or_else(|| self.0.to_string())
    }

    fn describe() -> Schema {
        json_schema!({
            "type": ["integer", "string"],
            "pattern": "^[0-9]+(B|KiB|MiB|GiB)?$",
            "examples": [512, "16KiB", "1MiB"],
        })
    }
}

fn size_unit_meant(unit: &str) -> Option<&'static str> {
    match unit.to_ascii_lowercase().as_str() {
        "k" | "kb" | "kib" => Some("KiB"),
        "m" | "mb" | "mib" => Some("MiB"),
        "g" | "gb" | "gib" => Some("GiB"),
        _ => None,
    }
}

impl Scalar for Percent {
    const EXPECTED: &'static str = "a percentage such as `20%`";

    fn parse(text: &str) -> Result<Self, Complaint> {
        match split_number(text) {
            (digits, "%") => digits.parse().map(Percent).map_err(|_| unexpected::<Self>(text)),
            (digits, "") if !digits.is_empty() => {
                Err(Complaint::new(format!("`{digits}` needs a unit")).help(format!("did you mean `{digits}%`?")))
            }
            _ => Err(unexpected::<Self>(text)),
        }
    }

    fn written(&self) -> String {
        format!("{}%", self.0)
    }

    fn describe() -> Schema {
        text_schema(Some("^[0-9]+%$"), &["20%"])
    }
}

impl Scalar for bool {
    const EXPECTED: &'static str = "true or false";

    fn parse(text: &str) -> Result<Self, Complaint> {
        match text {
            "true" | "True" | "TRUE" => Ok(true),
            "false" | "False" | "FALSE" => Ok(false),
            _ => Err(unexpected::<Self>(text)),
        }
    }

    fn written(&self) -> String {
        self.to_string()
    }

    fn describe() -> Schema {
        json_schema!({ "type": "boolean" })
    }

    fn to_json(&self) -> Value {
        Value::Bool(*self)
    }
}

macro_rules! integers {
    ($($kind:ty),+) => { $(
        impl Scalar for $kind {
            const EXPECTED: &'static str = "a whole number";

            fn parse(text: &str) -> Result<Self, Complaint> {
                let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                text.parse().map_err(|_| match is_number {
                    true => Complaint::new(format!("{} is more than {}", quoted(text), <$kind>::MAX)),
                    false => unexpected::<Self>(text),
                })
            }

            fn written(&self) -> String {
                self.to_string()
            }

            fn describe() -> Schema {
                json_schema!({ "type": "integer", "minimum": <$kind>::MIN })
            }

            fn to_json(&self) -> Value {
                json!(self)
            }
        }
    )+ };
}

integers!(u8, u16, u32, u64, usize, i16);

impl Scalar for String {
    const EXPECTED: &'static str = "a text";

    fn parse(text: &str) -> Result<Self, Complaint> {
        Ok(text.to_owned())
    }

    fn written(&self) -> String {
        self.clone()
    }

    fn describe() -> Schema {
        json_schema!({ "type": "string" })
    }
}

impl Scalar for PathBuf {
    const EXPECTED: &'static str = "the path of a file";

    fn parse(text: &str) -> Result<Self, Complaint> {
        if text.is_empty() || text.contains('\0') { Err(unexpected::<Self>(text)) } else { Ok(PathBuf::from(text)) }
    }

    fn written(&self) -> String {
        self.to_string_lossy().into_owned()
    }

    fn describe() -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

impl Scalar for Hex {
    const EXPECTED: &'static str = "bytes in hexadecimal such as `00ff`";

    fn parse(text: &str) -> Result<Self, Complaint> {
        if let Some(odd) = text.chars().find(|c| !c.is_ascii_hexdigit()) {
            return Err(Complaint::new(format!("{} is no hexadecimal digit", quoted(&odd.to_string()))));
        }
        if text.is_empty() || text.len() % 2 == 1 {
            return Err(Complaint::new("expected two hexadecimal digits for each byte"));
        }
        let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
        Ok(Hex(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()))
    }

    fn written(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn describe() -> Schema {
        text_schema(Some("^([0-9A-Fa-f]{2})+$"), &["00ff"])
    }
}

impl Scalar for PortRange {
    const EXPECTED: &'static str = "a range of ports such as `1024-65535`";

    fn parse(text: &str) -> Result<Self, Complaint> {
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port != 0);
        let ends = text.split_once('-').and_then(|(low, high)| Some((port(low)?, port(high)?)));
        match ends {
            Some((low, high)) if low <= high => Ok(PortRange(low..=high)),
            Some((low, high)) => {
                Err(Complaint::new(format!("{} is empty", quoted(text))).help(format!("did you mean `{high}-{low}`?")))
            }
            None => Err(unexpected::<Self>(text)),
        }
    }

    fn written(&self) -> String {
        format!("{}-{}", self.0.start(), self.0.end())
    }

    fn describe() -> Schema {
        text_schema(Some("^[0-9]+-[0-9]+$"), &["1024-65535"])
    }
}

pub(super) fn unexpected<S: Scalar>(text: &str) -> Complaint {
    Complaint::new(format!("expected {}, found {}", S::EXPECTED, quoted(text)))
}

fn too_large(text: &str, what: &str) -> Complaint {
    Complaint::new(format!("{} is too large for {what} here", quoted(text)))
}

fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// In the largest unit that leaves no remainder.
fn written_in(total: u64, units: &[(&str, u64)]) -> Option<String> {
    let (name, factor) = units.iter().find(|(_, factor)| total >= *factor && total.is_multiple_of(*factor))?;
    Some(format!("{}{name}", total / factor))
}
