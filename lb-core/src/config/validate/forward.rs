//! Frontends of layer 4, and what they share.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::pool_use::Forwarded;
use super::{Validator, collect};
use crate::config::address::{Address, Listen};
use crate::config::decode::{At, Entry, List, Scalar};
use crate::config::diagnostic::{Help, Span, quoted};
use crate::config::forms::{self, Mode};
use crate::config::model::{self, FlowTimeouts, Forward, L4, Method, Snat, Transport};
use crate::config::raw;

impl<'r> Validator<'r, '_> {
    pub(super) fn forward(
        &mut self,
        name: &'r At<String>,
        raw: &'r raw::Frontend,
    ) -> Option<(SocketAddr, model::Mode)> {
        let layer7 = self.refuse_layer7(raw);
        let listen = self.forward_listen(name.span, raw);
        let pool = self.forward_pool(name, raw, listen);
        let method = self.method(raw);
        let persistence = self.persistence(&raw.persistence);
        layer7?;
        let listen = listen?;
        let protocol = if listen.udp { Transport::Udp } else { Transport::Tcp };
        let forward = Forward {
            method: method?,
            protocol,
            pool: pool?,
            timeouts: flow_timeouts(self.flow_timeouts, protocol, raw),
            on_backend_down: raw.on_backend_down(),
            persistence: persistence?,
        };
        Some((listen.address, model::Mode::Forward(Arc::new(forward))))
    }

    fn refuse_layer7(&mut self, raw: &raw::Frontend) -> Option<()> {
        let mode = raw.mode().written();
        let routes = raw.routes.key().map(|span| ("routes", span, "it has one `pool`"));
        let others = [
            ("tls", raw.tls.key(), "bytes pass as they are, TLS too"),
            ("timeouts", raw.timeouts.key(), "it has `idle_timeout`, and `l4.timeouts` for all"),
            ("limits", raw.limits.key(), "it has no requests to look at"),
            ("trusted_proxies", raw.trusted_proxies.key(), "it has no header to look at"),
        ];
        let others = others.into_iter().filter_map(|(key, span, why)| Some((key, span?, why)));
        let given: Vec<_> = routes.into_iter().chain(others).collect();
        for (key, span, why) in &given {
            let message = format!("`{key}` is of layer 7, and mode `{mode}` of layer 4");
            self.problems.error_with(*span, message, Help::Text((*why).to_owned()));
        }
        given.is_empty().then_some(())
    }

    fn forward_listen(&mut self, owner: Span, raw: &raw::Frontend) -> Option<Listen> {
        let listen = self.required(&raw.listen, owner, "a frontend", "listen")?;
        let ip = listen.value.address.ip();
        let help = if ip.is_unspecified() {
            format!(
                "such as `{}`",
                Listen { address: example(ip, listen.value.address.port()), ..listen.value }.written()
            )
        } else if ip.is_multicast() || !is_plain(ip) {
            format!("`{ip}` is none")
        } else {
            return Some(listen.value);
        };
        let message = "a layer-4 frontend needs the address that clients connect to";
        self.problems.error_with(listen.span, message, Help::Text(help));
        None
    }

    fn forward_pool(&mut self, name: &'r At<String>, raw: &raw::Frontend, listen: Option<Listen>) -> Option<Arc<str>> {
        let mode = raw.mode();
        if raw.pool.is_absent() {
            return self.refuse(name.span, format!("a frontend of mode `{}` needs `pool`", mode.written()));
        }
        let written = raw.pool.given()?;
        let pool = self.pool_name(written)?;
        if let (Some(listen), Some(user)) = (listen, self.pools.get_mut(written.value.as_str())) {
            user.forwarded.push(Forwarded { frontend: &name.value, mode, listen });
        }
        Some(pool)
    }

    fn method(&mut self, raw: &raw::Frontend) -> Option<Method> {
        let mode = raw.mode();
        match (mode, &raw.snat) {
            (_, Entry::Bad) => None,
            (Mode::Dr, Entry::Absent) => Some(Method::Dr),
            (Mode::Tunnel, Entry::Absent) => Some(Method::Tunnel),
            (Mode::Dr | Mode::Tunnel, Entry::Given(snat)) => {
                let help = Help::Text("the backends see the client's address, and answer it themselves".to_owned());
                let message = format!("`snat` is of mode `nat`, not of `{}`", mode.written());
                self.problems.error_with(snat.key, message, help);
                None
            }
            (_, Entry::Absent) => Some(Method::Nat { snat: Snat::Off }),
            (_, Entry::Given(snat)) => {
                let listen = raw.listen.value().map(|listen| listen.address.ip());
                self.snat(snat, listen).map(|snat| Method::Nat { snat })
            }
        }
    }

    fn snat(&mut self, snat: &At<forms::Snat>, listen: Option<IpAddr>) -> Option<Snat> {
        match &snat.value {
            forms::Snat::Off => Some(Snat::Off),
            forms::Snat::Auto => Some(Snat::Auto),
            forms::Snat::Addresses(list) if list.is_empty => {
                self.refuse(snat.span, "`snat` needs at least one address")
            }
            forms::Snat::Addresses(list) => self.snat_addresses(list, listen).map(Snat::Addresses),
        }
    }

    fn snat_addresses(&mut self, list: &List<Address>, listen: Option<IpAddr>) -> Option<Vec<IpAddr>> {
        let mut addresses = Vec::new();
        let checked = list.items.iter().map(|item| {
            let ip = item.value.0;
            if addresses.contains(&ip) {
                return self.refuse(item.span, format!("`{ip}` is there twice"));
            }
            addresses.push(ip);
            if ip.is_unspecified() || ip.is_multicast() || !is_plain(ip) {
                return self.refuse(item.span, format!("`{ip}` cannot be the address of a sender"));
            }
            if let Some(listen) = listen.filter(|listen| listen.is_ipv4() != ip.is_ipv4()) {
                return self.refuse(item.span, format!("`{ip}` is {}, and `listen` {}", family(ip), family(listen)));
            }
            Some(ip)
        });
        collect(checked.collect())
    }

    /// `Some(None)`: none.
    fn persistence(&mut self, entry: &Entry<forms::Persistence>) -> Option<Option<model::Persistence>> {
        let At { value: forms::Persistence(keys), key, .. } = match entry {
            Entry::Absent => return Some(None),
            Entry::Bad => return None,
            Entry::Given(persistence) => persistence,
        };
        let timeout = self.required(&keys.timeout, *key, "persistence", "timeout")?.value;
        Some(Some(model::Persistence { timeout, netmask: keys.netmask(), netmask6: keys.netmask6() }))
    }

    pub(super) fn l4(&mut self, root: &raw::Root) -> Option<L4> {
        let raw = match &root.l4 {
            Entry::Bad => return None,
            entry => entry.value().cloned().unwrap_or_default(),
        };
        let interfaces = self.interfaces(&raw.interfaces)?;
        Some(L4 {
            attach: raw.attach(),
            interfaces,
            flows: raw.flows(),
            new_flows_per_second: raw.new_flows_per_second(),
            snat_ports: RangeInclusive::clone(&raw.snat_ports().0),
            timeouts: self.flow_timeouts,
        })
    }

    /// `Some(None)`: to be found out.
    fn interfaces(&mut self, entry: &Entry<List<String>>) -> Option<Option<Vec<String>>> {
        let list = match entry {
            Entry::Absent => return Some(None),
            Entry::Bad => return None,
            Entry::Given(list) => list,
        };
        if list.value.is_empty {
            return self.refuse(list.key, "`interfaces` needs at least one name");
        }
        let mut names: Vec<&str> = Vec::new();
        let checked = list.value.items.iter().map(|item| {
            if names.contains(&item.value.as_str()) {
                return self.refuse(item.span, format!("{} is there twice", quoted(&item.value)));
            }
            names.push(&item.value);
            self.interface_name(item)
        });
        collect(checked.collect()).map(Some)
    }
}

/// Those of the file for every frontend.
pub(super) fn shared_timeouts(root: &raw::Root) -> FlowTimeouts {
    let raw = root.l4.value().and_then(|l4| l4.timeouts.value()).cloned().unwrap_or_default();
    FlowTimeouts { established: raw.established(), syn: raw.syn(), fin: raw.fin(), close: raw.close(), udp: raw.udp() }
}

fn flow_timeouts(shared: FlowTimeouts, protocol: Transport, raw: &raw::Frontend) -> FlowTimeouts {
    match (raw.idle_timeout.value().copied(), protocol) {
        (None, _) => shared,
        (Some(established), Transport::Tcp) => FlowTimeouts { established, ..shared },
        (Some(udp), Transport::Udp) => FlowTimeouts { udp, ..shared },
    }
}

/// No packet carries an IPv4 address that is mapped into IPv6.
fn is_plain(ip: IpAddr) -> bool {
    ip.to_canonical() == ip
}

pub(super) fn family(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// Of the ranges for documentation (RFC 5737, RFC 3849).
fn example(unspecified: IpAddr, port: u16) -> SocketAddr {
    match unspecified {
        IpAddr::V4(_) => SocketAddr::from(([203, 0, 113, 10], port)),
        IpAddr::V6(_) => SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10], port)),
    }
}
