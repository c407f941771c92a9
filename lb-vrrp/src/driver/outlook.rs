//! The network as the head uses it: nothing here waits for anything.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;

use super::clock;
use super::kernel::Network;
use super::letters::{Door, Order};
use super::mailbox::Mailbox;
use super::waiter::{Wait, Waiter};
use crate::net::Socket;
use crate::packet::Mac;

/// What can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    Adverts(u32),
    Commands,
    Findings,
}

const COMMANDS: u64 = 1 << 32;
const FINDINGS: u64 = 2 << 32;

pub struct Outlook {
    waiter: Waiter,
    orders: Arc<Mailbox<Order>>,
}

impl Outlook {
    pub fn open<C, F>(commands: &Mailbox<C>, findings: &Mailbox<F>, orders: Arc<Mailbox<Order>>) -> io::Result<Self> {
        let waiter = Waiter::new()?;
        waiter.watch(commands, COMMANDS)?;
        waiter.watch(findings, FINDINGS)?;
        Ok(Self { waiter, orders })
    }

    /// Replaces `ready` by what can be read.
    pub fn wait(&mut self, wait: Wait, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        ready.extend(self.waiter.wait(wait)?.map(|token| match token {
            COMMANDS => Ready::Commands,
            FINDINGS => Ready::Findings,
            door => Ready::Adverts(door as u32),
        }));
        Ok(())
    }
}

impl Network for Outlook {
    type Socket = Arc<Socket>;

    fn send(&mut self, socket: &Arc<Socket>, payload: &[u8], source: IpAddr, to: IpAddr) -> Result<(), Errno> {
        let sent = socket.send(payload, source, to);
        sent.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or_default()))
    }

    fn send_disguised(&mut self, socket: &Arc<Socket>, payload: &[u8], source: IpAddr, from: Mac) -> Result<(), Errno> {
        let sent = socket.send_disguised(payload, source, from);
        sent.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or_default()))
    }

    fn watch(&mut self, door: &Door<Arc<Socket>>) -> Result<(), Errno> {
        let watched = self.waiter.watch(door, door.number.into());
        watched.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or_default()))
    }

    fn unwatch(&mut self, door: &Door<Arc<Socket>>) {
        self.waiter.forget(door);
    }

    fn order(&mut self, order: Order) {
        // There is room for more than can be asked for between two turns of the hands.
        let _ = self.orders.put(order);
    }

    fn utc(&self) -> Duration {
        clock::utc()
    }
}
