//! A client's connection: TLS, then whichever version of HTTP it speaks.

mod heads;
mod http1;
mod http2;

use std::future::{Future, poll_fn};
use std::net::{self, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use lb_core::scheduler::client_hash;
use lb_core::snapshot::FrontendLive;
use tokio_rustls::TlsAcceptor;

use self::http2::Opening;
use crate::admission::Place;
use crate::io::deadline::Timer;
use crate::io::message::Inbox;
use crate::io::tcp::Tcp;
use crate::io::transport::Transport;
use crate::plan::FrontendPlan;
use crate::proxy::Peer;
use crate::tls::ServerTls;
use crate::worker::lanes::Lanes;
use crate::worker::{OpenConnection, View, Worker};

/// How long a connection that has not asked anything yet is kept when a drain begins.
const FRESH: Duration = Duration::from_secs(1);

/// A connection as it comes from the listener.
#[derive(Debug)]
pub struct Accepted {
    pub worker: Rc<Worker>,
    pub frontend: Arc<FrontendPlan>,
    pub peer: SocketAddr,
    pub place: Place,
    pub open: OpenConnection,
}

/// The tasks that serve clients.
#[derive(Debug, Default)]
pub struct Tasks {
    streams: Lanes<http2::RequestStream>,
}

/// What lasts as long as a client's connection.
#[derive(Debug)]
struct Connection {
    worker: Rc<Worker>,
    frontend: Arc<FrontendPlan>,
    /// The view that `frontend` is of.
    view: Rc<View>,
    peer: Rc<Peer>,
    timer: Timer,
    /// It was told by [`Self::hurry_unasked`].
    warned: bool,
    _active: Active,
    _place: Place,
    _open: OpenConnection,
}

/// Counts the connection as active while it is open.
#[derive(Debug)]
struct Active {
    live: Arc<FrontendLive>,
    worker: usize,
}

impl Active {
    fn new(live: &Arc<FrontendLive>, worker: usize) -> Self {
        live.counters.shard(worker).connections_active.add(1);
        Self { live: live.clone(), worker }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.live.counters.shard(self.worker).connections_active.add(-1);
    }
}

impl Connection {
    fn new(accepted: Accepted) -> Self {
        let Accepted { worker, frontend, peer, place, open } = accepted;
        let client = peer.ip().to_canonical();
        let timer = worker.deadlines.timer();
        timer.set(frontend.http.timeouts.header);
        Self {
            view: worker.view(),
            timer,
            warned: false,
            peer: Rc::new(Peer { address: peer, name: client.to_string(), hash: client_hash(client), tls: None }),
            _active: Active::new(&frontend.frontend.live, worker.index),
            _place: place,
            _open: open,
            worker,
            frontend,
        }
    }

    /// Shortens the wait for a first request when no more are to be served: it may be on its way, so it gets a moment.
    fn hurry_unasked(&mut self) {
        if !self.renew() && !self.warned {
            self.warned = true;
            self.timer.set(FRESH);
        }
    }

    /// Takes up the newest plan; `false` when it no longer has this frontend, or the worker is draining.
    fn renew(&mut self) -> bool {
        if self.worker.is_draining() {
            return false;
        }
        let view = self.worker.view();
        if Rc::ptr_eq(&view, &self.view) {
            return true;
        }
        let Some(frontend) = view.plan.continues(&self.frontend) else { return false };
        self.frontend = frontend.clone();
        self.view = view;
        true
    }

    fn counters(&self) -> &lb_core::snapshot::FrontendCounters {
        self.frontend.frontend.live.counters.shard(self.worker.index)
    }
}

/// `stream` does not block.
pub async fn serve(accepted: Accepted, stream: net::TcpStream) {
    let mut connection = Connection::new(accepted);
    let stream = Tcp::fresh(stream, &connection.worker.deadlines);
    connection.timer.wake_at_next_sweep();
    match connection.frontend.tls.clone() {
        None => serve_plain(connection, Transport::plain(stream)).await,
        Some(tls) => {
            // Boxed, as it is large and soon over.
            if let Some((transport, h2)) = Box::pin(handshake(&mut connection, &tls, stream)).await {
                serve_tls(connection, transport, h2).await;
            }
        }
    }
}

/// A connection whose other end is in this process.
#[cfg(feature = "fuzz")]
pub async fn serve_memory(accepted: Accepted, pipe: tokio::io::DuplexStream) {
    serve_plain(Connection::new(accepted), Transport::Memory(std::cell::RefCell::new(pipe))).await;
}

async fn serve_plain(mut connection: Connection, transport: Transport) {
    let mut inbox = Inbox::default();
    match opening(&mut connection, &transport, &mut inbox).await {
        Some(Opening::Other) => http1::serve(connection, transport, inbox).await,
        Some(Opening::Preface | Opening::BadPreface) => Box::pin(http2::serve(connection, transport, inbox)).await,
        // Nothing came: there is nobody to tell.
        None => {}
    }
}

async fn opening(connection: &mut Connection, transport: &Transport, inbox: &mut Inbox) -> Option<Opening> {
    let mut opening = pin!(http2::opening(transport, inbox));
    poll_fn(|cx| {
        if let Poll::Ready(opening) = opening.as_mut().poll(cx) {
            return Poll::Ready(opening.ok());
        }
        connection.hurry_unasked();
        if connection.timer.poll_expired(cx) { Poll::Ready(None) } else { Poll::Pending }
    })
    .await
}

async fn serve_tls(connection: Connection, transport: Transport, h2: bool) {
    if h2 {
        Box::pin(http2::serve(connection, transport, Inbox::default())).await;
    } else {
        http1::serve(connection, transport, Inbox::default()).await;
    }
}

/// The TLS handshake, within the time for a head; tells whether HTTP/2 was agreed on.
async fn handshake(connection: &mut Connection, tls: &ServerTls, stream: Tcp) -> Option<(Transport, bool)> {
    let unbounded = |session: &mut rustls::ServerConnection| session.set_buffer_limit(None);
    let accepting = TlsAcceptor::from(tls.config().clone()).accept_with(stream, unbounded);
    let stream = match connection.timer.limit(accepting).await {
        Ok(Ok(stream)) => stream,
        failed => {
            connection.counters().tls_failures.inc();
            tracing::debug!(client = %connection.peer.address, error = ?failed.err(), "TLS handshake");
            return None;
        }
    };
    let session = stream.get_ref().1;
    let counters = connection.counters();
    counters.tls_handshakes.inc();
    if session.handshake_kind() == Some(rustls::HandshakeKind::Resumed) {
        counters.tls_handshakes_resumed.inc();
    }
    let version = session.protocol_version();
    let h2 = session.alpn_protocol() == Some(b"h2");
    let name = if version == Some(rustls::ProtocolVersion::TLSv1_2) { "TLSv1.2" } else { "TLSv1.3" };
    if let Some(peer) = Rc::get_mut(&mut connection.peer) {
        peer.tls = Some(name);
    }
    Some((Transport::server_tls(stream), h2))
}
