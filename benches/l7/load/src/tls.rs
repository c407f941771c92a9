//! TLS 1.3 with everything chosen by the client, so that every proxy does the same cryptography.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    /// `ca`: PEM file of the one certificate that is trusted.
    pub fn new(ca: &Path) -> Result<Self> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots(ca)?)
            .with_no_client_auth();
        // Every handshake is a full one: no ticket is ever offered.
        config.resumption = Resumption::disabled();
        Ok(Self { connector: Arc::new(config).into(), name: ServerName::try_from("localhost")? })
    }

    pub async fn connect(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>> {
        self.connector.connect(self.name.clone(), stream).await.context("TLS handshake")
    }
}

fn roots(ca: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca)?)?;
    Ok(roots)
}

/// The parameters that OpenSSL's clients settle on as well: AES-256-GCM and X25519.
fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384],
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    }
}
