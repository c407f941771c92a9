//! Virtual routers, one by one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::node::{family_word, names};
use super::{Validator, collect};
use crate::config::decode::{At, Entry, Named, OneOrMore, Scalar};
use crate::config::diagnostic::{Help, Span, nearest, quoted};
use crate::config::forms::{Checksum, Every, PreemptDelay, Priority};
use crate::config::model::{self, Node, Pool, VirtualRouter, VrrpPeers, VrrpPreempt, VrrpPriority, VrrpVersion};
use crate::config::raw;
use crate::config::scalar::{ms, secs};

/// More take longer to announce than anybody waits; RFC 9568 section 5.2.5 lists 255 in an advert.
const MOST_ADDRESSES: usize = 1000;
/// RFC 9568 section 5.2.7: 12 bits of hundredths.
const LONGEST_V3: Duration = ms(40_950);
/// RFC 3768 section 5.3.7: 8 bits of seconds.
const LONGEST_V2: Duration = secs(255);

/// What a virtual router may refer to; `None` where it could not be read, so that nothing can be called unknown.
#[derive(Clone, Copy)]
pub(super) struct Known<'k> {
    pub nodes: Option<&'k [Node]>,
    pub pools: Option<&'k [Arc<Pool>]>,
}

impl Validator<'_, '_> {
    pub(super) fn vrrp(&mut self, root: &raw::Root, known: Known<'_>) -> Option<Vec<Arc<VirtualRouter>>> {
        let named = match &root.vrrp {
            Entry::Absent => return Some(Vec::new()),
            Entry::Bad => return None,
            Entry::Given(at) => &at.value.0,
        };
        let routers: Vec<_> = named.iter().map(|(name, raw)| self.virtual_router(name, raw.as_ref()?, known)).collect();
        self.among_virtual_routers(named);
        routers.into_iter().map(|router| router.map(Arc::new)).collect()
    }

    fn virtual_router(
        &mut self,
        name: &At<String>,
        raw: &raw::VirtualRouter,
        known: Known<'_>,
    ) -> Option<VirtualRouter> {
        let good_name = self.name(name, "");
        let interface = self.required(&raw.interface, name.span, "a virtual router", "interface");
        let interface = interface.and_then(|at| self.interface_name(at));
        let vrid = self.required(&raw.vrid, name.span, "a virtual router", "vrid");
        let version = if raw.version() == 2 { VrrpVersion::V2 } else { VrrpVersion::V3 };
        let addresses = self.virtual_addresses(name, raw, version);
        let v6 = addresses.as_ref().and_then(|all| all.first()).map(|first| first.addr().is_ipv6());
        let interval = self.vrrp_interval(&raw.interval, version);
        let priority = self.vrrp_priority(&raw.priority, known);
        let peers = v6.and_then(|v6| self.vrrp_peers(&raw.peers, v6, known));
        let auth = self.vrrp_auth(&raw.auth, version);
        let track = self.trackers(&raw.track, known);
        let group = self.sync_group(&raw.group);
        let notify = self.notify(&raw.notify);
        let router = VirtualRouter {
            name: good_name?,
            interface: interface?,
            vrid: vrid?.value,
            version,
            interval: interval?,
            priority: priority?,
            preempt: preempt(raw.preempt_delay()),
            peers: peers?,
            addresses: addresses?,
            garp: garp(&raw.garp),
            track: track?,
            group: group?,
            auth: auth?,
            virtual_mac: raw.virtual_mac(),
            accept: raw.accept(),
            pseudo_header: raw.checksum() == Checksum::PseudoHeader,
            notify: notify?,
        };
        self.owners(name.span, raw, &router, known.nodes?).map(|()| router)
    }

    fn virtual_addresses(
        &mut self,
        name: &At<String>,
        raw: &raw::VirtualRouter,
        version: VrrpVersion,
    ) -> Option<Vec<IpNet>> {
        let list = self.required(&raw.addresses, name.span, "a virtual router", "addresses")?;
        if list.value.is_empty {
            return self.refuse(list.key, "a virtual router needs at least one address");
        }
        if list.value.items.len() > MOST_ADDRESSES {
            return self.refuse(list.key, format!("a virtual router has at most {MOST_ADDRESSES} addresses"));
        }
        let v6 = |at: &At<crate::config::address::VirtualAddress>| at.value.0.addr().is_ipv6();
        let first = list.value.items.first()?;
        if let Some(other) = list.value.items.iter().find(|item| v6(item) != v6(first)) {
            let help = "give the others to a second virtual router, in the same `group`";
            let message = "a virtual router has addresses of one family";
            self.problems.error_with(other.span, message, Help::Text(help.to_owned()));
            return None;
        }
        if v6(first) && version == VrrpVersion::V2 {
            return self.refuse(first.span, "version 2 is for IPv4 only");
        }
        Some(list.value.items.iter().map(|item| item.value.0).collect())
    }

    fn vrrp_interval(&mut self, entry: &Entry<Duration>, version: VrrpVersion) -> Option<Duration> {
        let (default, step, longest) = match version {
            VrrpVersion::V2 => (secs(1), secs(1), LONGEST_V2),
            VrrpVersion::V3 => (ms(100), ms(10), LONGEST_V3),
        };
        let at = match entry {
            Entry::Absent => return Some(default),
            Entry::Bad => return None,
            Entry::Given(at) => at,
        };
        let is_step = at.value.as_millis().is_multiple_of(step.as_millis());
        if !is_step || !(step..=longest).contains(&at.value) {
            let version = if version == VrrpVersion::V2 { 2 } else { 3 };
            let [step, longest] = [step, longest].map(|end| end.written());
            let message = format!("in version {version}, `interval` is a multiple of {step}, from {step} to {longest}");
            return self.refuse(at.span, message);
        }
        Some(at.value)
    }

    fn vrrp_priority(&mut self, entry: &Entry<Priority>, known: Known<'_>) -> Option<VrrpPriority> {
        let at = match entry {
            Entry::Absent => return Some(VrrpPriority::ByNode(BTreeMap::new())),
            Entry::Bad => return None,
            Entry::Given(at) => at,
        };
        match &at.value {
            Priority::One(priority) => self.priority(at.span, *priority).map(VrrpPriority::One),
            Priority::ByNode(named) => self.priorities(named, known).map(VrrpPriority::ByNode),
        }
    }

    fn priority(&mut self, span: Span, priority: u8) -> Option<u8> {
        if priority == 0 { self.refuse(span, "`priority` must be from 1 to 255, found `0`") } else { Some(priority) }
    }

    fn priorities(&mut self, named: &Named<u8>, known: Known<'_>) -> Option<BTreeMap<Arc<str>, u8>> {
        let all = named.0.iter().map(|(name, priority)| {
            let node = self.node_name(name, known);
            let priority = priority.and_then(|priority| self.priority(name.span, priority));
            Some((node?, priority?))
        });
        collect(all.collect()).map(BTreeMap::from_iter)
    }

    fn node_name(&mut self, name: &At<String>, known: Known<'_>) -> Option<Arc<str>> {
        let nodes = known.nodes?;
        if let Some(found) = names(nodes).find(|node| ***node == *name.value) {
            return Some(found.clone());
        }
        let near = nearest(&name.value, names(nodes).map(|node| &**node));
        let help = near.map(|near| Help::Near { name: near.to_owned(), defined: None });
        self.problems.error_with(name.span, format!("unknown node {}", quoted(&name.value)), help);
        None
    }

    fn vrrp_peers(&mut self, entry: &Entry<VrrpPeers>, v6: bool, known: Known<'_>) -> Option<VrrpPeers> {
        let nodes = known.nodes?;
        let without = nodes.iter().find(|node| node.address_of(v6).is_none());
        let at = match entry {
            Entry::Absent if nodes.len() > 1 && without.is_none() => return Some(VrrpPeers::Unicast),
            Entry::Absent => return Some(VrrpPeers::Multicast),
            Entry::Bad => return None,
            Entry::Given(at) => at,
        };
        if at.value == VrrpPeers::Multicast {
            return Some(VrrpPeers::Multicast);
        }
        if nodes.len() < 2 {
            return self.refuse(at.span, "`peers: unicast` is to the other `nodes`, and there are none");
        }
        if let Some(node) = without {
            let message = format!("node `{}` has no {} address for `peers: unicast`", node.name, family_word(v6));
            let help = if v6 { "`address6` of a node, or `peers: multicast`" } else { "or `peers: multicast`" };
            self.problems.error_with(at.span, message, Help::Text(help.to_owned()));
            return None;
        }
        Some(VrrpPeers::Unicast)
    }

    /// RFC 9568 section 5.2.4: 255 is for the one router whose own addresses these are.
    fn owners(&mut self, span: Span, raw: &raw::VirtualRouter, router: &VirtualRouter, nodes: &[Node]) -> Option<()> {
        let owners: Vec<_> = nodes.iter().filter(|node| router.priority_of(Some(node)) == 255).collect();
        if let [one, other, ..] = owners.as_slice() {
            let at = raw.priority.given().map_or(span, |priority| priority.span);
            let message =
                format!("nodes `{}` and `{}` both have priority 255, which one of them owns", one.name, other.name);
            return self.refuse(at, message);
        }
        let own =
            |node: &&Node, ip| router.priority_of(Some(node)) < 255 && node.address_of(router.is_v6()) == Some(ip);
        for item in raw.addresses.value().into_iter().flat_map(|list| &list.items) {
            let ip = item.value.0.addr();
            if let Some(node) = nodes.iter().find(|node| own(node, ip)) {
                let help = "the others may take it over where that node has priority 255";
                let message = format!("`{ip}` is the own address of node `{}`", node.name);
                self.problems.error_with(item.span, message, Help::Text(help.to_owned()));
                return None;
            }
        }
        Some(())
    }

    /// `Some(None)`: alone.
    fn sync_group(&mut self, entry: &Entry<String>) -> Option<Option<Arc<str>>> {
        match entry {
            Entry::Absent => Some(None),
            Entry::Bad => None,
            Entry::Given(at) => self.name(at, "").map(Some),
        }
    }

    fn notify(&mut self, entry: &Entry<OneOrMore<String>>) -> Option<Vec<String>> {
        match entry {
            Entry::Absent => Some(Vec::new()),
            Entry::Bad => None,
            Entry::Given(at) => self.command(at, "a hook"),
        }
    }
}

fn preempt(delay: PreemptDelay) -> VrrpPreempt {
    match delay {
        PreemptDelay::After(delay) => VrrpPreempt::After(delay),
        PreemptDelay::Never => VrrpPreempt::Never,
    }
}

fn garp(entry: &Entry<raw::Garp>) -> model::VrrpGarp {
    let garp = entry.value().cloned().unwrap_or_default();
    model::VrrpGarp {
        repeat: garp.repeat(),
        again: time(garp.again()),
        spacing: garp.spacing(),
        refresh: time(garp.refresh()),
    }
}

fn time(every: Every) -> Option<Duration> {
    match every {
        Every::Time(time) => Some(time),
        Every::Off => None,
    }
}
