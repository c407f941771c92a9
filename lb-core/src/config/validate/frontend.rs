//! Frontends: what they need, and what excludes each other.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{Validator, collect};
use crate::config::decode::{At, Entry, List, Scalar};
use crate::config::diagnostic::{Help, Span};
use crate::config::forms::{ClientAuthMode, Mode, NOT_YET};
use crate::config::model::{self, Alpn};
use crate::config::raw;
use crate::config::scalar::{Size, kib};

impl<'r> Validator<'r, '_> {
    pub(super) fn frontend(&mut self, name: &'r At<String>, raw: &'r raw::Frontend) -> Option<Arc<model::Frontend>> {
        let good_name = self.name(name, "");
        let (listen, mode) = match (&raw.mode, raw.mode()) {
            (Entry::Bad, _) => self.mode_unknown(raw),
            (_, Mode::Http) => self.http(name, raw),
            (_, Mode::Nat | Mode::Dr | Mode::Tunnel) => self.forward(name, raw),
            (_, Mode::Tcp) => self.tcp(raw),
        }?;
        Some(Arc::new(model::Frontend { name: good_name?, listen, mode }))
    }

    /// What it means by its other keys nobody can tell.
    fn mode_unknown<T>(&mut self, raw: &raw::Frontend) -> Option<T> {
        if let Some(pool) = raw.pool.given() {
            self.pool_name(pool);
        }
        None
    }

    fn tcp<T>(&mut self, raw: &raw::Frontend) -> Option<T> {
        self.mode_unknown::<T>(raw);
        self.refuse(raw.mode.given()?.span, format!("mode `tcp` is {NOT_YET}"))
    }

    fn http(&mut self, name: &At<String>, raw: &raw::Frontend) -> Option<(SocketAddr, model::Mode)> {
        let layer4 = self.refuse_layer4(raw);
        let listen = self.listen(name.span, raw);
        let tls = self.frontend_tls(&raw.tls);
        let routes = self.routes(name.span, raw);
        let limits = self.limits(&raw.limits);
        let http = model::Http {
            tls: tls?,
            routes: routes?,
            timeouts: timeouts(&raw.timeouts),
            limits: limits?,
            trusted_proxies: trusted_proxies(&raw.trusted_proxies),
        };
        layer4?;
        Some((listen?, model::Mode::Http(Arc::new(http))))
    }

    fn refuse_layer4(&mut self, raw: &raw::Frontend) -> Option<()> {
        let keys = [
            ("snat", raw.snat.key()),
            ("idle_timeout", raw.idle_timeout.key()),
            ("on_backend_down", raw.on_backend_down.key()),
            ("persistence", raw.persistence.key()),
        ];
        let given: Vec<_> = keys.into_iter().filter_map(|(key, span)| Some((key, span?))).collect();
        for (key, span) in &given {
            let help = match *key {
                "idle_timeout" => "layer 7 has `timeouts: { idle: ... }`",
                _ => "layer 4 is `mode: nat`, `dr` or `tunnel`",
            };
            let message = format!("`{key}` is of layer 4, and mode `http` of layer 7");
            self.problems.error_with(*span, message, Help::Text(help.to_owned()));
        }
        given.is_empty().then_some(())
    }

    fn listen(&mut self, owner: Span, raw: &raw::Frontend) -> Option<SocketAddr> {
        let listen = self.required(&raw.listen, owner, "a frontend", "listen")?;
        if listen.value.udp {
            return self.refuse(listen.span, "mode `http` is not served over udp");
        }
        if listen.value.address.port() == 0 {
            return self.refuse(listen.span, "mode `http` is served on one port; every port is for layer 4");
        }
        Some(listen.value.address)
    }

    /// `Some(None)`: plain text.
    fn frontend_tls(&mut self, entry: &Entry<raw::FrontendTls>) -> Option<Option<model::FrontendTls>> {
        let tls = match entry {
            Entry::Absent => return Some(None),
            Entry::Bad => return None,
            Entry::Given(tls) => tls,
        };
        let certificates = self.certificates(tls);
        let alpn = self.alpn(&tls.value.alpn);
        let client_auth = self.client_auth(&tls.value.client_auth);
        Some(Some(model::FrontendTls {
            certificates: certificates?,
            min_version: tls.value.min_version(),
            alpn: alpn?,
            client_auth: client_auth?,
        }))
    }

    fn certificates(&mut self, tls: &At<raw::FrontendTls>) -> Option<Vec<model::Certificate>> {
        let list = self.required(&tls.value.certificates, tls.key, "tls", "certificates")?;
        if list.value.is_empty {
            return self.refuse(list.key, "tls needs at least one certificate");
        }
        collect(list.value.items.iter().map(|item| self.certificate(item)).collect())
    }

    pub(super) fn certificate(&mut self, raw: &At<raw::Certificate>) -> Option<model::Certificate> {
        let cert = self.required(&raw.value.cert, raw.key, "a certificate", "cert");
        let key = self.required(&raw.value.key, raw.key, "a certificate", "key");
        Some(model::Certificate { cert: cert?.value.clone(), key: key?.value.clone() })
    }

    fn alpn(&mut self, entry: &Entry<List<Alpn>>) -> Option<Vec<Alpn>> {
        let Some(list) = entry.given() else { return Some(vec![Alpn::H2, Alpn::Http1]) };
        if list.value.is_empty {
            return self.refuse(list.key, "`alpn` needs at least one protocol");
        }
        let mut protocols: Vec<Alpn> = Vec::new();
        for item in &list.value.items {
            if protocols.contains(&item.value) {
                return self.refuse(item.span, format!("`{}` is there twice", item.value.written()));
            }
            protocols.push(item.value);
        }
        Some(protocols)
    }

    fn client_auth(&mut self, entry: &Entry<raw::ClientAuth>) -> Option<Option<model::ClientAuth>> {
        let Some(auth) = entry.given() else { return Some(None) };
        let ca = self.required(&auth.value.ca, auth.key, "client_auth", "ca")?.value.clone();
        Some(Some(model::ClientAuth { ca, required: auth.value.mode() == ClientAuthMode::Required }))
    }

    fn limits(&mut self, entry: &Entry<raw::Limits>) -> Option<model::Limits> {
        let limits = entry.value().cloned().unwrap_or_default();
        let header_bytes = limits.header_bytes();
        if let Some(uri) = limits.uri_length.given()
            && uri.value > header_bytes
        {
            let help = Help::Text(format!("`header_bytes` is {}", header_bytes.written()));
            self.problems.error_with(uri.span, "`uri_length` is more than all of the header may have", help);
            return None;
        }
        let uri_length = limits.uri_length.value().copied().unwrap_or(kib(8).min(header_bytes));
        Some(model::Limits {
            header_bytes: bytes(header_bytes),
            header_count: limits.header_count(),
            uri_length: bytes(uri_length),
            body_bytes: limits.body_bytes.value().map(|size| size.0),
            connections: limits.connections.value().copied(),
            connections_per_client: limits.connections_per_client.value().copied(),
            h2_streams: limits.h2_streams(),
            h2_resets: limits.h2_resets(),
        })
    }
}

fn timeouts(entry: &Entry<raw::FrontendTimeouts>) -> model::FrontendTimeouts {
    let timeouts = entry.value().cloned().unwrap_or_default();
    model::FrontendTimeouts {
        header: timeouts.header(),
        request: timeouts.request(),
        idle: timeouts.idle(),
        tunnel: timeouts.tunnel(),
    }
}

fn trusted_proxies(entry: &Entry<List<crate::config::address::Network>>) -> Vec<ipnet::IpNet> {
    entry.value().into_iter().flat_map(|list| &list.items).map(|item| item.value.0).collect()
}

/// Every size that becomes a `usize` is held to 1 MiB by its range.
fn bytes(size: Size) -> usize {
    usize::try_from(size.0).unwrap_or(usize::MAX)
}
