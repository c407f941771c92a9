//! One request, from its head to the end of its response.
//!
//! ```text
//! client::{http1, http2} -> serve: sanity, route
//!                             |-> respond: redirects, fixed answers, errors
//!                             '-> forward: pool, backend, connection, retries
//!                                   '-> exchange: request up, response down
//! ```

pub mod answer;
mod exchange;
mod forward;
pub mod headers;
mod slot;
pub mod trail;
mod tunnel;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use self::answer::Answer;
use self::headers::Origin;
use self::trail::Trail;
use crate::body::{Data, Sink, SinkError, Source};
use crate::h1::parse;
use crate::head::{BodyLength, Method, Name, RequestHead, ResponseHead};
use crate::io::deadline::Timer;
use crate::io::message::Inbox;
use crate::io::send_limit::SendLimit;
use crate::io::transport::Transport;
use crate::plan::FrontendPlan;
use crate::route::RouteAction;
use crate::worker::{PoolView, View, Worker};

/// Who is connected, the same for all requests of a connection.
#[derive(Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// The IP address as text.
    pub name: String,
    /// What hash schedulers go by.
    pub hash: u64,
    pub tls: Option<&'static str>,
}

/// The surroundings of one request.
#[derive(Debug)]
pub struct Scene<'a> {
    pub worker: &'a Rc<Worker>,
    pub view: Rc<View>,
    pub frontend: &'a Arc<FrontendPlan>,
    pub peer: &'a Peer,
    pub timer: &'a Timer,
}

/// One request's client, whichever version of HTTP it speaks.
pub trait Client {
    type Source<'a>: Source
    where
        Self: 'a;
    type Responder<'a>: Responder
    where
        Self: 'a;

    fn split(&mut self) -> (&RequestHead, Self::Source<'_>, Self::Responder<'_>);

    /// The bare connection, for a switch of protocols; HTTP/2 has none.
    fn raw(&mut self) -> Option<(&Transport, &mut Inbox)>;
}

/// The way back to the client.
pub trait Responder: Sink {
    /// Stages the head of the final response. `persist`: the connection may be used again after
    /// it; the answer tells whether it really can.
    fn begin(&mut self, head: &ResponseHead, persist: bool) -> Result<bool, SinkError>;

    /// Sends a 1xx head.
    async fn interim(&mut self, head: &ResponseHead, limit: SendLimit<'_>) -> Result<(), SinkError>;

    /// Bytes that have left.
    fn sent(&self) -> u64;
}

/// What becomes of the client's connection (HTTP/2: stream).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// The response is complete and the request was read to its end.
    Persist,
    /// The response is complete and the request was read to its end; close the connection.
    Close,
    /// The response is complete, but more of the request may come: read on for a while before closing.
    Linger,
    /// The response could not be completed: the client must notice (RFC 9112 section 8).
    Abort,
}

/// Heads that are used again from request to request.
#[derive(Debug, Default)]
pub struct Heads {
    pub request: RequestHead,
    pub response: ResponseHead,
    /// What is staged for an HTTP/1 client.
    pub out: Vec<u8>,
}

impl Heads {
    /// What they occupy.
    pub fn bytes(&self) -> usize {
        self.request.block.capacity() + self.response.block.capacity() + self.out.capacity()
    }
}

impl Scene<'_> {
    /// No further request will be served on this connection: the worker drains, or a reload took the frontend away.
    pub fn is_last(&self) -> bool {
        self.worker.is_draining() || !self.worker.serves(&self.view, self.frontend)
    }

    /// How long the client may take nothing of a response.
    pub fn patience(&self) -> SendLimit<'_> {
        SendLimit { timer: self.timer, idle: self.frontend.http.timeouts.idle }
    }

    pub fn origin(&self, pool: &PoolView) -> Origin<'_> {
        let trusted = &self.frontend.http.trusted_proxies;
        Origin {
            client: &self.peer.name,
            scheme: if self.peer.tls.is_some() { "https" } else { "http" },
            trusted: trusted.iter().any(|net| net.contains(&self.peer.address.ip().to_canonical())),
            via: pool.plan.pool.config.via,
        }
    }
}

/// Serves one request whose head is complete and well formed.
pub async fn serve<C: Client>(
    scene: &Scene<'_>,
    client: &mut C,
    response: &mut ResponseHead,
    trail: &mut Trail,
) -> After {
    let (head, source, mut responder) = client.split();
    if head.method == Method::Options && is_last_hop(head) {
        answer::fixed(response, 200, b"", 0);
        answer::allow(response);
        return Box::pin(send_fixed(scene, head, &source, &mut responder, response, b"", trail)).await;
    }
    let matched = match refuse(scene, head) {
        Some(answer) => Err(answer),
        None => scene.frontend.routes.find(head).ok_or(Answer::client(404, "no route for this request", "no_route")),
    };
    let matched = match matched {
        Ok(matched) => matched,
        Err(answer) => {
            return Box::pin(send_answer(scene, head, &source, &mut responder, response, trail, answer)).await;
        }
    };
    trail.route = Some(matched.index);
    match matched.action {
        RouteAction::Pool(pool) => {
            let pool = *pool;
            drop((source, responder));
            forward::forward(scene, client, pool, response, trail).await
        }
        RouteAction::Redirect(redirect) => {
            answer::fixed(response, redirect.status, b"", 0);
            let mut location = Vec::new();
            let host = crate::route::bare_host(head.authority());
            redirect.location(host, head.path(), head.query(), &mut location);
            response.block.push_field(b"Location", &location);
            Box::pin(send_fixed(scene, head, &source, &mut responder, response, b"", trail)).await
        }
        RouteAction::Respond(respond) => {
            answer::fixed(response, respond.status, respond.content_type.as_bytes(), respond.body.len());
            let body = respond.body.as_bytes();
            Box::pin(send_fixed(scene, head, &source, &mut responder, response, body, trail)).await
        }
    }
}

/// What is not forwarded, whatever the routes say.
fn refuse(scene: &Scene<'_>, head: &RequestHead) -> Option<Answer> {
    let limit = scene.frontend.http.limits.body_bytes;
    if let (BodyLength::Known(length), Some(limit)) = (head.body, limit)
        && length > limit
    {
        return Some(Answer::client(413, "request body too large", "body_too_large"));
    }
    (head.method == Method::Trace && is_last_hop(head)).then_some(Answer::client(405, "TRACE is not offered", "method"))
}

/// The last hop that a TRACE or OPTIONS may take answers it (RFC 9110 section 7.6.2).
fn is_last_hop(head: &RequestHead) -> bool {
    head.block.get(Name::MaxForwards).and_then(parse::decimal) == Some(0)
}

/// Answers a client in lb's own name.
pub async fn respond<C: Client>(
    scene: &Scene<'_>,
    client: &mut C,
    response: &mut ResponseHead,
    trail: &mut Trail,
    answer: Answer,
) -> After {
    let (head, source, mut responder) = client.split();
    send_answer(scene, head, &source, &mut responder, response, trail, answer).await
}

async fn send_answer(
    scene: &Scene<'_>,
    head: &RequestHead,
    source: &impl Source,
    responder: &mut impl Responder,
    response: &mut ResponseHead,
    trail: &mut Trail,
    answer: Answer,
) -> After {
    trail.fault = Some(answer.fault);
    trail.malformed = answer.malformed;
    let body = answer.render(response);
    response.keep_alive = !answer.close;
    send_fixed(scene, head, source, responder, response, body.as_bytes(), trail).await
}

async fn send_fixed(
    scene: &Scene<'_>,
    head: &RequestHead,
    source: &impl Source,
    responder: &mut impl Responder,
    response: &ResponseHead,
    body: &[u8],
    trail: &mut Trail,
) -> After {
    trail.status = response.status;
    let persist = persists(scene, head, source) && response.keep_alive;
    let sent = match responder.begin(response, persist) {
        Ok(persist) => responder.data(Data::Slice(body), true, scene.patience()).await.map(|()| persist),
        Err(error) => Err(error),
    };
    trail.bytes_out += responder.sent();
    match sent {
        Ok(true) => After::Persist,
        Ok(false) if source.is_done() && response.keep_alive => After::Close,
        Ok(false) => After::Linger,
        _ => {
            trail.client_gone();
            After::Abort
        }
    }
}

/// May the connection be used again, as far as the client and the worker are concerned?
fn persists(scene: &Scene<'_>, head: &RequestHead, source: &impl Source) -> bool {
    head.keep_alive && source.is_done() && !scene.is_last()
}
