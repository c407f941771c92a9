//! Raw types that are no plain mappings: closed sets of words, values with a short and a long form, and
//! what is known but not there yet.

use std::path::PathBuf;
use std::time::Duration;

use schemars::{Schema, SchemaGenerator, json_schema};

use super::address::{Address, BackendAddress};
use super::decode::{Context, Decode, List, Named, Scalar};
use super::diagnostic::Complaint;
use super::http_words::{HeaderName, Status};
use super::keys::{text_schema, words};
use super::model::{
    AccessFormat, AdminState, Alpn, Attach, InitialHealth, LogFormat, LogLevel, OnBackendDown, Protocol, Scheduler,
    TlsVersion, VrrpPeers,
};
use super::raw::{AccessKeys, Backend, HeaderMatch, MetricsKeys, PathKeys, PersistenceKeys, RedirectKeys, RespondKeys};
use super::scalar::unexpected;
use super::tree::{Kind, Node};

/// How a frontend is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Http,
    Tcp,
    Nat,
    Dr,
    Tunnel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientAuthMode {
    Required,
    Optional,
}

/// What the checksum of an advert covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checksum {
    PseudoHeader,
    Rfc9568,
}

words! {
    Attach, "attach" { "auto" => Attach::Auto, "xdp" => Attach::Xdp, "tc" => Attach::Tc }
    Mode, "mode" { "http" => Mode::Http, "tcp" => Mode::Tcp, "nat" => Mode::Nat, "dr" => Mode::Dr, "tunnel" => Mode::Tunnel }
    ClientAuthMode, "mode" { "required" => ClientAuthMode::Required, "optional" => ClientAuthMode::Optional }
    TlsVersion, "TLS version" { "1.2" => TlsVersion::V1_2, "1.3" => TlsVersion::V1_3 }
    Alpn, "protocol" { "h2" => Alpn::H2, "http/1.1" => Alpn::Http1 }
    Scheduler, "scheduler" {
        "round-robin" => Scheduler::RoundRobin,
        "least-connections" => Scheduler::LeastConnections,
        "ip-hash" => Scheduler::IpHash,
        "maglev" => Scheduler::Maglev,
        "random" => Scheduler::Random,
    }
    Protocol, "protocol" { "http1" => Protocol::Http1, "h2" => Protocol::H2, "h2c" => Protocol::H2c }
    AdminState, "state" { "ready" => AdminState::Ready, "drain" => AdminState::Drain, "maint" => AdminState::Maint }
    InitialHealth, "initial state" {
        "unknown" => InitialHealth::Unknown,
        "up" => InitialHealth::Up,
        "down" => InitialHealth::Down,
    }
    OnBackendDown, "action" {
        "rebind" => OnBackendDown::Rebind,
        "reset" => OnBackendDown::Reset,
        "keep" => OnBackendDown::Keep,
    }
    LogLevel, "log level" {
        "error" => LogLevel::Error,
        "warn" => LogLevel::Warn,
        "info" => LogLevel::Info,
        "debug" => LogLevel::Debug,
    }
    LogFormat, "log format" { "text" => LogFormat::Text, "json" => LogFormat::Json }
    VrrpPeers, "peers" { "unicast" => VrrpPeers::Unicast, "multicast" => VrrpPeers::Multicast }
    Checksum, "checksum" { "pseudo-header" => Checksum::PseudoHeader, "rfc9568" => Checksum::Rfc9568 }
    AccessFormat, "access log format" { "json" => AccessFormat::Json, "combined" => AccessFormat::Combined }
}

pub(super) const NOT_YET: &str = "not in this build yet";

/// Types that may be written as one scalar, or as a mapping with more.
macro_rules! short_or_long {
    ($( $(#[doc = $doc:literal])+ $name:ident: $short:ty => $keys:ty, $key:ident; )+) => { $(
        $(#[doc = $doc])+
        #[derive(Debug, Clone)]
        pub(super) struct $name(pub $keys);

        impl Decode for $name {
            fn decode<'t>(node: &'t Node<'t>, context: &mut Context<'t>) -> Option<Self> {
                if !matches!(node.kind, Kind::Scalar(_)) {
                    return <$keys>::decode(node, context).map($name);
                }
                let mut keys = <$keys>::default();
                keys.$key.set(<$short>::decode(node, context), node.span, node.span);
                Some($name(keys))
            }

            fn schema(generator: &mut SchemaGenerator) -> Schema {
                let (short, long) = (<$short>::schema(generator), <$keys>::schema(generator));
                json_schema!({ "anyOf": [short, long] })
            }
        }
    )+ };
}

short_or_long! {
    /// `10.0.0.1:80`, or a mapping.
    BackendEntry: BackendAddress => Backend, address;
    /// `https://{host}{path}{query}`, or a mapping.
    Redirect: String => RedirectKeys, location;
    /// `404`, or a mapping.
    Respond: Status => RespondKeys, status;
    /// `/static/`, or a mapping.
    PathMatch: String => PathKeys, prefix;
    /// `x-canary`, or a mapping.
    Header: HeaderName => HeaderMatch, name;
    /// `5m`, or a mapping.
    Persistence: Duration => PersistenceKeys, timeout;
    /// `/var/log/lb/access.log`, `stdout`, or a mapping.
    Access: AccessPath => AccessKeys, path;
}

/// `{}`: nothing but the connection.
#[derive(Debug, Clone)]
pub(super) struct TcpProbe;

impl Decode for TcpProbe {
    fn decode<'t>(node: &'t Node<'t>, context: &mut Context<'t>) -> Option<Self> {
        context.entries(node, "a tcp probe", &[]).map(|_| TcpProbe)
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": false })
    }
}

/// `auto`, `off`, or a list of addresses.
#[derive(Debug, Clone)]
pub(super) enum Snat {
    Off,
    Auto,
    Addresses(List<Address>),
}

impl Decode for Snat {
    fn decode<'t>(node: &'t Node<'t>, context: &mut Context<'t>) -> Option<Self> {
        match &node.kind {
            Kind::Scalar(text) if text == "off" => Some(Snat::Off),
            Kind::Scalar(text) if text == "auto" => Some(Snat::Auto),
            Kind::List(_) => List::decode(node, context).map(Snat::Addresses),
            _ => context.expected("`auto`, `off` or a list of addresses", node),
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let addresses = List::<Address>::schema(generator);
        // To readers of YAML 1.1, `off` is false.
        json_schema!({ "anyOf": [{ "enum": ["auto", "off", false] }, addresses] })
    }
}

/// `off`, or a mapping.
#[derive(Debug, Clone)]
pub(super) enum Metrics {
    Off,
    On(MetricsKeys),
}

impl Decode for Metrics {
    fn decode<'t>(node: &'t Node<'t>, context: &mut Context<'t>) -> Option<Self> {
        match &node.kind {
            Kind::Scalar(text) if text == "off" => Some(Metrics::Off),
            Kind::Scalar(_) => context.expected("`off` or a mapping such as `{ listen: 127.0.0.1:9600 }`", node),
            _ => MetricsKeys::decode(node, context).map(Metrics::On),
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let keys = MetricsKeys::schema(generator);
        // To readers of YAML 1.1, `off` is false.
        json_schema!({ "anyOf": [{ "enum": ["off", false] }, keys] })
    }
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AccessPath {
    None,
    Stdout,
    File(PathBuf),
}

impl Scalar for AccessPath {
    const EXPECTED: &'static str = "a path such as `/var/log/lb/access.log`, `stdout` or `none`";

    fn parse(text: &str) -> Result<Self, Complaint> {
        match text {
            "none" => Ok(AccessPath::None),
            "stdout" => Ok(AccessPath::Stdout),
            // A bare word is more likely a misspelt one than a file beside the working directory.
            _ if !text.contains('/') => Err(unexpected::<Self>(text)),
            _ => PathBuf::parse(text).map(AccessPath::File),
        }
    }

    fn written(&self) -> String {
        match self {
            AccessPath::None => "none".to_owned(),
            AccessPath::Stdout => "stdout".to_owned(),
            AccessPath::File(path) => path.written(),
        }
    }

    fn describe() -> Schema {
        text_schema(Some("^(none|stdout|.*/.*)$"), &["/var/log/lb/access.log", "stdout"])
    }
}

/// `100`, or a mapping from the names of nodes.
#[derive(Debug, Clone)]
pub(super) enum Priority {
    One(u8),
    ByNode(Named<u8>),
}

impl Decode for Priority {
    fn decode<'t>(node: &'t Node<'t>, context: &mut Context<'t>) -> Option<Self> {
        match &node.kind {
            Kind::Scalar(_) => u8::decode(node, context).map(Priority::One),
            _ => Named::decode(node, context).map(Priority::ByNode),
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let (one, by_node) = (u8::schema(generator), Named::<u8>::schema(generator));
        json_schema!({ "anyOf": [one, by_node] })
    }
}

/// `30s`, or `never`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(super) enum PreemptDelay {
    After(Duration),
    Never,
}

/// `60s`, or `off`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(super) enum Every {
    Time(Duration),
    Off,
}

/// Scalars that are a duration, or one word instead.
macro_rules! duration_or {
    ($( $name:ident: $time:ident, $word:literal => $other:ident, $expected:literal; )+) => { $(
        impl Scalar for $name {
            const EXPECTED: &'static str = $expected;

            fn parse(text: &str) -> Result<Self, Complaint> {
                if text == $word {
                    return Ok($name::$other);
                }
                let starts_as_number = text.starts_with(|c: char| c.is_ascii_digit());
                Duration::parse(text).map($name::$time).map_err(|complaint| match starts_as_number {
                    true => complaint,
                    false => unexpected::<Self>(text),
                })
            }

            fn written(&self) -> String {
                match self {
                    $name::$time(time) => time.written(),
                    $name::$other => $word.to_owned(),
                }
            }

            fn describe() -> Schema {
                text_schema(Some(concat!("^([0-9]+(ms|s|m|h)|", $word, ")$")), &["30s", $word])
            }
        }
    )+ };
}

duration_or! {
    PreemptDelay: After, "never" => Never, "a duration such as `30s`, or `never`";
    Every: Time, "off" => Off, "a duration such as `60s`, or `off`";
}
