//! What a probe needs to know of the backend that it looks at.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use rustls::ClientConfig;

use crate::config::{Alpn, Check, PoolTls, Protocol};
use crate::pool::{Backend, Pool};
use crate::tls_client::{self, TlsClientError};

#[derive(Debug)]
pub struct Target {
    pub pool: Arc<Pool>,
    pub backend: Arc<Backend>,
    pub check: Check,
    pub tls: Arc<CheckTls>,
}

/// TLS of a pool's https checks, built when the first one asks; certificate files are so read again
/// after each reload.
#[derive(Debug, Default)]
pub struct CheckTls(OnceLock<Result<Arc<ClientConfig>, TlsClientError>>);

impl Target {
    /// The backend's address, with the port that checks go to.
    pub fn address(&self) -> SocketAddr {
        let address = self.backend.config.address;
        let own = Some(address.port()).filter(|port| *port != 0);
        // Validation has seen to it that there is one.
        let port = self.check.port.or(own).or(self.check.frontend_port).unwrap_or_default();
        SocketAddr::new(address.ip(), port)
    }

    /// What the backend speaks; nobody knows what another port of it does.
    pub fn protocol(&self) -> Option<Protocol> {
        self.check.port.is_none().then_some(self.pool.config.protocol)
    }

    /// Without `tls` in the pool nobody's certificate is verified.
    pub fn tls_config(&self) -> Result<&Arc<ClientConfig>, &TlsClientError> {
        let alpn: &[Alpn] =
            if self.protocol() == Some(Protocol::H2) { &[Alpn::H2, Alpn::Http1] } else { &[Alpn::Http1] };
        let unverified = PoolTls { ca: None, server_name: None, verify: false, client: None };
        let tls = self.pool.config.tls.as_ref().unwrap_or(&unverified);
        self.tls.0.get_or_init(|| tls_client::client_config(tls, alpn)).as_ref()
    }

    /// Are both checked in the same way, so that results of one count for the other?
    pub fn same_check(&self, other: &Target) -> bool {
        let how = |target: &Target| (target.protocol(), target.pool.config.tls.clone());
        self.check == other.check && how(self) == how(other)
    }
}
