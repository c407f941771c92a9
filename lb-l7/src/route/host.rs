//! Finds the routes that a host may take without looking at those of other hosts.

use hashbrown::HashTable;
use lb_core::config::HostPattern;

/// A `Host` value without port and trailing dot. Case is left as it is.
pub fn bare_host(host: &[u8]) -> &[u8] {
    let end = match host {
        [b'[', ..] => memchr::memchr(b']', host).map_or(host.len(), |bracket| bracket + 1),
        _ => memchr::memchr(b':', host).unwrap_or(host.len()),
    };
    host[..end].strip_suffix(b".").unwrap_or(&host[..end])
}

/// Route numbers by host pattern, each list in ascending order.
#[derive(Debug, Default)]
pub(super) struct HostIndex {
    exact: HashTable<HostRoutes>,
    suffixes: HashTable<HostRoutes>,
    /// Of routes that take any host.
    any: Vec<usize>,
}

#[derive(Debug)]
struct HostRoutes {
    hash: u64,
    name: Box<[u8]>,
    routes: Vec<usize>,
}

impl HostIndex {
    pub(super) fn new<'a>(hosts: impl Iterator<Item = Option<&'a HostPattern>>) -> Self {
        let mut index = HostIndex::default();
        for (route, host) in hosts.enumerate() {
            match host {
                Some(HostPattern::Exact(name)) => insert(&mut index.exact, name, route),
                Some(HostPattern::Suffix(suffix)) => insert(&mut index.suffixes, suffix, route),
                None => index.any.push(route),
            }
        }
        index
    }

    /// Visits the lists of the wildcards that `host` falls under, of the host itself, and of any host.
    pub(super) fn for_each_list(&self, host: &[u8], mut visit: impl FnMut(&[usize])) {
        if !self.exact.is_empty() || !self.suffixes.is_empty() {
            self.for_each_named(host, &mut visit);
        }
        if !self.any.is_empty() {
            visit(&self.any);
        }
    }

    /// Hashes from the right, so that each suffix on the way costs one step, however many labels a client sends.
    fn for_each_named(&self, host: &[u8], visit: &mut impl FnMut(&[usize])) {
        let mut hash = Hash::default();
        for (at, byte) in host.iter().enumerate().rev() {
            hash.add(*byte);
            if *byte == b'.' && at > 0 {
                get(&self.suffixes, hash, &host[at..]).into_iter().for_each(&mut *visit);
            }
        }
        get(&self.exact, hash, host).into_iter().for_each(visit);
    }
}

fn insert(table: &mut HashTable<HostRoutes>, name: &str, route: usize) {
    let hash = Hash::of(name.as_bytes()).0;
    let same = |known: &HostRoutes| known.name.eq_ignore_ascii_case(name.as_bytes());
    table
        .entry(hash, same, |known| known.hash)
        .or_insert_with(|| HostRoutes { hash, name: name.as_bytes().into(), routes: Vec::new() })
        .get_mut()
        .routes
        .push(route);
}

fn get<'a>(table: &'a HashTable<HostRoutes>, hash: Hash, name: &[u8]) -> Option<&'a [usize]> {
    let found = table.find(hash.0, |known| known.name.eq_ignore_ascii_case(name))?;
    Some(&found.routes)
}

/// FNV-1a over a name in lower case, from its last byte to its first. It needs no secret: only names of the
/// configuration stand in the tables, so a client cannot make chains grow.
#[derive(Clone, Copy)]
struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Hash(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    fn of(name: &[u8]) -> Self {
        let mut hash = Hash::default();
        name.iter().rev().for_each(|byte| hash.add(*byte));
        hash
    }

    fn add(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3);
    }
}
