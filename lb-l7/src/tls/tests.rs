use std::fs;

use lb_core::config::{Alpn, Certificate};
use lb_core::pem::read_key;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256};
use rustls::client::Resumption as ClientResumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConnection, SignatureScheme};
use tempfile::TempDir;

use super::*;

/// An authority and a directory of what it has signed.
struct Authority {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ca.crt"), root.pem()).unwrap();
        Self { dir, root: root.der().clone(), issuer: Issuer::new(params, key) }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    /// Writes `FILE.crt` and `FILE.key`.
    fn sign(&self, file: &str, names: &[&str], key: &KeyPair) -> Certificate {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_after = rcgen::date_time_ymd(2100, 1, 1);
        let signed = params.signed_by(key, &self.issuer).unwrap();
        let files = Certificate { cert: self.path(&format!("{file}.crt")), key: self.path(&format!("{file}.key")) };
        fs::write(&files.cert, signed.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    fn certificate(&self, file: &str, names: &[&str]) -> Certificate {
        self.sign(file, names, &KeyPair::generate().unwrap())
    }

    fn rsa_certificate(&self, file: &str, names: &[&str]) -> Certificate {
        self.sign(file, names, &KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap())
    }

    fn client(&self) -> Client {
        Client { root: self.root.clone(), ..Client::default() }
    }

    fn client_auth(&self, required: bool) -> Option<ClientAuth> {
        Some(ClientAuth { ca: self.path("ca.crt"), required })
    }
}

fn tls(certificates: Vec<Certificate>) -> FrontendTls {
    FrontendTls { certificates, min_version: TlsVersion::V1_2, alpn: vec![Alpn::H2, Alpn::Http1], client_auth: None }
}

struct Client {
    root: CertificateDer<'static>,
    provider: CryptoProvider,
    version: Option<&'static SupportedProtocolVersion>,
    alpn: &'static [&'static [u8]],
    certificate: Option<Certificate>,
    tickets: bool,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            root: Vec::new().into(),
            provider: default_provider(),
            version: None,
            alpn: &[],
            certificate: None,
            tickets: true,
        }
    }
}

impl Client {
    /// Keeps its sessions from one connection to the next.
    fn config(self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root).unwrap();
        let versions = self.version.map_or(rustls::ALL_VERSIONS.to_vec(), |only| vec![only]);
        let builder = ClientConfig::builder_with_provider(self.provider.into()).with_protocol_versions(&versions);
        let builder = builder.unwrap().with_root_certificates(roots);
        let mut config = match self.certificate {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let chain = read_certificates(&own.cert).unwrap();
                builder.with_client_auth_cert(chain, read_key(&own.key).unwrap()).unwrap()
            }
        };
        config.alpn_protocols = self.alpn.iter().map(|id| id.to_vec()).collect();
        if !self.tickets {
            config.resumption = ClientResumption::in_memory_sessions(8)
                .tls12_resumption(rustls::client::Tls12Resumption::SessionIdOnly);
        }
        config.into()
    }
}

/// Both ends of a connection that has been set up.
#[derive(Debug)]
struct Pair {
    client: ClientConnection,
    server: ServerConnection,
}

impl Pair {
    /// Hands bytes to and fro until both are content, or one of them is not.
    fn connect(server: &ServerTls, client: &Arc<ClientConfig>, name: &str) -> Result<Pair, rustls::Error> {
        let mut pair = Pair {
            client: ClientConnection::new(client.clone(), name.to_owned().try_into().unwrap()).unwrap(),
            server: ServerConnection::new(server.config().clone()).unwrap(),
        };
        for _ in 0..8 {
            let mut bytes = Vec::new();
            while pair.client.wants_write() {
                pair.client.write_tls(&mut bytes).unwrap();
            }
            feed(&mut pair.server, &bytes)?;
            bytes.clear();
            while pair.server.wants_write() {
                pair.server.write_tls(&mut bytes).unwrap();
            }
            feed(&mut pair.client, &bytes)?;
        }
        assert!(!pair.client.is_handshaking() && !pair.server.is_handshaking());
        Ok(pair)
    }

    fn is_resumed(&self) -> bool {
        self.server.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    fn shown(&self) -> &CertificateDer<'static> {
        &self.client.peer_certificates().unwrap()[0]
    }
}

fn feed<T>(to: &mut rustls::ConnectionCommon<T>, mut bytes: &[u8]) -> Result<(), rustls::Error> {
    while !bytes.is_empty() {
        to.read_tls(&mut bytes).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}

fn own(files: &Certificate) -> CertificateDer<'static> {
    read_certificates(&files.cert).unwrap().remove(0)
}

#[test]
fn certificate_is_chosen_by_name() {
    let ca = Authority::new();
    let first = ca.certificate("first", &["default.test"]);
    let exact = ca.certificate("exact", &["a.example.com", "B.example.com"]);
    let wildcard = ca.certificate("wildcard", &["*.example.com"]);
    let server = ServerTls::load(&tls(vec![first.clone(), wildcard.clone(), exact.clone()]), None).unwrap();
    let client = ca.client().config();
    for (name, expected) in [
        ("default.test", &first),
        ("a.example.com", &exact),
        ("A.Example.COM", &exact),
        ("b.example.com", &exact),
        ("c.example.com", &wildcard),
    ] {
        assert_eq!(*Pair::connect(&server, &client, name).unwrap().shown(), own(expected), "{name}");
    }
    // No wildcard stands for two labels or for none: the client is shown the first one, which is not for that name.
    for name in ["d.c.example.com", "example.com"] {
        let error = Pair::connect(&server, &client, name).unwrap_err();
        assert!(error.to_string().contains("default.test"), "{error}");
    }
}

#[test]
fn client_without_a_name_gets_the_first_certificate() {
    let ca = Authority::new();
    let first = ca.certificate("first", &["a.test", "127.0.0.1"]);
    let second = ca.certificate("second", &["b.test", "127.0.0.1"]);
    let server = ServerTls::load(&tls(vec![first.clone(), second]), None).unwrap();
    let pair = Pair::connect(&server, &ca.client().config(), "127.0.0.1").unwrap();
    assert_eq!(*pair.shown(), own(&first));
}

#[test]
fn of_two_kinds_of_key_the_client_gets_the_one_it_knows() {
    let ca = Authority::new();
    let rsa = ca.rsa_certificate("rsa", &["a.test"]);
    let ecdsa = ca.certificate("ecdsa", &["a.test"]);
    let server = ServerTls::load(&tls(vec![rsa.clone(), ecdsa.clone()]), None).unwrap();
    assert_eq!(*Pair::connect(&server, &ca.client().config(), "a.test").unwrap().shown(), own(&ecdsa));

    for only in [&version::TLS12, &version::TLS13] {
        let client = Client { provider: rsa_only(), version: Some(only), ..ca.client() }.config();
        assert_eq!(*Pair::connect(&server, &client, "a.test").unwrap().shown(), own(&rsa));
    }
}

/// Of a client that wants RSA signatures in the handshake. Certificates may still be signed with anything.
fn rsa_only() -> CryptoProvider {
    let mut provider = default_provider();
    let algorithms = &mut provider.signature_verification_algorithms;
    let is_rsa = |scheme: SignatureScheme| scheme.as_str().is_some_and(|name| name.starts_with("RSA"));
    let rsa: Vec<_> = algorithms.mapping.iter().copied().filter(|(scheme, _)| is_rsa(*scheme)).collect();
    algorithms.mapping = rsa.leak();
    provider
}

#[test]
fn protocol_is_agreed_in_the_order_of_the_file() {
    let ca = Authority::new();
    let files = vec![ca.certificate("a", &["a.test"])];
    let agreed = |server: Vec<Alpn>, client: &'static [&'static [u8]]| {
        let server = ServerTls::load(&FrontendTls { alpn: server, ..tls(files.clone()) }, None).unwrap();
        let pair = Pair::connect(&server, &Client { alpn: client, ..ca.client() }.config(), "a.test");
        pair.map(|pair| pair.server.alpn_protocol().map(<[u8]>::to_vec))
    };
    let both = || vec![Alpn::H2, Alpn::Http1];
    assert_eq!(agreed(both(), &[b"http/1.1", b"h2"]), Ok(Some(b"h2".to_vec())));
    assert_eq!(agreed(vec![Alpn::Http1], &[b"h2", b"http/1.1"]), Ok(Some(b"http/1.1".to_vec())));
    assert_eq!(agreed(both(), &[]), Ok(None));
    assert_eq!(agreed(both(), &[b"imap"]), Err(rustls::Error::NoApplicationProtocol));
}

#[test]
fn older_version_than_allowed_is_refused() {
    let ca = Authority::new();
    let files = vec![ca.certificate("a", &["a.test"])];
    let modern = ServerTls::load(&FrontendTls { min_version: TlsVersion::V1_3, ..tls(files.clone()) }, None).unwrap();
    let any = ServerTls::load(&tls(files), None).unwrap();
    let old_client = Client { version: Some(&version::TLS12), ..ca.client() }.config();
    let error = Pair::connect(&modern, &old_client, "a.test").unwrap_err();
    assert!(matches!(error, rustls::Error::PeerIncompatible(_)), "{error}");
    assert!(Pair::connect(&any, &old_client, "a.test").is_ok());
    assert!(Pair::connect(&modern, &ca.client().config(), "a.test").is_ok());
}

/// A version, and whether the client takes tickets.
const WAYS_TO_RESUME: [(&SupportedProtocolVersion, bool); 3] =
    [(&version::TLS13, true), (&version::TLS12, true), (&version::TLS12, false)];

#[test]
fn sessions_are_resumed_before_and_after_a_reload() {
    let ca = Authority::new();
    let files = vec![ca.certificate("a", &["a.test"])];
    let server = ServerTls::load(&tls(files), None).unwrap();
    for (version, tickets) in WAYS_TO_RESUME {
        let client = Client { version: Some(version), tickets, ..ca.client() }.config();
        let is_resumed = |server| Pair::connect(server, &client, "a.test").unwrap().is_resumed();
        assert!(!is_resumed(&server));
        assert!(is_resumed(&server));
        let renewed = vec![ca.certificate("new", &["a.test"])];
        let reloaded = ServerTls::load(&tls(renewed), Some(&server)).unwrap();
        assert!(is_resumed(&reloaded), "{version:?} tickets: {tickets}");
        assert!(!is_resumed(&ServerTls::load(&tls(vec![ca.certificate("other", &["a.test"])]), None).unwrap()));
    }
}

#[test]
fn client_certificate_is_asked_for_and_verified() {
    let (ca, stranger) = (Authority::new(), Authority::new());
    let files = vec![ca.certificate("a", &["a.test"])];
    let with = |client_auth| ServerTls::load(&FrontendTls { client_auth, ..tls(files.clone()) }, None).unwrap();
    let (required, optional) = (with(ca.client_auth(true)), with(ca.client_auth(false)));
    let connect = |server, certificate| {
        Pair::connect(server, &Client { certificate, ..ca.client() }.config(), "a.test").map(|pair| {
            let shown = pair.server.peer_certificates();
            shown.is_some()
        })
    };
    let known = || Some(ca.certificate("client", &["me"]));
    let unknown = || Some(stranger.certificate("client", &["me"]));
    assert_eq!(connect(&required, known()), Ok(true));
    assert_eq!(connect(&required, None), Err(rustls::Error::NoCertificatesPresented));
    assert_eq!(connect(&optional, known()), Ok(true));
    assert_eq!(connect(&optional, None), Ok(false));
    for server in [&required, &optional] {
        let error = connect(server, unknown()).unwrap_err();
        assert!(matches!(error, rustls::Error::InvalidCertificate(_)), "{error}");
    }
}

#[test]
fn session_never_stands_in_for_a_certificate() {
    let (ca, other) = (Authority::new(), Authority::new());
    let files = vec![ca.certificate("a", &["a.test"])];
    let config =
        |client_auth: &Option<ClientAuth>| FrontendTls { client_auth: client_auth.clone(), ..tls(files.clone()) };
    let demands = [None, ca.client_auth(false), ca.client_auth(true), other.client_auth(true)];
    for (version, tickets) in WAYS_TO_RESUME {
        for (i, before) in demands.iter().enumerate() {
            for (j, after) in demands.iter().enumerate() {
                let server = ServerTls::load(&config(before), None).unwrap();
                let signer = if i == 3 { &other } else { &ca };
                let certificate = Some(signer.certificate("client", &["me"]));
                let client = Client { version: Some(version), tickets, certificate, ..ca.client() }.config();
                Pair::connect(&server, &client, "a.test").unwrap();
                let reloaded = ServerTls::load(&config(after), Some(&server)).unwrap();
                let resumed = Pair::connect(&reloaded, &client, "a.test").is_ok_and(|pair| pair.is_resumed());
                assert_eq!(resumed, i == j, "{before:?} {after:?} {version:?} tickets: {tickets}");
            }
        }
    }
}

#[test]
fn resumed_session_still_names_its_client() {
    let ca = Authority::new();
    let files = vec![ca.certificate("a", &["a.test"])];
    let server = ServerTls::load(&FrontendTls { client_auth: ca.client_auth(true), ..tls(files) }, None).unwrap();
    let certificate = ca.certificate("client", &["me"]);
    let client = Client { certificate: Some(certificate.clone()), ..ca.client() }.config();
    Pair::connect(&server, &client, "a.test").unwrap();
    let pair = Pair::connect(&server, &client, "a.test").unwrap();
    assert!(pair.is_resumed());
    assert_eq!(pair.server.peer_certificates().unwrap()[0], own(&certificate));
}

#[test]
fn changed_authority_file_ends_old_sessions() {
    let (ca, other) = (Authority::new(), Authority::new());
    let files = vec![ca.certificate("a", &["a.test"])];
    let config = FrontendTls { client_auth: ca.client_auth(true), ..tls(files) };
    let server = ServerTls::load(&config, None).unwrap();
    let client = Client { certificate: Some(ca.certificate("client", &["me"])), ..ca.client() }.config();
    Pair::connect(&server, &client, "a.test").unwrap();
    fs::copy(other.path("ca.crt"), ca.path("ca.crt")).unwrap();
    let reloaded = ServerTls::load(&config, Some(&server)).unwrap();
    assert!(Pair::connect(&reloaded, &client, "a.test").is_err());
}

#[test]
fn session_is_not_resumed_under_another_name() {
    let ca = Authority::new();
    let files = vec![ca.certificate("both", &["a.test", "b.test"])];
    let server = ServerTls::load(&tls(files), None).unwrap();
    let client = ca.client().config();
    Pair::connect(&server, &client, "a.test").unwrap();
    assert!(!Pair::connect(&server, &client, "b.test").unwrap().is_resumed());
}

#[test]
fn certificates_tell_their_names_and_their_end() {
    let ca = Authority::new();
    let files = ca.certificate("a", &["a.test", "*.B.test", "127.0.0.1"]);
    let server = ServerTls::load(&tls(vec![files.clone()]), None).unwrap();
    let expected = CertificateInfo {
        path: files.cert,
        names: vec!["a.test".into(), "*.b.test".into()],
        not_after_unix: 4_102_444_800,
    };
    assert_eq!(server.certificates(), [expected]);
}

#[test]
fn errors_name_the_file_and_the_reason() {
    let ca = Authority::new();
    let (a, b) = (ca.certificate("a", &["a.test"]), ca.certificate("b", &["b.test"]));
    let write = |file: &str, content: &str| {
        fs::write(ca.path(file), content).unwrap();
        ca.path(file)
    };
    let empty = write("empty", "");
    let garbage = write("garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let encrypted =
        write("encrypted", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    let broken_key = write("broken", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    for (cert, key, expected) in [
        (&a.cert, &b.key, "the private key in DIR/b.key does not belong to the certificate in DIR/a.crt"),
        (&ca.path("none"), &a.key, "cannot read DIR/none: I/O error: No such file or directory (os error 2)"),
        (&a.cert, &ca.path("none"), "cannot read DIR/none: I/O error: No such file or directory (os error 2)"),
        (&empty, &a.key, "DIR/empty holds no certificate"),
        (&garbage, &a.key, "the certificate in DIR/garbage cannot be read: "),
        (&a.cert, &empty, "DIR/empty holds no private key in the clear"),
        (&a.cert, &encrypted, "DIR/encrypted holds no private key in the clear"),
        (&a.cert, &broken_key, "the private key in DIR/broken cannot be used: "),
    ] {
        let files = Certificate { cert: cert.clone(), key: key.clone() };
        assert_starts(&ca, &tls(vec![files]), expected);
    }
    for (bundle, expected) in
        [(&empty, "DIR/empty holds no certificate"), (&garbage, "DIR/garbage holds an authority that cannot be used: ")]
    {
        let client_auth = Some(ClientAuth { ca: bundle.clone(), required: true });
        assert_starts(&ca, &FrontendTls { client_auth, ..tls(vec![a.clone()]) }, expected);
    }
}

fn assert_starts(ca: &Authority, tls: &FrontendTls, expected: &str) {
    let error = ServerTls::load(tls, None).unwrap_err().to_string();
    let error = error.replace(ca.dir.path().to_str().unwrap(), "DIR");
    assert!(error.starts_with(expected), "{error}");
}
