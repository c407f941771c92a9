//! The demo's own client: a request every now and then, so that there is something to see.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::admin::messages::Phase;
use crate::supervisor::Supervisor;

/// 20 requests a second.
const PAUSE: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(5);

/// Counts what it got.
pub struct Client {
    frontend: SocketAddr,
    answered: AtomicU64,
    failed: AtomicU64,
}

impl Client {
    pub fn new(frontend: SocketAddr) -> Self {
        Self { frontend, answered: AtomicU64::new(0), failed: AtomicU64::new(0) }
    }

    /// Until lb drains.
    pub async fn send_now_and_then(self: Arc<Self>, lb: Arc<Supervisor>) {
        let mut pauses = interval(PAUSE);
        pauses.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut connection = None;
        loop {
            pauses.tick().await;
            let exchange = timeout(PATIENCE, self.request(&mut connection)).await;
            if lb.phase() != Phase::Serving {
                return;
            }
            let count = if matches!(exchange, Ok(Ok(()))) { &self.answered } else { &self.failed };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn summary(&self) -> String {
        let (answered, failed) = (self.answered.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed));
        format!("{answered} requests of its own answered, {failed} failed")
    }

    async fn request(&self, connection: &mut Option<SendRequest<Empty<Bytes>>>) -> Result<()> {
        let mut sender = match connection.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let request = Request::get("/").header(HOST, "localhost").body(Empty::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        response.into_body().collect().await?;
        *connection = Some(sender);
        ensure!(status.is_success(), "answered with {status}");
        Ok(())
    }

    async fn connect(&self) -> Result<SendRequest<Empty<Bytes>>> {
        let stream = TcpStream::connect(self.frontend).await?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        sender.ready().await?;
        Ok(sender)
    }
}
