//! A backend that answers with its name, and plays dead when told to.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Listens; answers once [`Toy::serve`] was called.
pub struct Toy {
    pub name: &'static str,
    pub address: SocketAddr,
    listener: std::net::TcpListener,
}

struct State {
    name: &'static str,
    dead: AtomicBool,
}

impl Toy {
    pub fn bind(name: &'static str) -> Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").context("no port for a toy backend")?;
        listener.set_nonblocking(true)?;
        Ok(Self { name, address: listener.local_addr()?, listener })
    }

    /// On a runtime, until that ends.
    pub fn serve(self) -> Result<()> {
        let listener = TcpListener::from_std(self.listener)?;
        let state = Arc::new(State { name: self.name, dead: AtomicBool::new(false) });
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = state.clone();
                let service = service_fn(move |request| std::future::ready(answer(&request, &state)));
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        Ok(())
    }
}

/// An error closes the connection without an answer: that is how it plays dead.
fn answer(request: &Request<Incoming>, state: &State) -> io::Result<Response<Full<Bytes>>> {
    let text = match request.uri().path() {
        "/stop" => state.play_dead(true),
        "/start" => state.play_dead(false),
        _ if state.dead.load(Ordering::Relaxed) => return Err(io::Error::other("playing dead")),
        "/healthz" => "ok\n".to_owned(),
        path => format!("{} {path} answered by {}\n", request.method(), state.name),
    };
    Ok(Response::new(Full::from(text)))
}

impl State {
    fn play_dead(&self, dead: bool) -> String {
        self.dead.store(dead, Ordering::Relaxed);
        let name = self.name;
        if dead { format!("{name} plays dead; POST /start brings it back\n") } else { format!("{name} is back\n") }
    }
}
