//! Addresses that are used twice.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::Validator;
use crate::config::address::MetricsListen;
use crate::config::decode::At;
use crate::config::diagnostic::{Help, Span};
use crate::config::forms::{self, Mode};
use crate::config::raw;

/// The frontend of each address, by address and whether it is UDP; port 0 is every port.
type Taken<'r> = HashMap<(SocketAddr, bool), (&'r str, Span)>;

impl Validator<'_, '_> {
    /// Two frontends, of whatever mode, or a frontend and the metrics, on one address.
    ///
    /// Layer 4 sees a packet before the kernel looks for a socket. So `0.0.0.0:80` of layer 7 beside
    /// `203.0.113.10:80` of layer 4 is clear: the one address is forwarded, and all others are served
    /// here. In the same way a port of layer 4 goes before `*` of the same address. But what layer 7
    /// serves on an address where layer 4 takes every port, nobody would ever reach.
    pub(super) fn shared_addresses(&mut self, root: &raw::Root) {
        let mut taken = Taken::new();
        for (name, frontend) in frontends(root) {
            let Some(listen) = frontend.listen.given() else { continue };
            let key = (listen.value.address, listen.value.udp);
            if let Some((other, span)) = taken.insert(key, (&name.value, listen.span)) {
                let message = format!("frontends `{other}` and `{}` listen on the same address", name.value);
                self.problems.error_with(listen.span, message, Help::First(span));
            }
        }
        for (name, frontend) in frontends(root).filter(|(_, frontend)| frontend.mode() == Mode::Http) {
            let Some(listen) = frontend.listen.given().filter(|listen| !listen.value.udp) else { continue };
            self.hidden(&taken, &format!("frontend `{}`", name.value), listen.value.address, listen.span);
        }
        self.metrics_address(root, &taken);
    }

    fn metrics_address(&mut self, root: &raw::Root, taken: &Taken<'_>) {
        let Some(forms::Metrics::On(metrics)) = root.metrics.value() else { return };
        for address in metrics_addresses(root, metrics.listen()) {
            if let Some((name, span)) = taken.get(&(address, false)) {
                let at = metrics.listen.given().map_or(*span, |listen| listen.span);
                self.problems.error(at, format!("metrics and frontend `{name}` listen on the same address"));
            }
            if let Some(listen) = metrics.listen.given() {
                self.hidden(taken, "the metrics", address, listen.span);
            }
        }
    }

    /// Does a frontend of layer 4 take every port of that address?
    fn hidden(&mut self, taken: &Taken<'_>, what: &str, address: SocketAddr, span: Span) {
        let every_port = (SocketAddr::new(address.ip(), 0), false);
        if let Some((other, _)) = taken.get(&every_port).filter(|_| address.port() != 0) {
            let message = format!("nobody reaches {what}: frontend `{other}` takes every port of `{}`", address.ip());
            self.problems.error(span, message);
        }
    }
}

fn frontends(root: &raw::Root) -> impl Iterator<Item = (&At<String>, &raw::Frontend)> {
    let named = root.frontends.value().into_iter().flat_map(|named| &named.0);
    named.filter_map(|(name, frontend)| Some((name, frontend.as_ref()?)))
}

/// `node` is another address on each node.
fn metrics_addresses(root: &raw::Root, listen: MetricsListen) -> Vec<SocketAddr> {
    let port = match listen {
        MetricsListen::Address(address) => return vec![address],
        MetricsListen::Node(port) => port,
    };
    let nodes = root.nodes.value().into_iter().flat_map(|named| &named.0);
    let addresses = nodes.filter_map(|(_, node)| node.as_ref()?.address.value());
    addresses.map(|address| SocketAddr::new(address.0, port)).collect()
}
