//! One request's choice in one pool: primaries before backups, fresh backends before tried ones, and none
//! beyond its `max_connections`.

use std::sync::Arc;

use super::{Cursor, Key, Table};
use crate::pool::{Backend, Pool};

/// One worker's own position in one pool.
#[derive(Debug, Clone, Default)]
pub struct PoolCursor {
    primary: Cursor,
    backup: Cursor,
}

#[derive(Debug)]
pub enum Choice<'p> {
    /// A slot of this backend is taken; [`Backend::release_slot`] gives it back.
    Backend {
        /// Its place in the pool: primaries first, then backups; see [`Pool::backend`].
        index: usize,
        backend: &'p Arc<Backend>,
    },
    /// There are available backends, and all are at their `max_connections`: wait for a slot.
    Full,
    /// No backend takes requests.
    NoneAvailable,
}

impl PoolCursor {
    pub fn for_worker(worker: usize) -> Self {
        Self { primary: Cursor::for_worker(worker), backup: Cursor::for_worker(worker) }
    }
}

/// Chooses, and takes the slot. `tried` are the places in the pool that this request has failed at; they
/// come last, even after backups.
pub fn choose<'p>(pool: &'p Pool, cursor: &mut PoolCursor, key: Key, tried: &[usize]) -> Choice<'p> {
    select(pool, cursor, key, tried, Backend::try_take_slot)
}

/// What [`choose`] would say; takes no slot and moves no cursor.
pub fn preview<'p>(pool: &'p Pool, cursor: &PoolCursor, key: Key, tried: &[usize]) -> Choice<'p> {
    select(pool, &mut cursor.clone(), key, tried, Backend::has_free_slot)
}

fn select<'p>(
    pool: &'p Pool,
    cursor: &mut PoolCursor,
    key: Key,
    tried: &[usize],
    take: fn(&Backend) -> bool,
) -> Choice<'p> {
    let primary = Group { table: &pool.table, backends: &pool.backends, first: 0 };
    let backup = Group { table: &pool.backup_table, backends: &pool.backup, first: pool.backends.len() };
    primary
        .choose(&mut cursor.primary, key, tried, take)
        .or_else(|| backup.choose(&mut cursor.backup, key, tried, take))
        .or_else(|| if tried.is_empty() { None } else { Some(select(pool, cursor, key, &[], take)) })
        .unwrap_or(Choice::NoneAvailable)
}

/// The primaries or the backups of a pool.
struct Group<'p> {
    table: &'p Table,
    backends: &'p [Arc<Backend>],
    /// Place in the pool of the first one.
    first: usize,
}

/// Another worker may take the last slot between the look and the taking; then it is chosen again.
const ATTEMPTS: usize = 4;

impl<'p> Group<'p> {
    /// `None` when none of the group is available.
    fn choose(&self, cursor: &mut Cursor, key: Key, tried: &[usize], take: fn(&Backend) -> bool) -> Option<Choice<'p>> {
        let candidate = |i: usize, b: &Backend| b.is_available() && !tried.contains(&(self.first + i));
        for _ in 0..ATTEMPTS {
            let usable = |i: usize, b: &Backend| candidate(i, b) && b.has_free_slot();
            let Some(i) = self.table.pick(self.backends, cursor, key, usable) else { break };
            if take(&self.backends[i]) {
                return Some(Choice::Backend { index: self.first + i, backend: &self.backends[i] });
            }
        }
        self.backends.iter().enumerate().any(|(i, b)| candidate(i, b)).then_some(Choice::Full)
    }
}
