//! What can be wrong with a pool's `tls` is said with the file's name. Handshakes are tested by the checks.

use std::path::PathBuf;

use super::*;

fn tls(change: impl FnOnce(&mut PoolTls)) -> PoolTls {
    let mut tls = PoolTls { ca: None, server_name: None, verify: true, client: None };
    change(&mut tls);
    tls
}

fn complaint(tls: &PoolTls) -> String {
    client_config(tls, &[]).map(|_| "none".to_owned()).unwrap_or_else(|error| error.to_string())
}

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::TempDir::new().unwrap())
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

#[test]
fn protocols_are_offered_in_the_given_order() {
    let config = client_config(&tls(|tls| tls.verify = false), &[Alpn::H2, Alpn::Http1]).unwrap();
    assert_eq!(config.alpn_protocols, [&b"h2"[..], b"http/1.1"]);
}

#[test]
fn a_bundle_of_authorities_must_be_there_and_hold_some() {
    let files = Files::new();
    let missing = files.0.path().join("missing.pem");
    assert!(complaint(&tls(|tls| tls.ca = Some(missing.clone()))).contains("missing.pem"));
    let empty = files.write("empty.pem", "no certificate in here\n");
    assert!(complaint(&tls(|tls| tls.ca = Some(empty))).contains("empty.pem"));
    let junk = files.write("junk.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert!(complaint(&tls(|tls| tls.ca = Some(junk))).contains("junk.pem"));
}

#[test]
fn a_bundle_that_is_not_used_is_not_read() {
    let tls = tls(|tls| {
        tls.verify = false;
        tls.ca = Some("/nonexistent/ca.pem".into());
    });
    assert_eq!(complaint(&tls), "none");
}

#[test]
fn a_client_certificate_needs_its_own_key() {
    let files = Files::new();
    let [ours, other] =
        ["ours.test", "other.test"].map(|name| rcgen::generate_simple_self_signed([name.into()]).unwrap());
    let cert = files.write("cert.pem", &ours.cert.pem());
    let with_key = |key: &str| {
        let client = Some(Certificate { cert: cert.clone(), key: files.write("key.pem", key) });
        tls(|tls| (tls.verify, tls.client) = (false, client))
    };
    assert_eq!(complaint(&with_key(&ours.signing_key.serialize_pem())), "none");
    let mismatch = complaint(&with_key(&other.signing_key.serialize_pem()));
    assert!(mismatch.contains("cert.pem") && mismatch.contains("key.pem"), "{mismatch}");
    assert!(complaint(&with_key("")).contains("key.pem"));
}

#[test]
fn the_name_to_verify_is_the_given_one_or_the_address() {
    let backend = "192.0.2.1:443".parse().unwrap();
    let name = |name| server_name(name, backend).map(|name| name.to_str().into_owned());
    assert_eq!(name(Some("api.example.com")).unwrap(), "api.example.com");
    assert_eq!(name(None).unwrap(), "192.0.2.1");
    assert_eq!(name(Some("not a name")).unwrap_err().to_string(), "`not a name` is no host name");
}
