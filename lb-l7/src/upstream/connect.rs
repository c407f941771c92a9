//! A new connection to a backend: TCP, then TLS where the pool has it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use lb_core::pool::{Backend, BackendLive};
use lb_core::tls_client;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::UpstreamError;
use super::error::UpstreamErrorKind;
use crate::io::deadline::Timer;
use crate::io::transport::Transport;
use crate::plan::PoolPlan;
use crate::worker::Worker;

/// A transport, and its place in the backend's count of connections.
#[derive(Debug)]
pub struct Opened {
    pub transport: Transport,
    pub alpn_h2: bool,
    pub counted: Counted,
}

#[derive(Debug)]
pub struct Counted {
    live: Arc<BackendLive>,
    worker: usize,
}

impl Counted {
    fn new(live: &Arc<BackendLive>, worker: usize) -> Self {
        let counters = live.counters.shard(worker);
        counters.connections_active.add(1);
        counters.connections_total.inc();
        Self { live: live.clone(), worker }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.live.counters.shard(self.worker).connections_active.add(-1);
    }
}

pub async fn open(
    worker: &Worker,
    backend: &Arc<Backend>,
    plan: &PoolPlan,
    timer: &Timer,
) -> Result<Opened, UpstreamError> {
    let opened = in_time(backend, plan, timer, attempt(worker, backend, plan)).await.and_then(|result| result);
    opened.map_err(|kind| {
        let error = UpstreamError::unsent(kind);
        if !error.is_ours() {
            backend.live.counters.shard(worker.index).connect_failures.inc();
        }
        error
    })
}

/// Waits for a connection within the pool's time for it, and while the backend is to be used at all.
pub async fn in_time<F: Future>(
    backend: &Backend,
    plan: &PoolPlan,
    timer: &Timer,
    attempt: F,
) -> Result<F::Output, UpstreamErrorKind> {
    let attempt = timer.within(plan.pool.config.timeouts.connect, attempt);
    match while_available(plan, backend, attempt).await {
        Some(Ok(output)) => Ok(output),
        Some(Err(_)) => Err(UpstreamErrorKind::ConnectTimeout),
        None => Err(UpstreamErrorKind::WentAway),
    }
}

/// `None` as soon as the backend is not to be used any more: whoever takes one out wakes the pool's waiters.
async fn while_available<F: Future>(plan: &PoolPlan, backend: &Backend, attempt: F) -> Option<F::Output> {
    let mut attempt = pin!(attempt);
    loop {
        let mut changed = pin!(plan.pool.live.availability.notified());
        changed.as_mut().enable();
        tokio::select! {
            biased;
            result = &mut attempt => return Some(result),
            () = changed => {
                if !backend.is_available() {
                    return None;
                }
            }
        }
    }
}

async fn attempt(worker: &Worker, backend: &Arc<Backend>, plan: &PoolPlan) -> Result<Opened, UpstreamErrorKind> {
    let address = backend.config.address;
    let tcp = TcpStream::connect(address).await.map_err(UpstreamErrorKind::Connect)?;
    tcp.set_nodelay(true).map_err(UpstreamErrorKind::Connect)?;
    let counted = Counted::new(&backend.live, worker.index);
    let Some(tls) = &plan.tls else {
        return Ok(Opened { transport: Transport::plain(tcp.into()), alpn_h2: false, counted });
    };
    let name = plan.pool.config.tls.as_ref().and_then(|t| t.server_name.as_deref());
    let name = tls_client::server_name(name, address).map_err(|e| UpstreamErrorKind::Tls(std::io::Error::other(e)))?;
    let unbounded = |session: &mut rustls::ClientConnection| session.set_buffer_limit(None);
    let connecting = TlsConnector::from(tls.clone()).connect_with(name, tcp.into(), unbounded);
    let stream = connecting.await.map_err(UpstreamErrorKind::Tls)?;
    let alpn_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    Ok(Opened { transport: Transport::client_tls(stream), alpn_h2, counted })
}
