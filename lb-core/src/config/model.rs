//! What the program may trust: every name resolved, every range checked, every default filled in.
//!
//! Only [`super::load`] makes these values; nothing else in lb reads YAML.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;

use super::address::Listen;
use super::decode::Scalar;

mod l4;
mod vrrp;

pub use l4::*;
pub use vrrp::*;

/// The whole effective configuration of one node.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Config {
    /// Worker threads of layer 7; `None` is one per core.
    pub workers: Option<usize>,
    /// In the order of the file.
    pub frontends: Vec<Arc<Frontend>>,
    /// In the order of the file.
    pub pools: Vec<Arc<Pool>>,
    pub l4: L4,
    /// The machines that share the file, in its order.
    pub nodes: Vec<Node>,
    /// Which of `nodes` this one is; `None`: there are none, or the file was read without asking.
    pub this_node: Option<usize>,
    /// In the order of the file.
    pub vrrp: Vec<Arc<VirtualRouter>>,
    pub sync: Sync,
    pub reload: Reload,
    /// `None` when switched off with `metrics: off`.
    pub metrics: Option<Metrics>,
    pub admin: Admin,
    pub log: Log,
}

impl Config {
    /// The same for a process that runs so many.
    #[must_use]
    pub fn with_workers(&self, workers: usize) -> Self {
        Self { workers: Some(workers), ..self.clone() }
    }
}

impl Config {
    /// Pools that frontends of layer 4 use and none of layer 7: HTTP and its settings mean nothing to them.
    pub fn forwarded_pools(&self) -> HashSet<&str> {
        let forwards = self.frontends.iter().filter_map(|f| f.forward());
        let mut pools: HashSet<&str> = forwards.map(|forward| &*forward.pool).collect();
        for route in self.frontends.iter().filter_map(|f| f.http()).flat_map(|http| &http.routes) {
            if let Action::Pool(pool) = &route.action {
                pools.remove(&**pool);
            }
        }
        pools
    }
}

/// An address that clients connect to, and how it is served.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Frontend {
    pub name: Arc<str>,
    /// Port 0 is every port of that address and protocol (`*` in the file); in layer 4 only.
    pub listen: SocketAddr,
    pub mode: Mode,
}

impl Frontend {
    pub fn http(&self) -> Option<&Arc<Http>> {
        match &self.mode {
            Mode::Http(http) => Some(http),
            Mode::Forward(_) => None,
        }
    }

    pub fn forward(&self) -> Option<&Arc<Forward>> {
        match &self.mode {
            Mode::Http(_) => None,
            Mode::Forward(forward) => Some(forward),
        }
    }

    /// `listen` as the file has it: `203.0.113.10:443`, `203.0.113.11:53/udp`, `203.0.113.12:*`.
    pub fn listen_text(&self) -> String {
        let udp = self.forward().is_some_and(|forward| forward.protocol == Transport::Udp);
        Listen { address: self.listen, udp }.written()
    }
}

/// How a frontend is served.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Layer 7.
    Http(Arc<Http>),
    /// Layer 4.
    Forward(Arc<Forward>),
}

impl Mode {
    /// The word in the file.
    pub fn as_str(&self) -> &'static str {
        match self {
            Mode::Http(_) => "http",
            Mode::Forward(forward) => forward.method.as_str(),
        }
    }
}

/// `mode: http`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Http {
    pub tls: Option<FrontendTls>,
    /// First match wins. `pool: x` on the frontend is one route that matches everything.
    pub routes: Vec<Route>,
    pub timeouts: FrontendTimeouts,
    pub limits: Limits,
    /// Peers whose `X-Forwarded-*` fields are believed and appended to; everybody else's are replaced.
    pub trusted_proxies: Vec<IpNet>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FrontendTls {
    /// The first one answers clients that send no SNI or an unknown one.
    pub certificates: Vec<Certificate>,
    pub min_version: TlsVersion,
    pub alpn: Vec<Alpn>,
    pub client_auth: Option<ClientAuth>,
}

/// PEM files; read at start and again on every reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Certificate {
    pub cert: PathBuf,
    pub key: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum TlsVersion {
    #[serde(rename = "1.2")]
    V1_2,
    #[serde(rename = "1.3")]
    V1_3,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Alpn {
    #[serde(rename = "h2")]
    H2,
    #[serde(rename = "http/1.1")]
    Http1,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClientAuth {
    /// PEM bundle of the authorities that client certificates must chain to.
    pub ca: PathBuf,
    /// `false`: a client may also come without a certificate.
    pub required: bool,
}

/// All conditions that are present must hold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Route {
    pub host: Option<HostPattern>,
    pub path: Option<PathPattern>,
    /// Empty: any method.
    pub methods: Vec<String>,
    pub headers: Vec<HeaderMatch>,
    pub action: Action,
}

/// Lower case, without port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HostPattern {
    Exact(String),
    /// `*.example.com`, held as `.example.com`: one or more labels in front.
    Suffix(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PathPattern {
    Exact(String),
    /// By whole segments: `/static` matches `/static` and `/static/a`, not `/statics`.
    Prefix(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeaderMatch {
    /// Lower case.
    pub name: String,
    /// `None`: the field is there, whatever it holds.
    pub value: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A pool's name; it exists in [`Config::pools`].
    Pool(Arc<str>),
    Redirect(Redirect),
    Respond(Respond),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// May hold `{host}` (without port), `{path}` (as sent) and `{query}` (with its `?`, or empty).
    pub location: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Respond {
    /// 200 to 599.
    pub status: u16,
    pub content_type: String,
    pub body: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FrontendTimeouts {
    /// From the first byte of a request (or the accept) to the end of its header section, TLS handshake included. Answered with 408.
    pub header: Duration,
    /// Longest silence of a client within a request body. Answered with 408.
    pub request: Duration,
    /// A connection without a request, and a client that takes no bytes of its response.
    pub idle: Duration,
    /// Silence in both directions of an upgraded connection.
    pub tunnel: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Bytes of request line and header section. Answered with 431.
    pub header_bytes: usize,
    /// Header fields of one request. Answered with 431.
    pub header_count: usize,
    /// Bytes of the request target. Answered with 414.
    pub uri_length: usize,
    /// Bytes of a request body; `None`: any. Answered with 413.
    pub body_bytes: Option<u64>,
    /// Concurrent client connections; further ones wait in the kernel's queue.
    pub connections: Option<u32>,
    /// Concurrent connections of one client address; further ones are closed.
    pub connections_per_client: Option<u32>,
    /// HTTP/2: concurrent streams of one connection.
    pub h2_streams: u32,
    /// HTTP/2: streams that a client may reset before they were answered, pending at once, before GOAWAY.
    pub h2_resets: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pool {
    pub name: Arc<str>,
    pub scheduler: Scheduler,
    pub protocol: Protocol,
    /// Present: connections to backends are TLS. Always there for `protocol: h2`.
    pub tls: Option<PoolTls>,
    /// `None`: backends are taken for usable (health stays Unknown).
    pub check: Option<Check>,
    pub timeouts: PoolTimeouts,
    pub retry: Retry,
    /// Requests that may wait for a free slot of a backend before further ones get 503.
    pub max_queue: usize,
    /// Idle connections kept per backend and worker.
    pub max_idle: usize,
    /// Requests name lb in a Via field.
    pub via: bool,
    pub backends: Vec<Arc<Backend>>,
    /// Used when no primary backend is available.
    pub backup: Vec<Arc<Backend>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheduler {
    RoundRobin,
    LeastConnections,
    IpHash,
    Maglev,
    /// The better of two drawn at random.
    Random,
}

/// What is spoken to the backends of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    Http1,
    /// HTTP/2 over TLS.
    H2,
    /// HTTP/2 in clear text, with prior knowledge.
    H2c,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PoolTls {
    /// PEM bundle; `None`: the system's authorities.
    pub ca: Option<PathBuf>,
    /// Sent as SNI and verified; `None`: the backend's IP address is verified.
    pub server_name: Option<String>,
    /// `false` accepts any certificate.
    pub verify: bool,
    /// Shown to backends that ask for a client certificate.
    pub client: Option<Certificate>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PoolTimeouts {
    /// TCP and TLS handshake with a backend.
    pub connect: Duration,
    /// Longest silence of a backend that owes a response. 504 before its head.
    pub response: Duration,
    /// Wait for a slot when every backend is at `max_connections`. 503.
    pub queue: Duration,
    /// An unused pooled connection is closed after this.
    pub idle: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Retry {
    /// Further tries of one request, each on another backend where there is one.
    pub attempts: u32,
    /// Retries at most, in percent of the pool's requests (a few are always allowed).
    pub budget_percent: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Backend {
    /// The address as written, unless named; unique within its pool.
    pub name: Arc<str>,
    /// Port 0, where only layer 4 uses the pool: the port that the client connects to.
    pub address: SocketAddr,
    /// Share of new requests and flows; 0 takes none.
    pub weight: u16,
    /// Concurrent requests that it is given; `None`: any.
    pub max_connections: Option<u32>,
    pub state: AdminState,
}

impl Backend {
    /// As the file has it: without port where that is the frontend's.
    pub fn address_text(&self) -> String {
        if self.address.port() == 0 { self.address.ip().to_string() } else { self.address.to_string() }
    }
}

/// What an operator commands; never what was observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdminState {
    Ready,
    /// No new requests and flows; those that are there finish.
    Drain,
    /// As Drain, and not checked either.
    Maint,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    pub probe: Probe,
    /// Instead of the backend's own port.
    pub port: Option<u16>,
    /// For backends without a port: the one that all frontends of the pool share. Where neither is
    /// there, every backend has a port.
    pub frontend_port: Option<u16>,
    pub interval: Duration,
    pub timeout: Duration,
    /// Successes in a row that turn Down into Up.
    pub rise: u32,
    /// Failures in a row that turn Up into Down.
    pub fall: u32,
    pub initial: InitialHealth,
}

/// Before the first results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum InitialHealth {
    /// Takes requests; the first result decides at once.
    Unknown,
    Up,
    Down,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Probe {
    Tcp,
    Http(HttpProbe),
    /// Certificates are verified as the pool's `tls` says; without one they are not.
    Https(HttpProbe),
    Udp(UdpProbe),
    Script(ScriptProbe),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HttpProbe {
    pub method: String,
    pub path: String,
    /// `None`: the backend's address.
    pub host: Option<String>,
    /// Status codes that count as success.
    pub expect: Vec<RangeInclusive<u16>>,
    /// Looked for in the first 64 KiB of the body.
    pub body_contains: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UdpProbe {
    pub send: Vec<u8>,
    /// `None`: any datagram; else the datagram must hold these bytes.
    pub expect: Option<Vec<u8>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScriptProbe {
    /// Program and arguments; no shell. Gets LB_POOL, LB_BACKEND, LB_ADDRESS and LB_PORT.
    pub command: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Reload {
    /// How long connections may take to finish at a stop.
    pub drain_timeout: Duration,
    /// Reload by itself when the file changes.
    pub watch: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Metrics {
    pub listen: SocketAddr,
    /// Written as `node:9600`. The address is [`Metrics::NO_NODE`] where it is not known which node this is.
    pub on_node: bool,
}

impl Metrics {
    pub const NO_NODE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Admin {
    /// Unix socket, mode 0660.
    pub socket: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Log {
    pub level: LogLevel,
    pub format: LogFormat,
    /// `None`: no access log.
    pub access: Option<AccessLog>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccessLog {
    /// `None`: standard output.
    pub path: Option<PathBuf>,
    pub format: AccessFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessFormat {
    Json,
    Combined,
}
