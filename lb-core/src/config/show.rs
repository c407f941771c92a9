//! The effective configuration in the language of the file, every default written out. [`super::load`]
//! reads it back to the same [`Config`].

use std::sync::Arc;

use serde_yaml::{Mapping, Value};

use super::address::MetricsListen;
use super::decode::Scalar;
use super::forms::ClientAuthMode;
use super::http_words::StatusRange;
use super::model::{
    AccessFormat, AccessLog, Action, Backend, Certificate, Check, Config, Forward, Frontend, FrontendTimeouts,
    FrontendTls, HeaderMatch, Http, HttpProbe, L4, Limits, Method, Metrics, Mode, PathPattern, Persistence, Pool,
    PoolTimeouts, PoolTls, Probe, Redirect, Respond, Route, Snat, Transport, UdpProbe,
};
use super::scalar::{Hex, Percent, PortRange, Size};

mod vrrp;

pub(super) use vrrp::virtual_router;

/// The whole configuration as YAML.
pub fn show(config: &Config) -> String {
    let mut value = Value::Mapping(root(config));
    let quoted = set_aside(&mut value);
    // Only maps with keys that are no scalars fail to serialize.
    let yaml = serde_yaml::to_string(&value).unwrap_or_default();
    let mut parts = yaml.split(STAND_IN);
    let first = parts.next().unwrap_or_default();
    first.chars().chain(quoted.iter().zip(parts).flat_map(|(text, rest)| text.chars().chain(rest.chars()))).collect()
}

fn root(config: &Config) -> Mapping {
    let frontends = config.frontends.iter().map(|f| (text(&f.name), Value::Mapping(frontend(f)))).collect();
    let forwarded = config.forwarded_pools();
    let pool = |p: &Arc<Pool>| (text(&p.name), Value::Mapping(pool(p, forwarded.contains(&*p.name))));
    let pools = config.pools.iter().map(pool).collect();
    let mut root = Keys::new()
        .some("workers", config.workers.map(number))
        .some("vrrp", vrrp::vrrp(config))
        .set("frontends", Value::Mapping(frontends))
        .set("pools", Value::Mapping(pools))
        .0;
    root.extend(globals(config));
    root
}

/// Everything but virtual routers, frontends and pools.
pub(super) fn globals(config: &Config) -> Mapping {
    let metrics = match &config.metrics {
        Some(metrics) => Keys::new().scalar("listen", &metrics_listen(metrics)).value(),
        None => text("off"),
    };
    let reload = Keys::new().scalar("drain_timeout", &config.reload.drain_timeout).set("watch", config.reload.watch);
    let log = Keys::new()
        .scalar("level", &config.log.level)
        .scalar("format", &config.log.format)
        .set("access", access(config.log.access.as_ref()));
    Keys::new()
        .some("workers", config.workers.map(number))
        .some("nodes", vrrp::nodes(config))
        .some("sync", (!config.nodes.is_empty()).then(|| vrrp::sync(&config.sync)))
        .set("l4", l4(&config.l4))
        .set("reload", reload.value())
        .set("metrics", metrics)
        .set("admin", Keys::new().scalar("socket", &config.admin.socket).value())
        .set("log", log.value())
        .0
}

fn metrics_listen(metrics: &Metrics) -> MetricsListen {
    match metrics.on_node {
        true => MetricsListen::Node(metrics.listen.port()),
        false => MetricsListen::Address(metrics.listen),
    }
}

fn l4(l4: &L4) -> Value {
    let timeouts = Keys::new()
        .scalar("established", &l4.timeouts.established)
        .scalar("syn", &l4.timeouts.syn)
        .scalar("fin", &l4.timeouts.fin)
        .scalar("close", &l4.timeouts.close)
        .scalar("udp", &l4.timeouts.udp);
    Keys::new()
        .scalar("attach", &l4.attach)
        .some("interfaces", l4.interfaces.as_ref().map(|names| list(names, |name| text(name))))
        .set("flows", l4.flows)
        .set("new_flows_per_second", l4.new_flows_per_second)
        .scalar("snat_ports", &PortRange(l4.snat_ports.clone()))
        .set("timeouts", timeouts.value())
        .value()
}

fn access(log: Option<&AccessLog>) -> Value {
    let Some(AccessLog { path, format }) = log else { return text("none") };
    let path = path.as_ref().map_or_else(|| "stdout".to_owned(), Scalar::written);
    Keys::new().set("path", text(&path)).scalar::<AccessFormat>("format", format).value()
}

pub(super) fn frontend(frontend: &Frontend) -> Mapping {
    let keys = Keys::new().set("mode", frontend.mode.as_str()).set("listen", text(&frontend.listen_text()));
    match &frontend.mode {
        Mode::Http(mode) => http(keys, mode),
        Mode::Forward(mode) => forward(keys, mode),
    }
    .0
}

fn http(keys: Keys, http: &Http) -> Keys {
    keys.some("tls", http.tls.as_ref().map(frontend_tls))
        .set("timeouts", frontend_timeouts(&http.timeouts))
        .set("limits", limits(&http.limits))
        .set("trusted_proxies", list(&http.trusted_proxies, |network| text(&network.to_string())))
        .set("routes", list(&http.routes, route))
}

fn forward(keys: Keys, forward: &Forward) -> Keys {
    let idle_timeout = match forward.protocol {
        Transport::Tcp => forward.timeouts.established,
        Transport::Udp => forward.timeouts.udp,
    };
    let snat = match &forward.method {
        Method::Nat { snat } => Some(snat_value(snat)),
        Method::Dr | Method::Tunnel => None,
    };
    keys.set("pool", text(&forward.pool))
        .some("snat", snat)
        .scalar("idle_timeout", &idle_timeout)
        .scalar("on_backend_down", &forward.on_backend_down)
        .some("persistence", forward.persistence.as_ref().map(persistence))
}

fn snat_value(snat: &Snat) -> Value {
    match snat {
        Snat::Off => text("off"),
        Snat::Auto => text("auto"),
        Snat::Addresses(addresses) => list(addresses, |address| text(&address.to_string())),
    }
}

fn persistence(persistence: &Persistence) -> Value {
    Keys::new()
        .scalar("timeout", &persistence.timeout)
        .set("netmask", persistence.netmask)
        .set("netmask6", persistence.netmask6)
        .value()
}

fn frontend_tls(tls: &FrontendTls) -> Value {
    let client_auth = tls.client_auth.as_ref().map(|auth| {
        let mode = if auth.required { ClientAuthMode::Required } else { ClientAuthMode::Optional };
        Keys::new().scalar("ca", &auth.ca).scalar("mode", &mode).value()
    });
    Keys::new()
        .set("certificates", list(&tls.certificates, certificate))
        .scalar("min_version", &tls.min_version)
        .set("alpn", list(&tls.alpn, scalar))
        .some("client_auth", client_auth)
        .value()
}

fn certificate(certificate: &Certificate) -> Value {
    Keys::new().scalar("cert", &certificate.cert).scalar("key", &certificate.key).value()
}

fn frontend_timeouts(timeouts: &FrontendTimeouts) -> Value {
    Keys::new()
        .scalar("header", &timeouts.header)
        .scalar("request", &timeouts.request)
        .scalar("idle", &timeouts.idle)
        .scalar("tunnel", &timeouts.tunnel)
        .value()
}

fn limits(limits: &Limits) -> Value {
    Keys::new()
        .scalar("header_bytes", &Size(limits.header_bytes as u64))
        .set("header_count", number(limits.header_count))
        .scalar("uri_length", &Size(limits.uri_length as u64))
        .some("body_bytes", limits.body_bytes.map(|bytes| scalar(&Size(bytes))))
        .some("connections", limits.connections)
        .some("connections_per_client", limits.connections_per_client)
        .set("h2_streams", limits.h2_streams)
        .set("h2_resets", limits.h2_resets)
        .value()
}

fn route(route: &Route) -> Value {
    let keys = Keys::new()
        .some("host", route.host.as_ref().map(scalar))
        .some("path", route.path.as_ref().map(path))
        .some("method", (!route.methods.is_empty()).then(|| list(&route.methods, |method| text(method))))
        .some("header", (!route.headers.is_empty()).then(|| list(&route.headers, header)));
    match &route.action {
        Action::Pool(name) => keys.set("pool", text(name)),
        Action::Redirect(Redirect { status, location }) => {
            keys.set("redirect", Keys::new().set("status", *status).set("location", text(location)).value())
        }
        Action::Respond(Respond { status, content_type, body }) => {
            let answer = Keys::new().set("status", *status).set("content_type", text(content_type));
            keys.set("respond", answer.set("body", text(body)).value())
        }
    }
    .value()
}

fn path(path: &PathPattern) -> Value {
    match path {
        PathPattern::Exact(path) => Keys::new().set("exact", text(path)).value(),
        PathPattern::Prefix(path) => text(path),
    }
}

fn header(header: &HeaderMatch) -> Value {
    Keys::new().set("name", text(&header.name)).some("value", header.value.as_deref().map(text)).value()
}

/// `forwarded`: only layer 4 uses it; see [`Config::forwarded_pools`].
fn pool(pool: &Pool, forwarded: bool) -> Mapping {
    let backends = |backends: &[Arc<Backend>]| list(backends, |b| Value::Mapping(backend(b)));
    let mut mapping = pool_settings(pool, forwarded);
    mapping.insert(text("backends"), backends(&pool.backends));
    mapping.insert(text("backup"), backends(&pool.backup));
    mapping
}

/// Everything but the backends, and without what means nothing to layer 4 where nobody else uses the pool.
pub(super) fn pool_settings(pool: &Pool, forwarded: bool) -> Mapping {
    let check = pool.check.as_ref().map(check);
    let tls = pool.tls.as_ref().map(pool_tls);
    let keys = Keys::new().scalar("scheduler", &pool.scheduler);
    if forwarded {
        return keys.some("tls", tls).some("check", check).0;
    }
    let retry = Keys::new().set("attempts", pool.retry.attempts).scalar("budget", &Percent(pool.retry.budget_percent));
    keys.scalar("protocol", &pool.protocol)
        .some("tls", tls)
        .some("check", check)
        .set("timeouts", pool_timeouts(&pool.timeouts))
        .set("retry", retry.value())
        .set("max_queue", number(pool.max_queue))
        .set("max_idle", number(pool.max_idle))
        .set("via", pool.via)
        .0
}

pub(super) fn backend(backend: &Backend) -> Mapping {
    Keys::new()
        .set("address", text(&backend.address_text()))
        .set("name", text(&backend.name))
        .set("weight", backend.weight)
        .some("max_connections", backend.max_connections)
        .scalar("state", &backend.state)
        .0
}

fn pool_tls(tls: &PoolTls) -> Value {
    Keys::new()
        .some("ca", tls.ca.as_ref().map(scalar))
        .some("server_name", tls.server_name.as_deref().map(text))
        .set("verify", tls.verify)
        .some("client", tls.client.as_ref().map(certificate))
        .value()
}

fn pool_timeouts(timeouts: &PoolTimeouts) -> Value {
    Keys::new()
        .scalar("connect", &timeouts.connect)
        .scalar("response", &timeouts.response)
        .scalar("queue", &timeouts.queue)
        .scalar("idle", &timeouts.idle)
        .value()
}

fn check(check: &Check) -> Value {
    let (kind, probe) = match &check.probe {
        Probe::Tcp => ("tcp", Keys::new().value()),
        Probe::Http(probe) => ("http", http_probe(probe)),
        Probe::Https(probe) => ("https", http_probe(probe)),
        Probe::Udp(probe) => ("udp", udp_probe(probe)),
        Probe::Script(probe) => ("script", list(&probe.command, |word| text(word))),
    };
    Keys::new()
        .set(kind, probe)
        .some("port", check.port)
        .scalar("interval", &check.interval)
        .scalar("timeout", &check.timeout)
        .set("rise", check.rise)
        .set("fall", check.fall)
        .scalar("initial", &check.initial)
        .value()
}

fn http_probe(probe: &HttpProbe) -> Value {
    Keys::new()
        .set("method", text(&probe.method))
        .set("path", text(&probe.path))
        .some("host", probe.host.as_deref().map(text))
        .set("expect", list(&probe.expect, |range| scalar(&StatusRange(range.clone()))))
        .some("body_contains", probe.body_contains.as_deref().map(text))
        .value()
}

fn udp_probe(probe: &UdpProbe) -> Value {
    let keys = Keys::new().scalar("send_hex", &Hex(probe.send.clone()));
    match &probe.expect {
        None => keys.set("expect", "any"),
        Some(bytes) => keys.scalar("expect_hex", &Hex(bytes.clone())),
    }
    .value()
}

/// A mapping in the making.
struct Keys(Mapping);

impl Keys {
    fn new() -> Self {
        Keys(Mapping::new())
    }

    fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.insert(text(key), value.into());
        self
    }

    fn some(self, key: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.set(key, value),
            None => self,
        }
    }

    fn scalar<S: Scalar>(self, key: &str, value: &S) -> Self {
        self.set(key, scalar(value))
    }

    fn value(self) -> Value {
        Value::Mapping(self.0)
    }
}

fn list<T>(items: &[T], value: impl Fn(&T) -> Value) -> Value {
    Value::Sequence(items.iter().map(value).collect())
}

fn scalar<S: Scalar>(value: &S) -> Value {
    text(&value.written())
}

/// What reads as a variable was escaped in the file, and must be again.
fn text(text: &str) -> Value {
    Value::String(text.replace("${", "$${"))
}

fn number(n: usize) -> Value {
    Value::from(n as u64)
}

/// The writer of YAML does not bring every text back: some that begin with a line break lose their
/// indentation, some separators of lines are folded. Texts that are more than printable ASCII are
/// quoted here, and put in after the rest was written.
fn set_aside(value: &mut Value) -> Vec<String> {
    let mut quoted = Vec::new();
    visit(value, &mut |text| {
        if text.contains(STAND_IN) || !text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            quoted.push(double_quoted(text));
            *text = STAND_IN.to_owned();
        }
    });
    quoted
}

const STAND_IN: &str = "STAND-IN";

fn visit(value: &mut Value, edit: &mut impl FnMut(&mut String)) {
    match value {
        Value::String(text) => edit(text),
        Value::Sequence(items) => items.iter_mut().for_each(|item| visit(item, edit)),
        Value::Mapping(mapping) => mapping.values_mut().for_each(|value| visit(value, edit)),
        _ => {}
    }
}

fn double_quoted(text: &str) -> String {
    let escaped: String = text.chars().map(escaped).collect();
    format!("\"{escaped}\"")
}

fn escaped(c: char) -> String {
    match c {
        '"' | '\\' => format!("\\{c}"),
        '\n' => "\\n".to_owned(),
        _ if c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric() => c.to_string(),
        _ => format!("\\U{:08x}", u32::from(c)),
    }
}
