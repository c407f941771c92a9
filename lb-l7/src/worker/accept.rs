//! Listeners of one worker: accept, admit, hand to the protocol.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use lb_core::snapshot::Refusal;
use tokio::io::Interest;
use tokio::task::JoinHandle;

use super::{OpenConnection, Worker};
use crate::admission::Place;
use crate::client::{self, Accepted};
use crate::plan::FrontendPlan;
use crate::socket::Listener;

/// Pause after accepting failed for want of descriptors or memory.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
pub struct Listeners(HashMap<SocketAddr, Open>);

#[derive(Debug)]
struct Open {
    task: JoinHandle<()>,
    socket: Rc<Listener>,
}

impl Listeners {
    pub fn open(&mut self, worker: &Rc<Worker>, listener: std::net::TcpListener, address: SocketAddr) {
        let socket = match crate::socket::watch(listener) {
            Ok(socket) => Rc::new(socket),
            Err(error) => {
                tracing::error!(%address, %error, "cannot watch the listener");
                return;
            }
        };
        let task = tokio::task::spawn_local(serve(worker.clone(), socket.clone(), address));
        if let Some(old) = self.0.insert(address, Open { task, socket }) {
            old.task.abort();
        }
    }

    pub async fn close(&mut self, address: &SocketAddr) {
        if let Some(open) = self.0.remove(address) {
            close(open).await;
        }
    }

    pub async fn close_all(&mut self) {
        for (_, open) in self.0.drain() {
            close(open).await;
        }
    }
}

/// Connections that the kernel has completed are ours already: closing the listener would reset them, so they are
/// accepted before it goes. The accept loop does that, and ends at the first moment with nothing in the queue.
async fn close(open: Open) {
    let Open { task, socket } = open;
    let empty = tokio::time::timeout(Duration::from_millis(200), async {
        while queued(&socket) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let _ = empty.await;
    task.abort();
}

/// Length of the accept queue: of a listening socket, the kernel tells it as `tcpi_unacked` (net/ipv4/tcp.c).
fn queued(socket: &Listener) -> u32 {
    crate::socket::tcp_info(socket).map_or(0, |info| info.tcpi_unacked)
}

async fn serve(worker: Rc<Worker>, socket: Rc<Listener>, address: SocketAddr) {
    let mut exhausted = Exhausted::default();
    let Some(mut frontend) = worker.view().plan.at(&address).cloned() else { return };
    loop {
        let accepted = accept(&socket).await;
        frontend = current(&worker, &address, frontend);
        match accepted {
            Ok((stream, peer)) => {
                exhausted.clear();
                let place = place(&worker, &address, &mut frontend).await;
                admit(&worker, frontend.clone(), stream, peer, place);
            }
            Err(error) if is_exhausted(&error) => {
                let counters = frontend.frontend.live.counters.shard(worker.index);
                counters.connections_refused[Refusal::Descriptors as usize].inc();
                exhausted.shed(&socket, &error).await;
            }
            // The client gave up between the handshake and our accept, or the like: nothing is lost.
            Err(error) => {
                tracing::debug!(%error, "accept");
                tokio::task::yield_now().await;
            }
        }
    }
}

/// The next connection; it does not block.
async fn accept(socket: &Listener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = socket.async_io(Interest::READABLE, mio::net::TcpListener::accept).await?;
    Ok((stream.into(), peer))
}

/// The frontend as it is now. One that a reload took away still serves what is queued, as it was.
fn current(worker: &Worker, address: &SocketAddr, last: Arc<FrontendPlan>) -> Arc<FrontendPlan> {
    worker.view().plan.at(address).cloned().unwrap_or(last)
}

/// Waits until the frontend may take one more connection, by the limit as it is then. The ones behind it wait in the
/// kernel's queue.
async fn place(worker: &Worker, address: &SocketAddr, frontend: &mut Arc<FrontendPlan>) -> Place {
    loop {
        let admission = frontend.admission.clone();
        tokio::select! {
            biased;
            place = admission.connection() => return place,
            () = worker.plan_changed.notified() => *frontend = current(worker, address, frontend.clone()),
        }
    }
}

fn admit(worker: &Rc<Worker>, frontend: Arc<FrontendPlan>, stream: TcpStream, peer: SocketAddr, mut place: Place) {
    let counters = frontend.frontend.live.counters.shard(worker.index);
    if !frontend.admission.client(&mut place, peer.ip().to_canonical()) {
        counters.connections_refused[Refusal::ClientLimit as usize].inc();
        return;
    }
    counters.connections_total.inc();
    let open = OpenConnection::new(worker);
    let accepted = Accepted { worker: worker.clone(), frontend, peer, place, open };
    tokio::task::spawn_local(client::serve(accepted, stream));
}

fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// A descriptor in reserve: given up for a moment to accept one connection and close it, so that
/// its client is told at once instead of waiting in a queue that nobody serves.
#[derive(Debug)]
struct Exhausted {
    reserve: Option<std::fs::File>,
    logged: bool,
}

impl Default for Exhausted {
    fn default() -> Self {
        Self { reserve: std::fs::File::open("/dev/null").ok(), logged: false }
    }
}

impl Exhausted {
    async fn shed(&mut self, socket: &Listener, error: &io::Error) {
        if !self.logged {
            tracing::error!(%error, "out of file descriptors: closing new connections until some are free");
            self.logged = true;
        }
        drop(self.reserve.take());
        // Whatever is accepted is closed at once.
        let _ = tokio::time::timeout(EXHAUSTED_PAUSE, accept(socket)).await;
        self.reserve = std::fs::File::open("/dev/null").ok();
        if self.reserve.is_none() {
            tokio::time::sleep(EXHAUSTED_PAUSE).await;
        }
    }

    fn clear(&mut self) {
        if self.logged {
            tracing::info!("file descriptors are free again: accepting");
            self.logged = false;
        }
        if self.reserve.is_none() {
            self.reserve = std::fs::File::open("/dev/null").ok();
        }
    }
}
