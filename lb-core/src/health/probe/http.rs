//! One request over a connection of its own; redirects are answers like any other.

use std::pin::pin;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::udp::contains;
use super::{Found, fail, io_outcome, tcp};
use crate::config::HttpProbe;
use crate::health::target::Target;
use crate::health::{FailureReason, Outcome};
use crate::tls_client;

/// How much of a body is searched.
const SEARCHED: usize = 64 * 1024;

pub async fn probe(target: &Target, probe: &HttpProbe) -> Found {
    let stream = tcp::connect(target).await?;
    ask(stream, request(target, probe)?, probe).await
}

pub async fn probe_tls(target: &Target, probe: &HttpProbe) -> Found {
    let config = target.tls_config().map_err(tls_failure)?;
    let name = tls_client::server_name(sni(target, probe), target.address()).map_err(tls_failure)?;
    let stream = tcp::connect(target).await?;
    let connected = TlsConnector::from(config.clone()).connect(name, stream).await;
    let stream = connected.map_err(|error| io_outcome(FailureReason::Tls, "TLS handshake", &error))?;
    ask(stream, request(target, probe)?, probe).await
}

/// The pool's name; a pool without `tls` verifies nothing, but many servers want to hear a name.
fn sni<'a>(target: &'a Target, probe: &'a HttpProbe) -> Option<&'a str> {
    match &target.pool.config.tls {
        Some(tls) => tls.server_name.as_deref(),
        None => probe.host.as_deref().filter(|host| tls_client::server_name(Some(host), target.address()).is_ok()),
    }
}

fn request(target: &Target, probe: &HttpProbe) -> Result<Request<Empty<Bytes>>, Outcome> {
    let host = probe.host.clone().unwrap_or_else(|| target.address().to_string());
    Request::builder()
        .method(probe.method.as_str())
        .uri(&probe.path)
        .header(HOST, host)
        .header(USER_AGENT, concat!("lb/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(Empty::new())
        .map_err(|error| protocol(&error))
}

async fn ask<S>(stream: S, request: Request<Empty<Bytes>>, probe: &HttpProbe) -> Found
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| protocol(&e))?;
    let mut judged = pin!(async {
        let response = sender.send_request(request).await.map_err(|e| protocol(&e))?;
        judge(response, probe).await
    });
    tokio::select! {
        found = &mut judged => found,
        // The end of the connection may come before what it has delivered is read.
        _ = connection => judged.await,
    }
}

async fn judge(response: Response<Incoming>, probe: &HttpProbe) -> Found {
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
