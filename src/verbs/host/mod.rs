//! Can this machine, this user, and the user of the systemd unit serve a configuration?

mod eyes;
mod files;
mod service;
mod unit;

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use lb_core::config::{Config, Mode, Pool, Probe};
use lb_core::snapshot::Snapshot;
use lb_core::tls_client;
use lb_l4::report::Interface;
use lb_l7::tls::ServerTls;
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{AccessFlags, access};

use unit::Unit;

use super::finding::{Finding, Result, Severity, finding, problem};
use crate::exit::words;

/// Two descriptors for each connection in flight, and some for lb itself.
const FEW_DESCRIPTORS: u64 = 10_000;

/// `file` is where the configuration stands.
pub fn examine(config: &Config, file: &Path) -> Vec<Finding> {
    let unit = Unit::installed();
    let mut findings = vec![finding("file descriptors", descriptors())];
    findings.extend(node(config));
    let running = UnixStream::connect(&config.admin.socket).is_ok();
    for frontend in &config.frontends {
        let Mode::Http(http) = &frontend.mode else { continue };
        let listening = listen(frontend.listen, running).or_else(|(severity, why)| {
            match severity == Severity::Warning && is_virtual(config, frontend.listen) {
                true => Ok(format!("{} is a virtual address, and comes and goes", frontend.listen.ip())),
                false => Err((severity, why)),
            }
        });
        findings.push(finding(format!("frontend {}", frontend.name), listening));
        if let Some(tls) = &http.tls {
            let loaded = ServerTls::load(tls, None).map(|_| format!("{} certificates", tls.certificates.len()));
            findings.push(finding(format!("frontend {}", frontend.name), loaded.map_err(problem)));
        }
    }
    findings.extend(layer4(config));
    findings.extend(secrets(config));
    for pool in &config.pools {
        findings.extend(pool_findings(pool));
    }
    if let Some(metrics) = &config.metrics {
        findings.push(finding("metrics", listen(metrics.listen, running)));
    }
    findings.push(finding("admin socket", socket(&config.admin.socket)));
    if let Some(path) = config.log.access.as_ref().and_then(|a| a.path.as_ref()) {
        findings.push(finding("access log", access_log(path, unit.as_ref())));
    }
    findings.extend(unit.iter().flat_map(|unit| service::examine(config, file, unit)));
    findings
}

/// Who is none of the nodes cannot serve them.
fn node(config: &Config) -> Option<Finding> {
    if config.nodes.is_empty() || config.node().is_some() {
        return None;
    }
    let names: Vec<_> = config.nodes.iter().map(|node| &*node.name).collect();
    let why = format!("this host is none of {}", names.join(", "));
    Some(finding("node", Err(problem(why))).or_fix("LB_NODE=NAME in /etc/default/lb, or --node NAME"))
}

fn is_virtual(config: &Config, address: SocketAddr) -> bool {
    config.vrrp.iter().flat_map(|router| &router.addresses).any(|virtual_| virtual_.addr() == address.ip())
}

/// Where layer 4 would take its packets, and why there.
fn layer4(config: &Config) -> Vec<Finding> {
    if !config.frontends.iter().any(|frontend| frontend.forward().is_some()) {
        return Vec::new();
    }
    let snapshot = Snapshot::build(Arc::new(config.clone()), String::new(), 1, None);
    let mut findings = match lb_l4::interfaces(&snapshot) {
        Ok(interfaces) => interfaces.into_iter().map(interface).collect(),
        Err(error) => vec![finding("layer 4", Err(problem(words(&error.into()))))],
    };
    findings.push(finding("layer 4: programs", lb_l4::trial(&snapshot).map_err(refused)));
    findings
}

/// Who may load no programs may yet ask about a machine on which lb will.
fn refused(error: lb_l4::Error) -> (Severity, String) {
    let severity = if error.is_for_want_of_capabilities() { Severity::Warning } else { Severity::Problem };
    (severity, words(&error.into()))
}

/// As they are read at a start.
fn secrets(config: &Config) -> Vec<Finding> {
    let tried = |what: String, tried: &str, read: io::Result<Vec<u8>>, path: &Path| {
        let why = |error| problem(format!("cannot read {tried}: {error}"));
        finding(what, read.map(|_| format!("{} can be read", path.display())).map_err(why))
    };
    let keys = config.vrrp.iter().flat_map(|router| router.auth.keys().iter().map(move |key| (&router.name, key)));
    let keys =
        keys.map(|(router, key)| tried(format!("virtual router {router}"), "the secret", key.read(), &key.secret.0));
    let sync = config.sync.secret.iter();
    let sync = sync.map(|secret| tried("sync".to_owned(), "`sync.secret_file`", secret.read(), &secret.0));
    keys.chain(sync).collect()
}

fn interface(found: Interface) -> Finding {
    let text = format!("by {}: {}", found.hook, found.why);
    let result = match found.warning {
        Some(doubt) => Err((Severity::Warning, format!("{text}; {doubt}"))),
        None => Ok(text),
    };
    finding(format!("interface {}", found.name), result)
}

fn pool_findings(pool: &Pool) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(tls) = &pool.tls {
        let loaded = tls_client::client_config(tls, &[]).map(|_| "certificates".to_owned());
        findings.push(finding(format!("pool {}", pool.name), loaded.map_err(problem)));
    }
    if let Some(Probe::Script(script)) = pool.check.as_ref().map(|c| &c.probe) {
        findings.extend(script.command.first().map(|p| finding(format!("pool {}", pool.name), executable(p))));
    }
    findings
}

fn descriptors() -> Result {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(problem)?;
    let room = format!("{hard} at most: room for about {} connections in flight", hard.saturating_sub(100) / 2);
    if hard < FEW_DESCRIPTORS { Err((Severity::Warning, room)) } else { Ok(room) }
}

fn listen(address: SocketAddr, running: bool) -> Result {
    match TcpListener::bind(address) {
        Ok(_) => Ok(format!("can listen on {address}")),
        Err(error) => match error.kind() {
            ErrorKind::AddrInUse if running => Ok(format!("{address} is in use, and an lb is running here")),
            ErrorKind::AddrInUse => Err(problem(format!("{address} is in use by another program"))),
            ErrorKind::PermissionDenied => Err(problem(format!(
                "{address}: a port below {} takes root or CAP_NET_BIND_SERVICE, which the systemd unit gives",
                unprivileged_from()
            ))),
            ErrorKind::AddrNotAvailable => Err((
                Severity::Warning,
                format!("{} is not an address of this machine; lb listens anyway", address.ip()),
            )),
            _ => Err(problem(format!("{address}: {error}"))),
        },
    }
}

fn unprivileged_from() -> String {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    text.map_or_else(|_| "1024".to_owned(), |t| t.trim().to_owned())
}

/// lb replaces what a dead process left behind, and nothing else.
fn socket(path: &Path) -> Result {
    match std::fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            Err(problem(format!("there is a file at {} that is no socket", path.display())))
        }
        _ => writable(path),
    }
}

fn access_log(path: &Path, unit: Option<&Unit>) -> Result {
    match unit.is_some_and(|unit| unit.makes_place_for(path)) {
        true => Ok(format!("{} is in a directory that lb.service makes", path.display())),
        false => in_a_directory(path).and_then(|()| writable(path)),
    }
}

/// lb makes the directory of its socket, and no other.
fn in_a_directory(path: &Path) -> std::result::Result<(), (Severity, String)> {
    match path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.exists()) {
        Some(missing) => Err(problem(format!("{}: there is no directory {}", path.display(), missing.display()))),
        None => Ok(()),
    }
}

/// The file, or where it is missing, the directory that it would be made in.
fn writable(path: &Path) -> Result {
    let first_there = path.ancestors().find(|p| p.exists()).filter(|p| !p.as_os_str().is_empty());
    let place = first_there.unwrap_or(Path::new("."));
    if place != path && !place.is_dir() {
        return Err(problem(format!("{} cannot be written: {} is no directory", path.display(), place.display())));
    }
    match access(place, AccessFlags::W_OK) {
        Ok(()) => Ok(format!("{} can be written", path.display())),
        Err(error) => {
            Err(problem(format!("{} cannot be written: {}: {}", path.display(), place.display(), error.desc())))
        }
    }
}

fn executable(program: &str) -> Result {
    // A name without a slash is looked for as the check itself will do it.
    let path = std::env::var_os("PATH").filter(|_| !program.contains('/')).unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|dir| dir.join(program)).find(|p| access(p, AccessFlags::X_OK).is_ok());
    match access(&found.unwrap_or_else(|| program.into()), AccessFlags::X_OK) {
        Ok(()) => Ok(format!("{program} can be run")),
        Err(error) => Err(problem(format!("{program} cannot be run: {}", error.desc()))),
    }
}
