//! How much the maps hold, and whether a configuration fits.

use std::collections::HashSet;

use super::Layout;
use super::vips::targets;
use crate::abi::Addr;
use crate::desired::{Desired, DesiredFrontend};

/// How much the maps hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capacity {
    pub frontends: u32,
    pub dests: u32,
    /// Entries, two to an element.
    pub ring_entries: u32,
    pub vips: u32,
    pub snat: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    #[error("{wanted} layer-4 frontends, and the maps hold {most}")]
    Frontends { wanted: u32, most: u32 },
    #[error("{wanted} backends of layer-4 frontends, and the maps hold {most}")]
    Dests { wanted: u32, most: u32 },
    #[error("the rings of the schedulers take {wanted} entries, and the maps hold {most}")]
    Rings { wanted: u32, most: u32 },
    #[error("{wanted} addresses and ports of layer-4 frontends, and the maps hold {most}")]
    Vips { wanted: u32, most: u32 },
    #[error("{wanted} addresses for `snat`, and the maps hold {most}")]
    Snat { wanted: u32, most: u32 },
}

impl Layout {
    /// Does it fit, whatever the health of the backends will be?
    pub fn check(&self, desired: &Desired) -> Result<(), TooMuch> {
        let (needed, most) = (entries_needed(desired), self.capacity);
        match () {
            () if needed.frontends > most.frontends => {
                Err(TooMuch::Frontends { wanted: needed.frontends, most: most.frontends })
            }
            () if needed.dests > most.dests => Err(TooMuch::Dests { wanted: needed.dests, most: most.dests }),
            () if needed.ring_entries > most.ring_entries => {
                Err(TooMuch::Rings { wanted: needed.ring_entries, most: most.ring_entries })
            }
            () if needed.vips > most.vips => Err(TooMuch::Vips { wanted: needed.vips, most: most.vips }),
            () if needed.snat > most.snat => Err(TooMuch::Snat { wanted: needed.snat, most: most.snat }),
            () => Ok(()),
        }
    }
}

/// What a configuration takes, whatever the health of its backends will be.
pub fn entries_needed(desired: &Desired) -> Capacity {
    let sum = |count: fn(&DesiredFrontend) -> usize| desired.frontends.iter().map(count).sum::<usize>() as u32;
    let snat: HashSet<&Vec<Addr>> = desired.frontends.iter().map(|f| &f.snat).collect();
    Capacity {
        frontends: desired.frontends.len() as u32,
        dests: sum(|f| f.dests.len()),
        // A new ring is written beside the old one; each begins at an even entry.
        ring_entries: 2 * sum(|f| f.ring.entries.len().max(f.dests.len()) + 1),
        vips: targets(desired).map(|(key, _)| key).collect::<HashSet<_>>().len() as u32,
        snat: snat.iter().map(|list| list.len()).sum::<usize>() as u32,
    }
}
