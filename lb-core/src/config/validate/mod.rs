//! From what a person wrote to what the program may trust: names resolved, rules between keys checked,
//! defaults filled in.
//!
//! Each function returns `None` after it has noted a problem, and goes on as far as it can before.

mod addresses;
mod check;
mod forward;
mod frontend;
mod node;
mod pool;
mod pool_use;
mod route;
mod track;
mod vrrp;
mod vrrp_among;
mod vrrp_auth;

use std::collections::HashMap;
use std::sync::Arc;

use super::Identity;
use super::decode::{At, Entry, OneOrMore};
use super::diagnostic::{Complaint, Help, Problems, Span, nearest, quoted};
use super::forms;
use super::model::{self, Config};
use super::raw;
use pool_use::PoolUse;
use vrrp::Known;

pub(super) fn config(root: &raw::Root, identity: &Identity, problems: &mut Problems) -> Option<Config> {
    let pools_known = !matches!(root.pools, Entry::Bad);
    let flow_timeouts = forward::shared_timeouts(root);
    let mut validator = Validator { problems, pools: HashMap::new(), pools_known, flow_timeouts };
    validator.learn_pools(root);
    let frontends = validator.frontends(root);
    let pools = validator.pools(root);
    let l4 = validator.l4(root);
    let nodes = validator.nodes(root);
    let this_node = nodes.as_ref().and_then(|nodes| validator.this_node(root, nodes, identity));
    // After the pools: who only tracks one makes no demands on it.
    let vrrp = validator.vrrp(root, Known { nodes: nodes.as_deref(), pools: pools.as_deref() });
    let sync = validator.sync(root);
    let this = nodes.as_ref().zip(this_node.flatten()).and_then(|(nodes, this)| nodes.get(this));
    let metrics = validator.metrics(root, this);
    let admin = validator.admin(&root.admin);
    validator.unused_pools();
    Some(Config {
        workers: root.workers.value().copied(),
        frontends: frontends?,
        pools: pools?,
        l4: l4?,
        nodes: nodes?,
        this_node: this_node?,
        vrrp: vrrp?,
        sync: sync?,
        reload: reload(&root.reload),
        metrics: metrics?,
        admin: admin?,
        log: log(&root.log),
    })
}

struct Validator<'r, 'p> {
    problems: &'p mut Problems,
    pools: HashMap<&'r str, PoolUse<'r>>,
    /// `false`: `pools` could not be read, so that no name can be called unknown.
    pools_known: bool,
    /// Of layer 4, where a frontend has none of its own.
    flow_timeouts: model::FlowTimeouts,
}

impl<'r> Validator<'r, '_> {
    fn learn_pools(&mut self, root: &'r raw::Root) {
        let Some(pools) = root.pools.value() else { return };
        for (name, _) in &pools.0 {
            self.pools.insert(&name.value, PoolUse::unused(name.span));
        }
    }

    fn frontends(&mut self, root: &'r raw::Root) -> Option<Vec<Arc<model::Frontend>>> {
        let named = match &root.frontends {
            Entry::Bad => return None,
            Entry::Given(at) if !at.value.0.is_empty() => at,
            Entry::Given(at) => return self.refuse(at.key, "there are no frontends"),
            Entry::Absent => return self.refuse(Span::default(), "there are no `frontends`"),
        };
        let frontends: Vec<_> = named.value.0.iter().map(|(name, raw)| self.frontend(name, raw.as_ref()?)).collect();
        self.shared_addresses(root);
        frontends.into_iter().collect()
    }

    fn pools(&mut self, root: &raw::Root) -> Option<Vec<Arc<model::Pool>>> {
        match &root.pools {
            Entry::Absent => Some(Vec::new()),
            Entry::Bad => None,
            Entry::Given(at) => {
                let pools: Vec<_> = at.value.0.iter().map(|(name, raw)| self.pool(name, raw.as_ref()?)).collect();
                pools.into_iter().collect()
            }
        }
    }

    fn unused_pools(&mut self) {
        // What could not be read may be what uses them.
        if self.problems.has_errors() {
            return;
        }
        for (name, pool) in self.pools.iter().filter(|(_, pool)| !pool.is_used) {
            self.problems.warning(pool.defined, format!("pool `{name}` is not used"), None);
        }
    }

    /// As [`Self::pool_name`], for requests.
    fn http_pool(&mut self, name: &At<String>) -> Option<Arc<str>> {
        let found = self.pool_name(name)?;
        if let Some(pool) = self.pools.get_mut(name.value.as_str()) {
            pool.by_http = true;
        }
        Some(found)
    }

    /// A pool's name, if there is such a pool.
    fn pool_name(&mut self, name: &At<String>) -> Option<Arc<str>> {
        if let Some(pool) = self.pools.get_mut(name.value.as_str()) {
            pool.is_used = true;
            return Some(Arc::from(name.value.as_str()));
        }
        if !self.pools_known {
            return None;
        }
        let near = nearest(&name.value, self.pools.keys().copied());
        let help = near.and_then(|near| self.pools.get_mut(near).map(|pool| (near, pool))).map(|(near, pool)| {
            // It is meant here, so it does not count as unused.
            pool.is_used = true;
            Help::Near { name: near.to_owned(), defined: Some(pool.defined) }
        });
        self.problems.error_with(name.span, format!("unknown pool {}", quoted(&name.value)), help);
        None
    }

    fn admin(&mut self, entry: &Entry<raw::Admin>) -> Option<model::Admin> {
        let admin = entry.value().cloned().unwrap_or_default();
        let socket = admin.socket();
        // sun_path of unix(7) holds 108 bytes with the closing NUL.
        if socket.as_os_str().len() > 107 {
            return self.refuse(admin.socket.given()?.span, "the path of a socket has at most 107 bytes");
        }
        Some(model::Admin { socket })
    }

    fn refuse<T>(&mut self, span: Span, message: impl Into<String>) -> Option<T> {
        self.problems.error(span, message);
        None
    }

    /// The value of a key that must be there; `owner` is what it belongs to.
    fn required<'e, T>(&mut self, entry: &'e Entry<T>, owner: Span, what: &str, key: &str) -> Option<&'e At<T>> {
        if entry.is_absent() {
            self.problems.error(owner, format!("{what} needs `{key}`"));
        }
        entry.given()
    }

    /// A program and its arguments.
    fn command(&mut self, at: &At<OneOrMore<String>>, what: &str) -> Option<Vec<String>> {
        let list = &at.value.0;
        if list.items.first().is_none_or(|program| program.value.is_empty()) {
            return self.refuse(at.key, format!("{what} needs a program"));
        }
        if let Some(item) = list.items.iter().find(|item| item.value.contains('\0')) {
            return self.refuse(item.span, "a program's arguments hold no NUL");
        }
        Some(list.items.iter().map(|item| item.value.clone()).collect())
    }

    fn interface_name(&mut self, at: &At<String>) -> Option<String> {
        match is_interface_name(&at.value) {
            true => Some(at.value.clone()),
            false => self.refuse(at.span, format!("{} is no name of a network interface", quoted(&at.value))),
        }
    }

    /// Names become metric labels and words of the command line.
    fn name(&mut self, name: &At<String>, also: &str) -> Option<Arc<str>> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c) || also.contains(c);
        if name.value.is_empty() || name.value.len() > 128 || !name.value.chars().all(allowed) {
            self.problems.complaint(name.span, bad_name(&name.value, also));
            return None;
        }
        Some(Arc::from(name.value.as_str()))
    }
}

fn bad_name(name: &str, also: &str) -> Complaint {
    let also: String = also.chars().map(|c| format!(" `{c}`")).collect();
    Complaint::new(format!("{} cannot be a name", quoted(name)))
        .help(format!("up to 128 letters, digits, `.` `_` `-`{also}"))
}

/// As the kernel's dev_valid_name has it; 15 bytes are IFNAMSIZ without the closing NUL.
fn is_interface_name(name: &str) -> bool {
    let allowed = |c: char| !c.is_whitespace() && !c.is_control() && c != '/' && c != ':';
    (1..=15).contains(&name.len()) && name != "." && name != ".." && name.chars().all(allowed)
}

fn reload(entry: &Entry<raw::Reload>) -> model::Reload {
    let reload = entry.value().cloned().unwrap_or_default();
    model::Reload { drain_timeout: reload.drain_timeout(), watch: reload.watch() }
}

fn log(entry: &Entry<raw::Log>) -> model::Log {
    let log = entry.value().cloned().unwrap_or_default();
    let access = log.access.value().and_then(|access| access_log(&access.0));
    model::Log { level: log.level(), format: log.format(), access }
}

fn access_log(keys: &raw::AccessKeys) -> Option<model::AccessLog> {
    let path = match keys.path.value()? {
        forms::AccessPath::None => return None,
        forms::AccessPath::Stdout => None,
        forms::AccessPath::File(path) => Some(path.clone()),
    };
    Some(model::AccessLog { path, format: keys.format() })
}

/// All or nothing.
fn collect<T>(items: Vec<Option<T>>) -> Option<Vec<T>> {
    items.into_iter().collect()
}
