//! Which certificate a client is shown.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::certificate::Loaded;

/// Finds certificates by the name that the client asks for: the exact name, then the wildcard that covers it, else
/// the first certificate of the file.
#[derive(Debug)]
pub(super) struct Resolver {
    exact: HashMap<String, Keys>,
    /// `*.example.com` stands here as `example.com`.
    wildcard: HashMap<String, Keys>,
    default: Keys,
}

/// Certificates for the same name, cheapest signature first.
type Keys = Vec<Arc<CertifiedKey>>;

impl Resolver {
    pub(super) fn new(certificates: &[Loaded]) -> Self {
        let (mut exact, mut wildcard) = (HashMap::<_, Keys>::new(), HashMap::<_, Keys>::new());
        let mut ordered: Vec<_> = certificates.iter().collect();
        ordered.sort_by_key(|certificate| signature_cost(&certificate.key));
        for certificate in &ordered {
            for name in &certificate.info.names {
                let (table, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut wildcard, parent),
                    None => (&mut exact, name.as_str()),
                };
                table.entry(name.to_owned()).or_default().push(certificate.key.clone());
            }
        }
        Self { exact, wildcard, default: default_keys(certificates.first(), &ordered) }
    }

    /// `name` is in lower case. A wildcard stands for one label (RFC 9525, section 6.3).
    fn keys(&self, name: Option<&str>) -> &Keys {
        let named = name.and_then(|name| {
            let parent = || self.wildcard.get(name.split_once('.')?.1);
            self.exact.get(name).or_else(parent)
        });
        named.unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let keys = self.keys(hello.server_name());
        match keys.as_slice() {
            [only] => Some(only.clone()),
            keys => keys.iter().find(|key| can_use(key, hello.signature_schemes())).or(keys.first()).cloned(),
        }
    }
}

/// The first certificate, and those that carry the same names for another kind of key.
fn default_keys(first: Option<&Loaded>, ordered: &[&Loaded]) -> Keys {
    let Some(first) = first else { return Keys::new() };
    ordered.iter().filter(|other| other.info.names == first.info.names).map(|other| other.key.clone()).collect()
}

fn can_use(key: &CertifiedKey, offered: &[SignatureScheme]) -> bool {
    key.key.choose_scheme(offered).is_some()
}

/// An RSA signature costs the server some twenty times an ECDSA one.
fn signature_cost(key: &CertifiedKey) -> u8 {
    match key.key.algorithm() {
        SignatureAlgorithm::RSA => 1,
        _ => 0,
    }
}
