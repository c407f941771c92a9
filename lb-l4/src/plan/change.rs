//! The writes of a change.

use crate::abi::{Addr, Dest, Frontend, VipKey};
use crate::desired::SnatPorts;

/// What is to be written, in this order.
#[derive(Debug, Default)]
pub struct Change {
    pub operations: Vec<Operation>,
    /// Some ring found no room, for the old ones rest: the same change is due again after the grace.
    pub deferred: bool,
}

impl Change {
    pub(super) fn push(&mut self, operation: Operation) {
        self.operations.push(operation);
    }
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// `base` is even: the array has two entries to an element.
    WriteRing {
        base: u32,
        entries: Vec<u32>,
    },
    WriteSnat {
        index: u32,
        address: Addr,
    },
    WriteDest {
        index: u32,
        dest: Dest,
    },
    /// Everything but `ring`.
    WriteFrontend {
        index: u32,
        frontend: Frontend,
    },
    SetRing {
        index: u32,
        ring: u64,
    },
    InsertVip {
        key: VipKey,
        index: u32,
    },
    RemoveVip {
        key: VipKey,
    },
    WriteVipBits(Box<VipBits>),
    WriteLimits {
        ports: SnatPorts,
        new_flows: u32,
    },
    /// Nothing is left of what stood there before: no load, no statistics.
    ClearDest {
        index: u32,
    },
}

pub type VipBits = [u64; 64];
