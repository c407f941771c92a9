//! Certificates made on the spot.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

/// A certificate authority whose files stand in a directory of the test.
pub struct Authority {
    pub ca: PathBuf,
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

/// Counts certificates, so that no two in a row end on the same day.
static NTH: AtomicU8 = AtomicU8::new(0);

/// PEM files of one certificate and its key.
#[derive(Clone)]
pub struct Leaf {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    /// Files are named after `name`.
    pub fn new(dir: &Path, name: &str) -> Authority {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let ca = dir.join(format!("{name}.pem"));
        std::fs::write(&ca, params.self_signed(&key).unwrap().pem()).unwrap();
        Authority { ca, dir: dir.to_owned(), issuer: Issuer::new(params, key) }
    }

    /// A certificate for names or addresses, for servers and clients alike. Files are named after `file`,
    /// so that another call replaces them.
    pub fn issue(&self, file: &str, names: &[&str]) -> Leaf {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, file);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_after = rcgen::date_time_ymd(2100, 1, 1 + NTH.fetch_add(1, Ordering::Relaxed) % 28);
        let key = KeyPair::generate().unwrap();
        let leaf = Leaf { cert: self.dir.join(format!("{file}.crt")), key: self.dir.join(format!("{file}.key")) };
        std::fs::write(&leaf.cert, params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        std::fs::write(&leaf.key, key.serialize_pem()).unwrap();
        leaf
    }
}
