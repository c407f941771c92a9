//! Counts by label, such as drops by reason: in Rust a list, so that they keep their order; in JSON an object.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::ser::Serializer;

/// By label.
pub type Labelled = Vec<(String, u64)>;

pub fn serialize<S: Serializer>(counts: &[(String, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(counts.iter().map(|(label, count)| (label, count)))
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Labelled, D::Error> {
    deserializer.deserialize_map(InOrder)
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Labelled;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("counts by label")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labelled, A::Error> {
        let mut counts = Labelled::new();
        while let Some(count) = map.next_entry()? {
            counts.push(count);
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Report {
        #[serde(with = "super")]
        drops: super::Labelled,
    }

    #[test]
    fn an_object_in_the_order_of_the_list() {
        let report = Report { drops: vec![("ttl".to_owned(), 2), ("no_backend".to_owned(), 0)] };
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(json, r#"{"drops":{"ttl":2,"no_backend":0}}"#);
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    }
}
