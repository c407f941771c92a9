//! Certificates with their keys, and what they say of themselves.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lb_core::config::Certificate;
use lb_core::pem::{provider, read_certificates, read_key};
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::TlsError;

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateInfo {
    pub path: PathBuf,
    /// DNS names in lower case, wildcards as `*.example.com`.
    pub names: Vec<String>,
    /// Seconds since the Unix epoch.
    pub not_after_unix: i64,
}

/// A certificate with the key that belongs to it.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) info: CertificateInfo,
    pub(super) key: Arc<CertifiedKey>,
}

impl Loaded {
    pub(super) fn read(files: &Certificate) -> Result<Self, TlsError> {
        let chain = read_certificates(&files.cert)?;
        let info = describe(&files.cert, &chain)?;
        let key = provider()
            .key_provider
            .load_private_key(read_key(&files.key)?)
            .map_err(|source| TlsError::Key { path: files.key.clone(), source })?;
        let key = CertifiedKey::new(chain, key);
        key.keys_match().map_err(|source| mismatch(files, source))?;
        Ok(Self { info, key: Arc::new(key) })
    }
}

fn mismatch(files: &Certificate, source: rustls::Error) -> TlsError {
    match source {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch { cert: files.cert.clone(), key: files.key.clone() },
        source => TlsError::Certificate { path: files.cert.clone(), reason: source.to_string() },
    }
}

/// Of the first certificate of a chain, which is the server's own.
fn describe(path: &Path, chain: &[CertificateDer<'_>]) -> Result<CertificateInfo, TlsError> {
    let unreadable = |reason: String| TlsError::Certificate { path: path.to_owned(), reason };
    let (_, certificate) = X509Certificate::from_der(&chain[0]).map_err(|e| unreadable(e.to_string()))?;
    let names = certificate.subject_alternative_name().map_err(|e| unreadable(e.to_string()))?;
    let names = names.iter().flat_map(|san| &san.value.general_names).filter_map(dns_name).collect();
    Ok(CertificateInfo { path: path.to_owned(), names, not_after_unix: certificate.validity().not_after.timestamp() })
}

fn dns_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    }
}
