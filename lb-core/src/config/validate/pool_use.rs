//! What the frontends of a pool demand of it. HTTP needs ports; layer 4 can leave them to the frontend,
//! and knows nothing of requests.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Validator;
use super::forward::family;
use crate::config::address::Listen;
use crate::config::decode::{At, Entry, Scalar};
use crate::config::diagnostic::{Help, Span};
use crate::config::forms::{self, Mode};
use crate::config::model::{Backend, Scheduler};
use crate::config::raw;

/// Where a pool is defined, and who uses it.
pub(super) struct PoolUse<'r> {
    pub defined: Span,
    /// By anybody, if only by a frontend that has problems.
    pub is_used: bool,
    /// By a frontend of layer 7.
    pub by_http: bool,
    pub forwarded: Vec<Forwarded<'r>>,
}

/// One frontend of layer 4.
#[derive(Clone, Copy)]
pub(super) struct Forwarded<'r> {
    pub frontend: &'r str,
    pub mode: Mode,
    pub listen: Listen,
}

impl<'r> PoolUse<'r> {
    pub fn unused(defined: Span) -> Self {
        Self { defined, is_used: false, by_http: false, forwarded: Vec::new() }
    }

    /// Nothing but packets comes to it.
    fn only_forwards(&self) -> bool {
        !self.forwarded.is_empty() && !self.by_http
    }

    fn needs_ports(&self) -> bool {
        self.by_http || !self.is_used
    }
}

impl Validator<'_, '_> {
    /// Port 0 where there is none and none is needed.
    pub(super) fn backend_address(&mut self, pool: &str, item: &At<forms::BackendEntry>) -> Option<SocketAddr> {
        let written = self.required(&item.value.0.address, item.span, "a backend", "address")?;
        let needs_port = self.pools.get(pool).is_none_or(PoolUse::needs_ports);
        let address = match written.value.socket() {
            Ok(address) => address,
            Err(_) if !needs_port => SocketAddr::new(written.value.ip, 0),
            Err(complaint) => {
                self.problems.complaint(written.span, complaint);
                return None;
            }
        };
        let forwarded = self.pools.get(pool).map(|pool| pool.forwarded.clone()).unwrap_or_default();
        let complaint = forwarded.iter().find_map(|frontend| frontend.refuses(address));
        match complaint {
            Some((message, help)) => {
                self.problems.error_with(written.span, message, help.map(Help::Text));
                None
            }
            None => Some(address),
        }
    }

    /// Settings that would do nothing, because only layer 4 uses the pool, or that it cannot follow.
    pub(super) fn layer7_settings(&mut self, name: &str, raw: &raw::Pool) -> Option<()> {
        let pool = self.pools.get(name)?;
        let Some(user) = pool.forwarded.first().copied() else { return Some(()) };
        let only_forwards = pool.only_forwards();
        let errors_before = self.problems.errors();
        if let Some(scheduler) = raw.scheduler.given().filter(|scheduler| scheduler.value == Scheduler::Random) {
            let message = format!("scheduler `random` is of layer 7, and frontend `{}` of layer 4", user.frontend);
            self.problems.error_with(scheduler.span, message, Help::Text("such as `round-robin`".to_owned()));
        }
        if only_forwards {
            self.settings_of_requests(name, raw, user);
        }
        (self.problems.errors() == errors_before).then_some(())
    }

    fn settings_of_requests(&mut self, name: &str, raw: &raw::Pool, user: Forwarded<'_>) {
        // Checks over TLS verify by it, whoever uses the pool.
        let tls_of_checks = raw.check.value().is_some_and(|check| !check.https.is_absent());
        let keys = [
            ("protocol", raw.protocol.key()),
            ("tls", raw.tls.key().filter(|_| !tls_of_checks)),
            ("timeouts", raw.timeouts.key()),
            ("retry", raw.retry.key()),
            ("max_queue", raw.max_queue.key()),
            ("max_idle", raw.max_idle.key()),
            ("via", raw.via.key()),
        ];
        let of_pool = keys.into_iter().filter_map(|(key, span)| Some((key, span?)));
        let lists = [&raw.backends, &raw.backup].into_iter().filter_map(Entry::value);
        let backends = lists.flat_map(|list| &list.items);
        let of_backends =
            backends.filter_map(|item| item.value.0.max_connections.key()).map(|s| ("max_connections", s));
        for (key, span) in of_pool.chain(of_backends) {
            let message = format!("`{key}` is of layer 7, and pool `{name}` is used by layer 4 only");
            let help = format!("frontend `{}` is of mode `{}`", user.frontend, user.mode.written());
            self.problems.error_with(span, message, Help::Text(help));
        }
    }

    /// The port of checks for backends that have none: that of all frontends, if it is one.
    /// `Some(None)` where nobody needs it.
    pub(super) fn frontend_port(
        &mut self,
        name: &str,
        raw: &raw::Pool,
        all: [&[Arc<Backend>]; 2],
    ) -> Option<Option<u16>> {
        let Some(check) = raw.check.given() else { return Some(None) };
        let has_ports = all.into_iter().flatten().all(|backend| backend.address.port() != 0);
        if has_ports || !check.value.port.is_absent() {
            return Some(None);
        }
        let forwarded = self.pools.get(name).map(|pool| pool.forwarded.as_slice()).unwrap_or_default();
        // None at all: the frontend has a problem of its own.
        let first = forwarded.first()?;
        let port = first.listen.address.port();
        let other = forwarded.iter().find(|frontend| frontend.listen.address.port() != port);
        let why = match other {
            None if port == 0 => format!("frontend `{}` takes every port", first.frontend),
            None => return Some(Some(port)),
            Some(other) => format!("frontends `{}` and `{}` have different ports", first.frontend, other.frontend),
        };
        let message = "a check of backends without port needs `port`";
        self.problems.error_with(check.key, message, Help::Text(why));
        None
    }
}

impl Forwarded<'_> {
    /// Why packets of this frontend cannot be sent to that address, and what may help.
    fn refuses(&self, backend: SocketAddr) -> Option<(String, Option<String>)> {
        let (frontend, mode, listen) = (self.frontend, self.mode.written(), self.listen.address);
        let (ip, port) = (backend.ip(), backend.port());
        if ip.is_ipv4() != listen.is_ipv4() {
            let message = format!("`{ip}` is {}, and frontend `{frontend}` {}", family(ip), family(listen.ip()));
            return Some((message, self.why_one_family()));
        }
        if ip == listen.ip() {
            return Some((format!("`{ip}` is the address of frontend `{frontend}` itself"), None));
        }
        let keeps_port = matches!(self.mode, Mode::Dr | Mode::Tunnel);
        match (port, listen.port()) {
            (0, _) => None,
            (_, 0) => {
                let message =
                    format!("backend port {port}, but frontend `{frontend}` takes every port of `{}`", listen.ip());
                Some((message, Some(format!("leave the port out: `{ip}`"))))
            }
            (own, theirs) if keeps_port && own != theirs => {
                let message = format!("backend port {own}, but frontend `{frontend}` has port {theirs}");
                Some((message, Some(format!("mode `{mode}` changes no port; leave it out: `{ip}`"))))
            }
            _ => None,
        }
    }

    fn why_one_family(&self) -> Option<String> {
        let why = match self.mode {
            Mode::Tunnel => "mode `tunnel` carries IPv4 in IPv4 and IPv6 in IPv6",
            _ => "layer 4 does not translate between them",
        };
        Some(why.to_owned())
    }
}
