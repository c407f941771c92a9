//! Fields as `http` has them. Messages mostly say what others said before: such a field is shared, not made anew.

use std::cell::RefCell;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Fields that a worker remembers.
const SLOTS: usize = 64;
/// Longer values are seldom said twice.
const MAX_VALUE: usize = 128;
/// Others that a remembered field survives: where no value is like the last, few are remembered in vain.
const SURVIVES: u8 = 4;

thread_local! {
    static REMEMBERED: RefCell<[Slot; SLOTS]> = const { RefCell::new([const { Slot { known: None, others: 0 } }; SLOTS]) };
}

struct Slot {
    known: Option<Known>,
    /// That came in its place since it was last of use.
    others: u8,
}

struct Known {
    /// The name as it came.
    written: Box<[u8]>,
    name: HeaderName,
    value: HeaderValue,
}

/// Adds a field that was checked when it was parsed. Its name becomes lower case (RFC 9113 section 8.2.1).
pub fn append(map: &mut HeaderMap, name: &[u8], value: &[u8]) {
    let field = if value.len() > MAX_VALUE { make(name, value) } else { remembered(name, value) };
    if let Some((name, value)) = field {
        map.append(name, value);
    }
}

fn make(name: &[u8], value: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
}

fn remembered(name: &[u8], value: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let (first, last) = (name.first().copied().unwrap_or(0), name.last().copied().unwrap_or(0));
    let lengths = (name.len() as u32) << 8 | value.len() as u32;
    let key = u32::from(first) << 24 | u32::from(last) << 16 | lengths & 0xffff;
    // By the golden ratio: the upper bits depend on all of them.
    let at = (key.wrapping_mul(0x9e37_79b9) >> 16) as usize % SLOTS;
    REMEMBERED.with_borrow_mut(|slots| slots[at].field(name, value))
}

impl Slot {
    fn field(&mut self, name: &[u8], value: &[u8]) -> Option<(HeaderName, HeaderValue)> {
        if let Some(known) = &self.known
            && *known.written == *name
            && known.value == value
        {
            self.others = 0;
            return Some((known.name.clone(), known.value.clone()));
        }
        let made = make(name, value)?;
        self.others += 1;
        if self.known.is_none() || self.others > SURVIVES {
            self.others = 0;
            self.known = Some(Known { written: name.into(), name: made.0.clone(), value: made.1.clone() });
        }
        Some(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            append(&mut map, name.as_bytes(), value.as_bytes());
        }
        map.iter().map(|(n, v)| (n.to_string(), v.to_str().expect("text").to_owned())).collect()
    }

    #[test]
    fn a_field_says_the_same_whether_it_is_remembered_or_not() {
        let long = "x".repeat(MAX_VALUE + 1);
        for (name, value) in [("X-A", "1"), ("x-a", "1"), ("X-A", "2"), ("X-B", "1"), ("X-A", &long), ("X-A", "")] {
            for _ in 0..3 {
                assert_eq!(said(&[(name, value)]), [(name.to_lowercase(), value.to_owned())]);
            }
        }
    }

    #[test]
    fn what_cannot_be_said_is_left_out() {
        assert_eq!(said(&[("a b", "1"), ("a", "\n"), ("", "")]), []);
    }

    #[test]
    fn what_came_again_is_shared_until_others_take_its_place() {
        let mut slot = Slot { known: None, others: 0 };
        let mut say = |value: &str| slot.field(b"A", value.as_bytes()).expect("a field").1;
        let are_one = |a: &HeaderValue, b: &HeaderValue| a.as_bytes().as_ptr() == b.as_bytes().as_ptr();
        let first = say("1");
        assert!(are_one(&say("1"), &first));
        for other in 0..SURVIVES {
            say(&format!("other {other}"));
        }
        assert!(are_one(&say("1"), &first));
        let others: Vec<_> = (0..=SURVIVES).map(|_| say("2")).collect();
        assert!(are_one(&say("2"), &others[usize::from(SURVIVES)]));
        assert!(!are_one(&say("1"), &first));
    }
}
