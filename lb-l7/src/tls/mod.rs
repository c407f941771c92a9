//! TLS towards clients: what a frontend's `tls` says, as one configuration for rustls.

mod certificate;
mod resolver;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use lb_core::config::{ClientAuth, FrontendTls, TlsVersion};
use lb_core::pem::{PemError, provider, read_certificates};
use lb_core::tls_client::alpn_id;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ProducesTickets, ServerSessionMemoryCache, StoresServerSessions, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};

pub use self::certificate::CertificateInfo;
use self::certificate::Loaded;
use self::resolver::Resolver;

/// TLS 1.2 sessions kept for clients that know no tickets.
const SESSIONS: usize = 1024;
/// Sent after a handshake. One is enough for a browser, which opens one HTTP/2 connection; the default of two costs
/// every short connection a second encryption.
const TICKETS: usize = 1;
/// To clients that ask for several (RFC 9149).
const MAX_TICKETS: usize = 4;

/// What stands in the way of a frontend's TLS; every variant names the file to correct.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error(transparent)]
    Pem(#[from] PemError),
    #[error("the certificate in {path} cannot be read: {reason}")]
    Certificate { path: PathBuf, reason: String },
    #[error("the private key in {path} cannot be used: {source}")]
    Key { path: PathBuf, source: rustls::Error },
    #[error("the private key in {key} does not belong to the certificate in {cert}")]
    Mismatch { cert: PathBuf, key: PathBuf },
    #[error("{path} holds an authority that cannot be used: {reason}")]
    Authority { path: PathBuf, reason: String },
    #[error("no session tickets: {0}")]
    Tickets(rustls::Error),
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// The server side of one frontend's TLS.
#[derive(Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    certificates: Vec<CertificateInfo>,
    client_authority: Option<ClientAuthority>,
    resumption: Resumption,
}

/// Whom clients must be vouched for by, as read from the files.
#[derive(Debug)]
struct ClientAuthority {
    path: PathBuf,
    roots: Vec<CertificateDer<'static>>,
    required: bool,
}

/// What a client had to show before it was given a session; where it differs, the session must not be resumed.
#[derive(PartialEq, Eq)]
struct Demands<'a> {
    roots: &'a [CertificateDer<'static>],
    required: bool,
}

/// What lets a client resume: as good as its certificate, so never shared between frontends.
#[derive(Debug, Clone)]
struct Resumption {
    ticketer: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
}

impl ServerTls {
    /// Reads the files that `tls` names. `previous` is the same frontend's before a reload; its clients may go on
    /// resuming unless the demands on client certificates have changed.
    pub fn load(tls: &FrontendTls, previous: Option<&ServerTls>) -> Result<ServerTls, TlsError> {
        let loaded = tls.certificates.iter().map(Loaded::read).collect::<Result<Vec<_>, _>>()?;
        let client_authority = tls.client_auth.as_ref().map(ClientAuthority::read).transpose()?;
        let resumption = match previous {
            Some(previous) if previous.demands() == client_authority.as_ref().map(ClientAuthority::demands) => {
                previous.resumption.clone()
            }
            _ => Resumption::new()?,
        };
        let certificates = loaded.iter().map(|l| l.info.clone()).collect();
        let config = Arc::new(server_config(tls, &loaded, client_authority.as_ref(), &resumption)?);
        Ok(ServerTls { config, certificates, client_authority, resumption })
    }

    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// In the order of the file.
    pub fn certificates(&self) -> &[CertificateInfo] {
        &self.certificates
    }

    fn demands(&self) -> Option<Demands<'_>> {
        self.client_authority.as_ref().map(ClientAuthority::demands)
    }
}

/// No early data: it can be replayed (RFC 8446, section 8).
fn server_config(
    tls: &FrontendTls,
    certificates: &[Loaded],
    client_authority: Option<&ClientAuthority>,
    resumption: &Resumption,
) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions(tls.min_version))?;
    let builder = match client_authority {
        Some(authority) => builder.with_client_cert_verifier(authority.verifier()?),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(Resolver::new(certificates)));
    config.alpn_protocols = tls.alpn.iter().map(|protocol| alpn_id(*protocol).to_vec()).collect();
    config.ticketer = resumption.ticketer.clone();
    config.session_storage = resumption.sessions.clone();
    config.send_tls13_tickets = TICKETS;
    config.max_tls13_tickets = MAX_TICKETS;
    Ok(config)
}

fn versions(min: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static FROM_1_2: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
    match min {
        TlsVersion::V1_2 => &FROM_1_2,
        TlsVersion::V1_3 => &FROM_1_2[..1],
    }
}

impl Resumption {
    fn new() -> Result<Self, TlsError> {
        let ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::Tickets)?;
        Ok(Self { ticketer, sessions: ServerSessionMemoryCache::new(SESSIONS) })
    }
}

impl ClientAuthority {
    fn read(auth: &ClientAuth) -> Result<Self, TlsError> {
        Ok(Self { path: auth.ca.clone(), roots: read_certificates(&auth.ca)?, required: auth.required })
    }

    /// By what the file holds, whatever its name.
    fn demands(&self) -> Demands<'_> {
        Demands { roots: &self.roots, required: self.required }
    }

    fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let mut store = RootCertStore::empty();
        for root in &self.roots {
            store.add(root.clone()).map_err(|source| self.unusable(source.to_string()))?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider());
        let builder = if self.required { builder } else { builder.allow_unauthenticated() };
        builder.build().map_err(|source| self.unusable(source.to_string()))
    }

    fn unusable(&self, reason: String) -> TlsError {
        TlsError::Authority { path: self.path.clone(), reason }
    }
}
