//! What passes between the threads.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use nix::errno::Errno;

use super::board::Board;
use super::desired::{Desired, Place};
use crate::machine::{Notice, RoleChange};
use crate::packet::PacketError;
use crate::priority::Effective;
use crate::routers::RouterId;

/// From the supervisor to the head.
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

/// From the head to the hands.
#[derive(Debug)]
pub enum Order {
    /// Look after the interface and the addresses of a virtual router, as they are to be from now on. Answered by
    /// [`Finding::Interface`], [`Finding::Seen`] and [`Finding::Looked`], in this order.
    Keep(Box<Charge>),
    /// Put all addresses on the interface.
    Hold(RouterId),
    /// Take all of them away.
    LetGo(RouterId),
    /// So many frames for each address, once all of them are there.
    Announce {
        id: RouterId,
        repeat: u8,
    },
    /// Answered by [`Finding::Released`] when nothing is left.
    Release(RouterId),
    End,
}

/// Of a virtual router, what concerns the hands.
#[derive(Debug, Clone)]
pub struct Charge {
    pub id: RouterId,
    pub place: Place,
    pub accept: bool,
    /// What adverts are to be sent from; `None`: what the interface has.
    pub source: Option<IpAddr>,
    pub addresses: Vec<IpNet>,
    /// Frames for each address after a reload.
    pub repeat: u8,
    /// Between two frames.
    pub spacing: Duration,
    /// Interfaces whose state is to be told.
    pub tracked: Vec<String>,
    pub board: Arc<Board>,
}

/// From the hands to the head. `S` is a socket for adverts.
#[derive(Debug)]
pub enum Finding<S> {
    Interface {
        name: String,
        up: bool,
    },
    Seen {
        id: RouterId,
        view: View<S>,
    },
    /// For the first time, and what a dead process had left (`leftovers`) is removed.
    Looked {
        id: RouterId,
        leftovers: bool,
    },
    /// Somebody took an address away.
    Robbed(RouterId),
    /// Another host announces one of the addresses.
    Contested(RouterId),
    Released(RouterId),
}

/// The network as one virtual router sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View<S> {
    /// The interface of the addresses.
    pub up: bool,
    /// What adverts are sent from.
    pub source: Option<IpAddr>,
    pub door: Option<Door<S>>,
    /// From the virtual MAC, while this node is active.
    pub virtual_door: Option<Door<S>>,
}

/// A socket for adverts; several virtual routers may share one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door<S> {
    /// Never used twice.
    pub number: u32,
    pub socket: S,
}

/// For the log, for hooks and for those who wait. Copied without a look at the heap.
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
    /// Something that is tracked went up or down, and that has an effect.
    Tracked {
        id: RouterId,
        index: usize,
        is_up: bool,
        effect: Effective,
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
    #[error("open the sockets for adverts and announcements")]
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
    #[error("use the interface with the virtual MAC address")]
    VirtualMac,
    #[error("filter what is sent to the addresses (accept: false)")]
    Filter,
}

impl<S> Default for View<S> {
    fn default() -> Self {
        Self { up: false, source: None, door: None, virtual_door: None }
    }
}

impl<S> View<S> {
    pub fn doors(&self) -> impl Iterator<Item = &Door<S>> {
        self.door.iter().chain(&self.virtual_door)
    }
}
