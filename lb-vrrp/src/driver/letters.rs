//! What passes between the thread and the others.

use std::net::IpAddr;
use std::sync::Arc;

use nix::errno::Errno;

use super::board::Board;
use super::desired::Desired;
use crate::machine::{Notice, RoleChange};
use crate::packet::PacketError;
use crate::routers::RouterId;

/// To the thread.
#[derive(Debug)]
pub enum Command {
    /// All virtual routers that are to run from now on; those that are the same keep their id.
    Apply(Vec<Assigned>),
    /// Something that is tracked was looked at: a pool, a script.
    Observe {
        id: RouterId,
        index: usize,
        is_up: bool,
    },
    /// Whether this node may preempt.
    Ready(bool),
    Yield(RouterId),
    /// Hand over, take everything away, and end.
    Stop,
    /// The same without waiting for a successor.
    Abandon,
}

/// A virtual router and who it is.
#[derive(Debug)]
pub struct Assigned {
    pub id: RouterId,
    pub desired: Desired,
    pub board: Arc<Board>,
}

/// From the thread, for the log, for hooks and for those who wait. Copied without a look at the heap.
#[derive(Debug, Clone, Copy)]
pub enum Entry {
    RoleChanged {
        id: RouterId,
        change: RoleChange,
        priority: u8,
    },
    Notice {
        id: RouterId,
        notice: Notice,
    },
    /// The first of its kind in a while.
    Dropped {
        id: RouterId,
        from: IpAddr,
        error: PacketError,
    },
    Trouble {
        id: RouterId,
        doing: Doing,
        errno: Errno,
    },
    Stopped {
        id: RouterId,
    },
}

/// What did not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Doing {
    #[error("open the socket for adverts")]
    Open,
    #[error("send an advert")]
    Send,
    #[error("add the addresses")]
    Add,
    #[error("remove the addresses")]
    Remove,
    #[error("announce the addresses")]
    Announce,
    #[error("ask the kernel about the interface")]
    Look,
}
