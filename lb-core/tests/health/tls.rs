//! https checks and HTTP/2: certificates are verified as the pool's `tls` says.

use std::path::PathBuf;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use lb_core::health::FailureReason;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use crate::servers::{Server, read_head};
use crate::{assert_fails, assert_passes};

/// A certificate for `backend.test`, and the file that says to trust it.
struct Identity {
    config: ServerConfig,
    ca: PathBuf,
    _folder: TempDir,
}

fn identity(alpn: &[&str]) -> Identity {
    let made = rcgen::generate_simple_self_signed(["backend.test".to_owned()]).unwrap();
    let folder = TempDir::new().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Identity { config, ca, _folder: folder }
}

impl Identity {
    /// Answers each request over TLS and HTTP/1.1.
    async fn serve(&self) -> Server {
        let acceptor = TlsAcceptor::from(Arc::new(self.config.clone()));
        Server::tcp(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                read_head(&mut stream).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                let _ = stream.shutdown().await;
            }
        })
        .await
    }

    fn trusted(&self, name: &str) -> String {
        format!("    tls: {{ ca: '{}', server_name: {name} }}\n", self.ca.display())
    }
}

#[tokio::test]
async fn a_trusted_certificate_of_the_right_name_passes() {
    let identity = identity(&[]);
    let server = identity.serve().await;
    assert_passes(server.address, "https: {}", &identity.trusted("backend.test")).await;
}

#[tokio::test]
async fn a_certificate_of_another_name_fails() {
    let identity = identity(&[]);
    let server = identity.serve().await;
    let tls = identity.trusted("other.test");
    assert_fails(server.address, "https: {}", &tls, FailureReason::Tls, "not valid for name").await;
    // Without a name the address is verified, and the certificate is not for that either.
    let tls = format!("    tls: {{ ca: '{}' }}\n", identity.ca.display());
    assert_fails(server.address, "https: {}", &tls, FailureReason::Tls, "not valid for name").await;
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_fails() {
    let (ours, theirs) = (identity(&[]), identity(&[]));
    let server = theirs.serve().await;
    let tls = ours.trusted("backend.test");
    assert_fails(server.address, "https: {}", &tls, FailureReason::Tls, "certificate").await;
    let unverified = "    tls: { verify: false }\n";
    assert_passes(server.address, "https: {}", unverified).await;
}

#[tokio::test]
async fn without_tls_in_the_pool_nothing_is_verified() {
    let server = identity(&[]).serve().await;
    assert_passes(server.address, "https: { host: 'backend.test:8443' }", "").await;
}

#[tokio::test]
async fn an_authority_file_that_cannot_be_read_fails_and_says_which() {
    let server = identity(&[]).serve().await;
    let tls = "    tls: { ca: /nonexistent/ca.pem }\n";
    assert_fails(server.address, "https: {}", tls, FailureReason::Tls, "/nonexistent/ca.pem").await;
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_fails() {
    let server = Server::tcp(|mut stream| async move {
        let _ = stream.write_all(b"220 mail.example.com ESMTP\r\n").await;
    })
    .await;
    assert_fails(server.address, "https: {}", "", FailureReason::Tls, "TLS handshake").await;
}

/// Answers over HTTP/2 alone: 200 to whoever asks for the right thing.
async fn serve_http2(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let service = service_fn(|request: Request<Incoming>| async move {
        let good = request.version() == Version::HTTP_2
            && request.uri().path() == "/healthz"
            && request.uri().authority().is_some_and(|authority| authority == "api.example.com");
        Response::builder().status(if good { 200 } else { 400 }).body(Full::<Bytes>::from("serving"))
    });
    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

const HEALTHZ: &str = "{ path: /healthz, host: api.example.com, expect: 200, body_contains: serving }";

#[tokio::test]
async fn a_pool_of_h2c_is_checked_over_h2c() {
    let server = Server::tcp(serve_http2).await;
    assert_passes(server.address, &format!("http: {HEALTHZ}"), "    protocol: h2c\n").await;
}

#[tokio::test]
async fn a_pool_of_h2_is_checked_over_h2_where_the_server_agrees() {
    let identity = identity(&["h2"]);
    let acceptor = TlsAcceptor::from(Arc::new(identity.config.clone()));
    let server = Server::tcp(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve_http2(stream).await;
            }
        }
    })
    .await;
    let more = format!("    protocol: h2\n{}", identity.trusted("backend.test"));
    assert_passes(server.address, &format!("https: {HEALTHZ}"), &more).await;
}
