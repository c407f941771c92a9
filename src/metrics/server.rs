//! The metrics listener: /metrics, /healthz and /readyz over plain HTTP/1.1.
//!
//! It may face a network, so connections are bounded in number and in time.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

const CONNECTIONS: usize = 32;
const BACKLOG: u32 = 128;
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Of one connection from its accept to its end.
const LIFETIME: Duration = Duration::from_secs(60);

/// What the listener serves.
pub trait Source: Send + Sync + 'static {
    /// The text format of Prometheus.
    fn scrape(&self) -> Vec<u8>;
    /// `Err` says why not.
    fn ready(&self) -> Result<(), &'static str>;
}

/// A listener that is bound but serves nobody yet.
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

/// Stops when it is dropped.
pub struct Server(JoinHandle<()>);

impl Bound {
    /// On the control runtime, or on a blocking thread of it. `ours` is where this process listens already, which
    /// may be the same port on more addresses or on fewer.
    pub fn bind(address: SocketAddr, ours: Option<SocketAddr>) -> io::Result<Self> {
        if ours.is_none_or(|ours| ours.port() != address.port()) {
            // Another process that shares its port would get a part of the scrapes.
            socket(address, false)?;
        }
        let listener = socket(address, true)?.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    pub fn serve(self, source: Arc<dyn Source>) -> Server {
        info!(address = %self.address, "serving metrics");
        Server(tokio::spawn(accept(self.listener, source)))
    }
}

fn socket(address: SocketAddr, share: bool) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(share)?;
    socket.bind(address)?;
    Ok(socket)
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn accept(listener: TcpListener, source: Arc<dyn Source>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // Further clients wait in the kernel's queue.
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = timeout(LIFETIME, serve(stream, source.clone()));
                tokio::spawn(async move {
                    let _ = connection.await;
                    drop(slot);
                });
            }
            Err(error) => {
                warn!(%error, "the metrics listener cannot accept");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, source: Arc<dyn Source>) {
    let service = service_fn(move |request| answer(request, source.clone()));
    // What goes wrong here is the client's connection, which needs no word in the log.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(request: Request<Incoming>, source: Arc<dyn Source>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are served here\n");
        response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return Ok(response);
    }
    Ok(match request.uri().path() {
        "/metrics" => metrics(source).await,
        "/healthz" => plain(StatusCode::OK, "alive\n"),
        "/readyz" => match source.ready() {
            Ok(()) => plain(StatusCode::OK, "ready\n"),
            Err(why) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        },
        _ => plain(StatusCode::NOT_FOUND, "here are /metrics, /healthz and /readyz\n"),
    })
}

/// With thousands of backends a scrape takes a while, which the control loop must not feel.
async fn metrics(source: Arc<dyn Source>) -> Response<Full<Bytes>> {
    match tokio::task::spawn_blocking(move || source.scrape()).await {
        Ok(text) => with_type(StatusCode::OK, prometheus::TEXT_FORMAT, text),
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the scrape failed\n"),
    }
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    with_type(status, "text/plain; charset=utf-8", body)
}

fn with_type(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, hyper::header::HeaderValue::from_static("no-store"));
    response
}
