//! What would become of a request, and why: the parser, the routes and the scheduler that serve are asked.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::Uri;
use lb_core::config::{AdminState, Scheduler};
use lb_core::pool::{Backend, Health, Pool};
use lb_core::scheduler::{Choice, Key, PoolCursor, client_hash, preview};
use serde::{Deserialize, Serialize};

use crate::h1::parse;
use crate::head::RequestHead;
use crate::plan::{FrontendPlan, Plan};
use crate::route::{RouteAction, RouteVerdict, bare_host};

/// A request as a person describes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExplainRequest {
    /// `http://host[:port]/path` or `https://...`.
    pub url: String,
    pub method: String,
    pub headers: Vec<(String, String)>,
    /// Whose address hash schedulers go by; `None`: 127.0.0.1.
    pub client: Option<IpAddr>,
    /// Where the URL fits several frontends: which one.
    pub frontend: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Explanation {
    pub frontend: String,
    pub listen: SocketAddr,
    /// Every route of the frontend, with why it was taken or not.
    pub routes: Vec<RouteVerdict>,
    pub decision: Decision,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// lb answers by itself.
    Answer {
        status: u16,
        why: String,
    },
    Redirect {
        status: u16,
        location: String,
    },
    Pool {
        pool: String,
        scheduler: String,
        backend: Option<String>,
        why: String,
        backends: Vec<BackendView>,
    },
}

/// One backend as the scheduler sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BackendView {
    pub name: String,
    pub backup: bool,
    pub health: Health,
    pub admin_state: AdminState,
    pub weight: u16,
    pub requests: u64,
    pub available: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    #[error("`{0}` is not a URL: expected http://host/path or https://host/path")]
    Url(String),
    #[error("no frontend of layer 7 listens for {0}; there are: {1}")]
    NoFrontend(String, String),
}

pub fn explain(plan: &Plan, request: &ExplainRequest) -> Result<Explanation, ExplainError> {
    let uri: Uri = request.url.parse().map_err(|_| ExplainError::Url(request.url.clone()))?;
    let known = uri.scheme_str().is_none_or(|scheme| matches!(scheme, "http" | "https"));
    let authority = uri.authority().filter(|_| known).ok_or_else(|| ExplainError::Url(request.url.clone()))?;
    let frontend = find_frontend(plan, &uri, request)?;
    let mut head = RequestHead::default();
    let text = wire(request, authority.as_str(), uri.path_and_query().map_or("/", |p| p.as_str()));
    let (routes, decision) = match parse::request(text.as_bytes(), &frontend.head_limits, &mut head) {
        Ok(()) => (frontend.routes.explain(&head), decide(plan, frontend, &head, request)),
        Err(reject) => (Vec::new(), Decision::Answer { status: reject.status, why: reject.reason.to_owned() }),
    };
    let config = &frontend.frontend.config;
    Ok(Explanation { frontend: config.name.to_string(), listen: config.listen, routes, decision })
}

/// The request as a client would send it.
fn wire(request: &ExplainRequest, authority: &str, target: &str) -> String {
    let mut text = format!("{} {target} HTTP/1.1\r\nHost: {authority}\r\n", request.method);
    for (name, value) in &request.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text + "\r\n"
}

fn find_frontend<'p>(
    plan: &'p Plan,
    uri: &Uri,
    request: &ExplainRequest,
) -> Result<&'p Arc<FrontendPlan>, ExplainError> {
    let tls = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let host: Option<IpAddr> = uri.host().and_then(|h| h.trim_matches(['[', ']']).parse().ok());
    let fits = |frontend: &&Arc<FrontendPlan>| {
        let config = &frontend.frontend.config;
        if let Some(name) = &request.frontend {
            return *config.name == **name;
        }
        let address = host.is_none_or(|h| config.listen.ip() == h || config.listen.ip().is_unspecified());
        config.listen.port() == port && frontend.http.tls.is_some() == tls && address
    };
    plan.frontends.iter().find(fits).ok_or_else(|| {
        let wanted =
            request.frontend.clone().unwrap_or_else(|| format!("{} port {port}", if tls { "TLS" } else { "plain" }));
        let known: Vec<_> = plan
            .frontends
            .iter()
            .map(|f| (&f.frontend.config, if f.http.tls.is_some() { ", TLS" } else { "" }))
            .map(|(config, tls)| format!("{} ({}{tls})", config.name, config.listen))
            .collect();
        ExplainError::NoFrontend(wanted, if known.is_empty() { "none".to_owned() } else { known.join(", ") })
    })
}

fn decide(plan: &Plan, frontend: &FrontendPlan, head: &RequestHead, request: &ExplainRequest) -> Decision {
    let Some(matched) = frontend.routes.find(head) else {
        return Decision::Answer { status: 404, why: "no route matches".to_owned() };
    };
    match matched.action {
        RouteAction::Pool(pool) => choose(&plan.pools[*pool].pool, request),
        RouteAction::Respond(respond) => {
            Decision::Answer { status: respond.status, why: format!("route {} answers by itself", matched.index + 1) }
        }
        RouteAction::Redirect(redirect) => {
            let mut location = Vec::new();
            let host = bare_host(head.authority());
            redirect.location(host, head.path(), head.query(), &mut location);
            Decision::Redirect { status: redirect.status, location: String::from_utf8_lossy(&location).into_owned() }
        }
    }
}

fn choose(pool: &Pool, request: &ExplainRequest) -> Decision {
    let client = request.client.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let key = Key { client: client_hash(client), random: 0 };
    let (backend, why) = match preview(pool, &PoolCursor::for_worker(0), key, &[]) {
        Choice::Backend { backend, .. } => {
            (Some(backend.config.name.to_string()), because(pool.config.scheduler, client))
        }
        Choice::Full => (None, "every available backend is at its max_connections: the request waits".to_owned()),
        Choice::NoneAvailable => (None, "no backend is available: 503".to_owned()),
    };
    let view = |backup| move |b: &Arc<Backend>| backend_view(b, backup);
    Decision::Pool {
        pool: pool.config.name.to_string(),
        scheduler: scheduler_name(pool.config.scheduler).to_owned(),
        backend,
        why,
        backends: pool.backends.iter().map(view(false)).chain(pool.backup.iter().map(view(true))).collect(),
    }
}

fn because(scheduler: Scheduler, client: IpAddr) -> String {
    match scheduler {
        Scheduler::RoundRobin => "one of the available backends in turn; each worker keeps its own turn".to_owned(),
        Scheduler::LeastConnections => "the fewest requests in flight for its weight, at this moment".to_owned(),
        Scheduler::IpHash | Scheduler::Maglev => format!("the hash of the client's address {client}"),
        Scheduler::Random => "the better of two drawn at random; one draw of many".to_owned(),
    }
}

fn scheduler_name(scheduler: Scheduler) -> &'static str {
    match scheduler {
        Scheduler::RoundRobin => "round-robin",
        Scheduler::LeastConnections => "least-connections",
        Scheduler::IpHash => "ip-hash",
        Scheduler::Maglev => "maglev",
        Scheduler::Random => "random",
    }
}

fn backend_view(backend: &Backend, backup: bool) -> BackendView {
    BackendView {
        name: backend.config.name.to_string(),
        backup,
        health: backend.live.health(),
        admin_state: backend.admin_state(),
        weight: backend.config.weight,
        requests: backend.load(),
        available: backend.is_available(),
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "frontend {} ({})", self.frontend, self.listen)?;
        for route in &self.routes {
            writeln!(f, "  route {}: {}", route.index + 1, route.verdict)?;
        }
        match &self.decision {
            Decision::Answer { status, why } => writeln!(f, "answer {status}: {why}"),
            Decision::Redirect { status, location } => writeln!(f, "redirect {status} to {location}"),
            Decision::Pool { pool, scheduler, backend, why, backends } => {
                writeln!(f, "pool {pool} ({scheduler})")?;
                backends.iter().try_for_each(|b| writeln!(f, "  {b}"))?;
                writeln!(f, "backend {}: {why}", backend.as_deref().unwrap_or("none"))
            }
        }
    }
}

impl fmt::Display for BackendView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = |s: &dyn fmt::Debug| format!("{s:?}").to_lowercase();
        write!(
            f,
            "{}{}: {}, {}, weight {}, {} in flight{}",
            self.name,
            if self.backup { " (backup)" } else { "" },
            state(&self.health),
            state(&self.admin_state),
            self.weight,
            self.requests,
            if self.available { "" } else { " - takes nothing" },
        )
    }
}
