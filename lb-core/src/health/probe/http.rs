//! One request over a connection of its own; redirects are answers like any other.

use std::pin::pin;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::http::uri::Scheme;
use hyper::{Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::udp::contains;
use super::{Doing, Found, fail, io_outcome, tcp};
use crate::config::{Alpn, HttpProbe, Protocol};
use crate::health::target::Target;
use crate::health::{FailureReason, Outcome};
use crate::tls_client;

/// How much of a body is searched.
const SEARCHED: usize = 64 * 1024;

pub async fn probe(target: &Target, probe: &HttpProbe, doing: &Doing) -> Found {
    let stream = tcp::connect(target, doing).await?;
    doing.now("waiting for the response");
    if target.protocol() == Some(Protocol::H2c) {
        return ask_http2(stream, http2_request(target, probe, Scheme::HTTP)?, probe).await;
    }
    ask_http1(stream, http1_request(target, probe)?, probe).await
}

pub async fn probe_tls(target: &Target, probe: &HttpProbe, doing: &Doing) -> Found {
    let config = target.tls_config().map_err(tls_failure)?;
    let name = tls_client::server_name(sni(target, probe), target.address()).map_err(tls_failure)?;
    let stream = tcp::connect(target, doing).await?;
    doing.now("TLS handshake");
    let connected = TlsConnector::from(config.clone()).connect(name, stream).await;
    let stream = connected.map_err(|error| io_outcome(FailureReason::Tls, "TLS handshake", &error))?;
    doing.now("waiting for the response");
    if stream.get_ref().1.alpn_protocol() == Some(tls_client::alpn_id(Alpn::H2)) {
        return ask_http2(stream, http2_request(target, probe, Scheme::HTTPS)?, probe).await;
    }
    ask_http1(stream, http1_request(target, probe)?, probe).await
}

/// The pool's name; a pool without `tls` verifies nothing, but many servers want to hear a name.
fn sni<'a>(target: &'a Target, probe: &'a HttpProbe) -> Option<&'a str> {
    let Some(tls) = &target.pool.config.tls else {
        let host = probe.host.as_deref()?;
        let name = host.rsplit_once(':').map_or(host, |(name, _port)| name);
        return Some(name).filter(|name| tls_client::server_name(Some(name), target.address()).is_ok());
    };
    tls.server_name.as_deref()
}

fn http1_request(target: &Target, probe: &HttpProbe) -> Result<Request<Empty<Bytes>>, Outcome> {
    Request::builder()
        .method(probe.method.as_str())
        .uri(&probe.path)
        .header(HOST, authority(target, probe))
        .header(USER_AGENT, AGENT)
        .header(CONNECTION, "close")
        .body(Empty::new())
        .map_err(|error| protocol(&error))
}

fn http2_request(target: &Target, probe: &HttpProbe, scheme: Scheme) -> Result<Request<Empty<Bytes>>, Outcome> {
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(authority(target, probe))
        .path_and_query(probe.path.as_str())
        .build()
        .map_err(|error| protocol(&error))?;
    Request::builder()
        .method(probe.method.as_str())
        .uri(uri)
        .header(USER_AGENT, AGENT)
        .body(Empty::new())
        .map_err(|error| protocol(&error))
}

const AGENT: &str = concat!("lb/", env!("CARGO_PKG_VERSION"));

fn authority(target: &Target, probe: &HttpProbe) -> String {
    probe.host.clone().unwrap_or_else(|| target.address().to_string())
}

async fn ask_http1<S>(stream: S, request: Request<Empty<Bytes>>, probe: &HttpProbe) -> Found
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| protocol(&e))?;
    let answer = async { judge(sender.send_request(request).await, probe).await };
    alongside(connection, answer).await
}

async fn ask_http2<S>(stream: S, request: Request<Empty<Bytes>>, probe: &HttpProbe) -> Found
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(|e| protocol(&e))?;
    let answer = async { judge(sender.send_request(request).await, probe).await };
    alongside(connection, answer).await
}

/// Drives the connection until the answer is judged. The connection may well end before: with what it
/// has delivered still to be read.
async fn alongside(connection: impl Future, answer: impl Future<Output = Found>) -> Found {
    let mut answer = pin!(answer);
    tokio::select! {
        found = &mut answer => found,
        _ = connection => answer.await,
    }
}

async fn judge(answer: hyper::Result<Response<Incoming>>, probe: &HttpProbe) -> Found {
    let response = answer.map_err(|e| protocol(&e))?;
    let status = response.status().as_u16();
    if !probe.expect.iter().any(|range| range.contains(&status)) {
        return fail(FailureReason::Status, format!("status {status}"));
    }
    let Some(wanted) = &probe.body_contains else { return Ok(Outcome::success(format!("status {status}"))) };
    if body_contains(response.into_body(), wanted.as_bytes()).await? {
        return Ok(Outcome::success(format!("status {status}, body as expected")));
    }
    fail(FailureReason::Body, format!("status {status}, but a body without `{wanted}`"))
}

async fn body_contains(mut body: Incoming, wanted: &[u8]) -> Result<bool, Outcome> {
    let mut searched = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| protocol(&e))?;
        let Some(data) = frame.data_ref() else { continue };
        // What was searched before needs no second look, but for a match that straddles the frames.
        let from = searched.len().saturating_sub(wanted.len());
        searched.extend_from_slice(&data[..data.len().min(SEARCHED - searched.len())]);
        if contains(&searched[from..], wanted) {
            return Ok(true);
        }
        if searched.len() == SEARCHED {
            break;
        }
    }
    Ok(false)
}

fn tls_failure(error: impl std::fmt::Display) -> Outcome {
    Outcome::failure(FailureReason::Tls, error.to_string())
}

/// With its cause: hyper's own words leave it out.
fn protocol(error: &dyn std::error::Error) -> Outcome {
    let text = error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
    Outcome::failure(FailureReason::Protocol, text)
}
