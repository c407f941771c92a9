//! TLS towards backends, for the proxy and for checks alike, from one place: a pool's `tls`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::config::{Alpn, Certificate, PoolTls};
use crate::pem::{PemError, provider, read_certificates, read_key};

#[cfg(test)]
mod tests;

/// What stands in the way of TLS towards a pool; every variant names the file or the word to correct.
#[derive(Debug, thiserror::Error)]
pub enum TlsClientError {
    #[error(transparent)]
    Pem(#[from] PemError),
    #[error("{path} holds an authority that cannot be used: {source}")]
    Authority { path: PathBuf, source: rustls::Error },
    #[error("the client certificate {cert} and its key {key} cannot be used: {source}")]
    Client { cert: PathBuf, key: PathBuf, source: rustls::Error },
    #[error("this system has no certificate authorities; name a bundle with `ca`")]
    NoSystemAuthorities,
    #[error("`{0}` is no host name")]
    ServerName(String),
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// Reads the files that `tls` names; one such configuration serves all connections of a pool.
pub fn client_config(tls: &PoolTls, alpn: &[Alpn]) -> Result<Arc<ClientConfig>, TlsClientError> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match (tls.verify, &tls.ca) {
        (false, _) => {
            builder.dangerous().with_custom_certificate_verifier(AcceptAnyCertificateWithoutVerification::new())
        }
        (true, Some(ca)) => builder.with_root_certificates(read_authorities(ca)?),
        (true, None) => builder.with_root_certificates(system_authorities()?),
    };
    let mut config = match &tls.client {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let chain = read_certificates(&own.cert)?;
            builder.with_client_auth_cert(chain, read_key(&own.key)?).map_err(|source| client_error(own, source))?
        }
    };
    config.alpn_protocols = alpn.iter().map(|protocol| alpn_id(*protocol).to_vec()).collect();
    Ok(Arc::new(config))
}

/// What is sent as SNI and verified: the given name, else the backend's address.
pub fn server_name(name: Option<&str>, backend: SocketAddr) -> Result<ServerName<'static>, TlsClientError> {
    let Some(name) = name else { return Ok(ServerName::IpAddress(backend.ip().into())) };
    ServerName::try_from(name.to_owned()).map_err(|_| TlsClientError::ServerName(name.to_owned()))
}

/// The protocol's name on the wire (RFC 7301, section 6).
pub fn alpn_id(protocol: Alpn) -> &'static [u8] {
    match protocol {
        Alpn::H2 => b"h2",
        Alpn::Http1 => b"http/1.1",
    }
}

fn read_authorities(path: &Path) -> Result<Arc<RootCertStore>, TlsClientError> {
    let mut store = RootCertStore::empty();
    for certificate in read_certificates(path)? {
        store.add(certificate).map_err(|source| TlsClientError::Authority { path: path.to_owned(), source })?;
    }
    Ok(Arc::new(store))
}

/// Read once in a process: hundreds of pools share them, and each reading costs milliseconds.
fn system_authorities() -> Result<Arc<RootCertStore>, TlsClientError> {
    static STORE: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let store = STORE.get_or_init(|| {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(store)
    });
    if store.is_empty() { Err(TlsClientError::NoSystemAuthorities) } else { Ok(store.clone()) }
}

fn client_error(own: &Certificate, source: rustls::Error) -> TlsClientError {
    TlsClientError::Client { cert: own.cert.clone(), key: own.key.clone(), source }
}

/// `verify: false`: whoever answers at the address is believed.
#[derive(Debug)]
struct AcceptAnyCertificateWithoutVerification(Vec<SignatureScheme>);

impl AcceptAnyCertificateWithoutVerification {
    fn new() -> Arc<Self> {
        Arc::new(Self(provider().signature_verification_algorithms.supported_schemes()))
    }
}

impl ServerCertVerifier for AcceptAnyCertificateWithoutVerification {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}
