//! What virtual routers must not share, and what they must.

use std::collections::HashMap;
use std::net::IpAddr;

use super::Validator;
use super::node::family_word;
use crate::config::decode::At;
use crate::config::diagnostic::{Help, Span, nearest};
use crate::config::raw;

type Named = [(At<String>, Option<raw::VirtualRouter>)];

impl Validator<'_, '_> {
    pub(super) fn among_virtual_routers(&mut self, named: &Named) {
        self.shared_vrids(named);
        self.shared_virtual_addresses(named);
        self.groups_of_one(named);
    }

    /// RFC 9568 section 5.2.3: the number tells them apart, in one network and family.
    fn shared_vrids(&mut self, named: &Named) {
        let mut taken: HashMap<(&str, u8, bool), Span> = HashMap::new();
        for (_, raw) in readable(named) {
            let (Some(interface), Some(vrid), Some(v6)) = (raw.interface.value(), raw.vrid.given(), is_v6(raw)) else {
                continue;
            };
            if let Some(first) = taken.get(&(interface.as_str(), vrid.value, v6)) {
                let message = format!("vrid {} is there twice on `{interface}` for {}", vrid.value, family_word(v6));
                self.problems.error_with(vrid.span, message, Help::First(*first));
            } else {
                taken.insert((interface, vrid.value, v6), vrid.span);
            }
        }
    }

    fn shared_virtual_addresses(&mut self, named: &Named) {
        let mut taken: HashMap<IpAddr, Span> = HashMap::new();
        let lists = readable(named).filter_map(|(_, raw)| raw.addresses.value());
        for item in lists.flat_map(|list| &list.items) {
            let ip = item.value.0.addr();
            if let Some(first) = taken.get(&ip) {
                self.problems.error_with(item.span, format!("`{ip}` is there twice"), Help::First(*first));
            } else {
                taken.insert(ip, item.span);
            }
        }
    }

    fn groups_of_one(&mut self, named: &Named) {
        let groups: Vec<&At<String>> = readable(named).filter_map(|(_, raw)| raw.group.given()).collect();
        for group in &groups {
            if groups.iter().filter(|other| other.value == group.value).count() > 1 || named.len() > groups_read(named)
            {
                continue;
            }
            let near =
                nearest(&group.value, groups.iter().map(|at| at.value.as_str()).filter(|name| *name != group.value));
            let help = match near {
                Some(name) => Help::Near { name: name.to_owned(), defined: None },
                None => Help::Text("those with the same `group` are active together".to_owned()),
            };
            self.problems.error_with(group.span, format!("group `{}` has only this virtual router", group.value), help);
        }
    }
}

fn readable(named: &Named) -> impl Iterator<Item = (&At<String>, &raw::VirtualRouter)> {
    named.iter().filter_map(|(name, raw)| Some((name, raw.as_ref()?)))
}

/// Those whose group, if any, is known.
fn groups_read(named: &Named) -> usize {
    readable(named).filter(|(_, raw)| !matches!(raw.group, crate::config::decode::Entry::Bad)).count()
}

fn is_v6(raw: &raw::VirtualRouter) -> Option<bool> {
    raw.addresses.value()?.items.first().map(|first| first.value.0.addr().is_ipv6())
}
