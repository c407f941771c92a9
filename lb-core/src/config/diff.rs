//! What a reload would change.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_yaml::{Mapping, Value};

use super::model::{AdminState, Backend, Config, Frontend, Pool, VirtualRouter};
use super::show;

/// Keys that a running process keeps until it is started anew.
const NEED_RESTART: [&str; 1] = ["workers"];
/// Longer values are shown in part.
const WIDEST_VALUE: usize = 60;

/// Everything that differs between two configurations, in the order of the new file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ConfigDiff {
    pub virtual_routers: Vec<VirtualRouterChange>,
    pub frontends: Vec<FrontendChange>,
    pub pools: Vec<PoolChange>,
    pub backends: Vec<BackendChange>,
    /// Keys that belong to none of them.
    pub globals: Vec<GlobalChange>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VirtualRouterChange {
    pub name: Arc<str>,
    pub change: Change,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FrontendChange {
    pub name: Arc<str>,
    pub change: Change,
}

/// Its backends are told apart, in [`ConfigDiff::backends`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PoolChange {
    pub name: Arc<str>,
    pub change: Change,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Added,
    Removed,
    Changed(Vec<KeyChange>),
}

/// Of a pool that is there before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackendChange {
    pub pool: Arc<str>,
    pub name: Arc<str>,
    pub change: BackendEdit,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendEdit {
    Added,
    Removed,
    /// Only its weight.
    Reweighted {
        old: u16,
        new: u16,
    },
    /// Only its state: drained, taken into maintenance, or made ready.
    Commanded {
        old: AdminState,
        new: AdminState,
    },
    Changed(Vec<KeyChange>),
}

/// A key below its frontend, pool or backend, with the values as they would be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyChange {
    pub key: String,
    /// `None`: not there.
    pub old: Option<String>,
    pub new: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GlobalChange {
    #[serde(flatten)]
    pub key: KeyChange,
    /// A reload does not bring it about.
    pub needs_restart: bool,
}

/// What a reload from `old` to `new` changes.
pub fn diff(old: &Config, new: &Config) -> ConfigDiff {
    let pools = by_name(&old.pools, &new.pools, |pool| &pool.name);
    ConfigDiff {
        virtual_routers: virtual_routers(old, new),
        frontends: frontends(old, new),
        pools: pools.iter().filter_map(|(name, pair)| pool(name, pair)).collect(),
        backends: pools.iter().flat_map(|(name, pair)| backends(name, pair)).collect(),
        globals: globals(old, new),
    }
}

impl ConfigDiff {
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lines of its [`fmt::Display`].
    pub fn len(&self) -> usize {
        let named = self.virtual_routers.len() + self.frontends.len() + self.pools.len();
        named + self.backends.len() + self.globals.len()
    }

    pub fn needs_restart(&self) -> bool {
        self.globals.iter().any(|change| change.needs_restart)
    }
}

/// One thing before and after.
enum Pair<'a, T> {
    Added,
    Removed,
    Both(&'a T, &'a T),
}

/// In the order of `new`; what was removed stands at the end, in the order of `old`.
fn by_name<'a, T>(
    old: &'a [Arc<T>],
    new: &'a [Arc<T>],
    name: impl Fn(&T) -> &Arc<str>,
) -> Vec<(Arc<str>, Pair<'a, T>)> {
    let mut before: HashMap<&str, &T> = old.iter().map(|item| (name(item).as_ref(), item.as_ref())).collect();
    let mut pairs: Vec<_> = new
        .iter()
        .map(|item| match before.remove(name(item).as_ref()) {
            Some(old) => (name(item).clone(), Pair::Both(old, item.as_ref())),
            None => (name(item).clone(), Pair::Added),
        })
        .collect();
    let removed = old.iter().filter(|item| before.contains_key(name(item).as_ref()));
    pairs.extend(removed.map(|item| (name(item).clone(), Pair::Removed)));
    pairs
}

fn virtual_routers(old: &Config, new: &Config) -> Vec<VirtualRouterChange> {
    by_name(&old.vrrp, &new.vrrp, |router: &VirtualRouter| &router.name)
        .into_iter()
        .filter_map(|(name, pair)| Some(VirtualRouterChange { name, change: change(&pair, show::virtual_router)? }))
        .collect()
}

fn frontends(old: &Config, new: &Config) -> Vec<FrontendChange> {
    by_name(&old.frontends, &new.frontends, |frontend: &Frontend| &frontend.name)
        .into_iter()
        .filter_map(|(name, pair)| Some(FrontendChange { name, change: change(&pair, show::frontend)? }))
        .collect()
}

fn change<T: PartialEq>(pair: &Pair<'_, T>, shown: fn(&T) -> Mapping) -> Option<Change> {
    match pair {
        Pair::Added => Some(Change::Added),
        Pair::Removed => Some(Change::Removed),
        Pair::Both(old, new) if old == new => None,
        Pair::Both(old, new) => Some(Change::Changed(keys(&shown(old), &shown(new)))),
    }
}

fn pool(name: &Arc<str>, pair: &Pair<'_, Pool>) -> Option<PoolChange> {
    let change = match pair {
        Pair::Added => Change::Added,
        Pair::Removed => Change::Removed,
        Pair::Both(old, new) if old == new => return None,
        Pair::Both(old, new) => {
            let changes = keys(&show::pool_settings(old, false), &show::pool_settings(new, false));
            if changes.is_empty() {
                return None;
            }
            Change::Changed(changes)
        }
    };
    Some(PoolChange { name: name.clone(), change })
}

/// A backend and whether it is a backup.
type Place<'a> = (&'a Backend, bool);

fn backends(pool: &Arc<str>, pair: &Pair<'_, Pool>) -> Vec<BackendChange> {
    let Pair::Both(old, new) = pair else { return Vec::new() };
    let mut before: HashMap<&str, Place<'_>> = places(old).map(|place| (place.0.name.as_ref(), place)).collect();
    let edit = |backend: &Backend, change| BackendChange { pool: pool.clone(), name: backend.name.clone(), change };
    let mut changes = Vec::new();
    for place in places(new) {
        let change = match before.remove(place.0.name.as_ref()) {
            None => Some(BackendEdit::Added),
            Some(old) => backend(old, place),
        };
        changes.extend(change.map(|change| edit(place.0, change)));
    }
    let removed = places(old).filter(|(backend, _)| before.contains_key(backend.name.as_ref()));
    changes.extend(removed.map(|(backend, _)| edit(backend, BackendEdit::Removed)));
    changes
}

fn places(pool: &Pool) -> impl Iterator<Item = Place<'_>> {
    let backends = pool.backends.iter().map(|backend| (backend.as_ref(), false));
    backends.chain(pool.backup.iter().map(|backend| (backend.as_ref(), true)))
}

fn backend((old, was_backup): Place<'_>, (new, is_backup): Place<'_>) -> Option<BackendEdit> {
    if old == new && was_backup == is_backup {
        return None;
    }
    if was_backup == is_backup {
        // The two edits that come by the thousand are told without writing both backends out.
        if *new == (Backend { weight: new.weight, ..old.clone() }) {
            return Some(BackendEdit::Reweighted { old: old.weight, new: new.weight });
        }
        if *new == (Backend { state: new.state, ..old.clone() }) {
            return Some(BackendEdit::Commanded { old: old.state, new: new.state });
        }
    }
    let mut changes = keys(&show::backend(old), &show::backend(new));
    if was_backup != is_backup {
        let list = |backup| Some(if backup { "backup" } else { "backends" }.to_owned());
        changes.push(KeyChange { key: "list".to_owned(), old: list(was_backup), new: list(is_backup) });
    }
    Some(BackendEdit::Changed(changes))
}

fn globals(old: &Config, new: &Config) -> Vec<GlobalChange> {
    keys(&show::globals(old), &show::globals(new))
        .into_iter()
        .map(|key| GlobalChange { needs_restart: needs_restart(&key.key), key })
        .collect()
}

fn needs_restart(key: &str) -> bool {
    NEED_RESTART.contains(&key)
}

fn keys(old: &Mapping, new: &Mapping) -> Vec<KeyChange> {
    let mut changes = Vec::new();
    mapping("", old, new, &mut changes);
    changes
}

fn mapping(path: &str, old: &Mapping, new: &Mapping, changes: &mut Vec<KeyChange>) {
    let removed = old.iter().filter(|(key, _)| !new.contains_key(*key)).map(|(key, value)| (key, Some(value), None));
    let others = new.iter().map(|(key, value)| (key, old.get(key), Some(value)));
    for (key, old, new) in removed.chain(others).filter(|(_, old, new)| old != new) {
        let key = key.as_str().unwrap_or_default();
        let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        value(path, old, new, changes);
    }
}

fn value(path: String, old: Option<&Value>, new: Option<&Value>, changes: &mut Vec<KeyChange>) {
    match (old, new) {
        (Some(Value::Mapping(old)), Some(Value::Mapping(new))) => mapping(&path, old, new, changes),
        (Some(Value::Sequence(old)), Some(Value::Sequence(new))) if old.len() == new.len() => {
            let differing = old.iter().zip(new).enumerate().filter(|(_, (old, new))| old != new);
            // Counted from 1, as a person counts the lines of a list.
            differing.for_each(|(n, (old, new))| value(format!("{path}[{}]", n + 1), Some(old), Some(new), changes));
        }
        _ => changes.push(KeyChange { key: path, old: old.map(written), new: new.map(written) }),
    }
}

fn written(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Sequence(items) => format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(", ")),
        Value::Mapping(mapping) => {
            let entries: Vec<_> =
                mapping.iter().map(|(key, value)| format!("{}: {}", written(key), written(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    };
    let line: String = text.escape_debug().take(WIDEST_VALUE).collect();
    if line.chars().count() < WIDEST_VALUE { line } else { line + "..." }
}

impl fmt::Display for ConfigDiff {
    /// One line for each change, with `+`, `-` or `~`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for VirtualRouterChange { name, change } in &self.virtual_routers {
            change.write(f, "virtual router", name)?;
        }
        for FrontendChange { name, change } in &self.frontends {
            change.write(f, "frontend", name)?;
        }
        for PoolChange { name, change } in &self.pools {
            change.write(f, "pool", name)?;
        }
        self.backends.iter().try_for_each(|change| writeln!(f, "{change}"))?;
        self.globals.iter().try_for_each(|change| writeln!(f, "{change}"))
    }
}

impl Change {
    fn write(&self, f: &mut fmt::Formatter<'_>, what: &str, name: &str) -> fmt::Result {
        match self {
            Change::Added => writeln!(f, "+ {what} {name}"),
            Change::Removed => writeln!(f, "- {what} {name}"),
            Change::Changed(keys) => writeln!(f, "~ {what} {name}: {}", join(keys)),
        }
    }
}

impl fmt::Display for BackendChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, name, change } = self;
        match change {
            BackendEdit::Added => write!(f, "+ backend {pool}/{name}"),
            BackendEdit::Removed => write!(f, "- backend {pool}/{name}"),
            BackendEdit::Reweighted { old, new } => write!(f, "~ backend {pool}/{name}: weight {old} -> {new}"),
            BackendEdit::Commanded { old, new } => {
                write!(f, "~ backend {pool}/{name}: state {} -> {}", state(*old), state(*new))
            }
            BackendEdit::Changed(keys) => write!(f, "~ backend {pool}/{name}: {}", join(keys)),
        }
    }
}

fn state(state: AdminState) -> String {
    super::decode::Scalar::written(&state)
}

impl fmt::Display for GlobalChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "~ {}", self.key)?;
        if self.needs_restart { f.write_str(" (takes a restart; a reload refuses the file)") } else { Ok(()) }
    }
}

impl fmt::Display for KeyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.as_deref().unwrap_or("(absent)").to_owned();
        write!(f, "{} {} -> {}", self.key, shown(&self.old), shown(&self.new))
    }
}

fn join(keys: &[KeyChange]) -> String {
    keys.iter().map(KeyChange::to_string).collect::<Vec<_>>().join(", ")
}
