//! The machines that share the file, which of them this is, and what they tell each other.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::Validator;
use super::forward::family;
use crate::config::Identity;
use crate::config::address::{Address, MetricsListen};
use crate::config::decode::{At, Entry};
use crate::config::diagnostic::{Help, Span, nearest, quoted};
use crate::config::forms;
use crate::config::model::{self, Node, Secret};
use crate::config::raw;

impl Validator<'_, '_> {
    pub(super) fn nodes(&mut self, root: &raw::Root) -> Option<Vec<Node>> {
        let named = match &root.nodes {
            Entry::Absent => return Some(Vec::new()),
            Entry::Bad => return None,
            Entry::Given(at) if at.value.0.is_empty() => return self.refuse(at.key, "there are no nodes"),
            Entry::Given(at) => &at.value.0,
        };
        let nodes: Vec<_> = named.iter().map(|(name, raw)| self.node(name, raw.as_ref()?)).collect();
        self.shared_node_addresses(named);
        nodes.into_iter().collect()
    }

    fn node(&mut self, name: &At<String>, raw: &raw::Node) -> Option<Node> {
        let good_name = self.name(name, "");
        let address = self.required(&raw.address, name.span, "a node", "address").and_then(|at| self.own_address(at));
        let address6 = self.second_address(raw);
        Some(Node { name: good_name?, address: address?, address6: address6?, priority: raw.priority() })
    }

    fn own_address(&mut self, at: &At<Address>) -> Option<IpAddr> {
        let ip = at.value.0;
        if ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() || ip.to_canonical() != ip {
            return self.refuse(at.span, format!("the other nodes do not reach `{ip}`"));
        }
        Some(ip)
    }

    fn second_address(&mut self, raw: &raw::Node) -> Option<Option<std::net::Ipv6Addr>> {
        let at = match &raw.address6 {
            Entry::Absent => return Some(None),
            Entry::Bad => return None,
            Entry::Given(at) => at,
        };
        let first = raw.address.value().map(|address| address.0);
        match (self.own_address(at)?, first) {
            (IpAddr::V4(ip), _) => self.refuse(at.span, format!("`address6` is IPv6, and `{ip}` is not")),
            (IpAddr::V6(_), Some(IpAddr::V6(_))) => {
                self.refuse(at.span, "`address6` stands beside an IPv4 `address`; this one is IPv6 itself")
            }
            (IpAddr::V6(ip), _) => Some(Some(ip)),
        }
    }

    fn shared_node_addresses(&mut self, named: &[(At<String>, Option<raw::Node>)]) {
        let mut taken: Vec<(IpAddr, Span)> = Vec::new();
        let nodes = named.iter().filter_map(|(_, raw)| raw.as_ref());
        for at in nodes.flat_map(|raw| [raw.address.given(), raw.address6.given()]).flatten() {
            match taken.iter().find(|(ip, _)| *ip == at.value.0) {
                Some((ip, first)) => {
                    self.problems.error_with(at.span, format!("two nodes have `{ip}`"), Help::First(*first));
                }
                None => taken.push((at.value.0, at.span)),
            }
        }
    }

    /// `Some(None)`: none of them, which is for the caller to judge.
    pub(super) fn this_node(&mut self, root: &raw::Root, nodes: &[Node], identity: &Identity) -> Option<Option<usize>> {
        let called = |name: &str| nodes.iter().position(|node| *node.name == *name);
        match identity {
            Identity::None => Some(None),
            Identity::Host(host) => Some(called(host).or_else(|| called(host.split('.').next().unwrap_or(host)))),
            Identity::Named(_) if nodes.is_empty() => Some(None),
            Identity::Named(name) => match called(name) {
                Some(index) => Some(Some(index)),
                None => {
                    let near = nearest(name, nodes.iter().map(|node| &*node.name));
                    let help = near.map(|near| Help::Near { name: near.to_owned(), defined: None });
                    let message = format!("this is to be node {}, which is not among the nodes", quoted(name));
                    self.problems.error_with(root.nodes.key().unwrap_or_default(), message, help);
                    None
                }
            },
        }
    }

    pub(super) fn sync(&mut self, root: &raw::Root) -> Option<model::Sync> {
        let raw = match &root.sync {
            Entry::Absent => return Some(model::Sync::default()),
            Entry::Bad => return None,
            Entry::Given(at) if root.nodes.is_absent() => return self.refuse(at.key, "`sync` needs `nodes`"),
            Entry::Given(at) => &at.value,
        };
        let secret = raw.secret_file.value().cloned().map(Secret);
        Some(model::Sync { port: raw.port(), secret, flows: raw.flows() })
    }

    /// `Some(None)`: switched off.
    pub(super) fn metrics(&mut self, root: &raw::Root, this: Option<&Node>) -> Option<Option<model::Metrics>> {
        let (listen, span) = match &root.metrics {
            Entry::Bad => return None,
            Entry::Absent => (MetricsListen::LOOPBACK, Span::default()),
            Entry::Given(at) => match &at.value {
                forms::Metrics::Off => return Some(None),
                forms::Metrics::On(keys) => (keys.listen(), keys.listen.given().map_or(at.key, |listen| listen.span)),
            },
        };
        match listen {
            MetricsListen::Address(listen) => Some(Some(model::Metrics { listen, on_node: false })),
            MetricsListen::Node(_) if root.nodes.is_absent() => {
                self.refuse(span, "`node` is this node's own address, and there are no `nodes`")
            }
            MetricsListen::Node(port) => {
                let ip = this.map_or(model::Metrics::NO_NODE, |node| node.address);
                Some(Some(model::Metrics { listen: SocketAddr::new(ip, port), on_node: true }))
            }
        }
    }
}

/// `IPv4` or `IPv6`.
pub(super) fn family_word(v6: bool) -> &'static str {
    family(if v6 { std::net::Ipv6Addr::UNSPECIFIED.into() } else { std::net::Ipv4Addr::UNSPECIFIED.into() })
}

pub(super) fn names(nodes: &[Node]) -> impl Iterator<Item = &Arc<str>> {
    nodes.iter().map(|node| &node.name)
}
