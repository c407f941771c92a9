//! What others on this host do to the addresses of virtual routers, and how it is put right.

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::Hands;
use crate::driver::kernel::Kernel;
use crate::driver::letters::{Doing, Finding};
use crate::net::{Address, Link};
use crate::routers::RouterId;

impl<K: Kernel> Hands<K> {
    /// Once for all that happened in this turn. One that was told to be gone may be there again, and one that is being
    /// added is not missing yet.
    pub(super) fn look_for_missing(&mut self) {
        let mut suspects = std::mem::take(&mut self.robbed);
        suspects.sort_unstable();
        suspects.dedup();
        for id in suspects {
            if self.holding(id).is_some_and(|holding| holding.holds && holding.pending.changes()) {
                self.robbed.push(id);
            } else if self.misses_some(id) {
                self.findings.push(Finding::Robbed(id));
            }
        }
    }

    fn misses_some(&mut self, id: RouterId) -> bool {
        let Some(holding) = self.holdings.iter().find(|holding| holding.charge.id == id) else { return false };
        let Some(link) = holding.ground().filter(|_| holding.holds) else { return false };
        // What cannot be seen shows when they are put back.
        let Ok(there) = self.kernel.addresses(link.index) else { return true };
        let there: HashSet<IpAddr> = there.iter().map(|address| address.ip.addr()).collect();
        holding.charge.addresses.iter().any(|address| !there.contains(&address.addr()))
    }

    /// Of the IPv4 addresses of a network on an interface, the first is the primary one, which the host's own
    /// connections leave from. Where the host's own address comes back after virtual ones, these go behind it again.
    pub(super) fn go_behind_own(&mut self, index: u32) {
        let held = self.holdings.iter().filter(|holding| {
            holding.holds && holding.ground().is_some_and(|link| link.index == index) && holding.virtual_link.is_none()
        });
        let links: Vec<Link> = held.clone().filter_map(|holding| holding.ground().cloned()).collect();
        let held: Vec<(RouterId, IpNet)> =
            held.flat_map(|h| h.charge.addresses.iter().map(|address| (h.charge.id, *address))).collect();
        let Some(id) = held.first().map(|(id, _)| *id) else { return };
        let Ok(there) = self.kernel.addresses(index) else { return };
        let held: HashSet<IpNet> = held.into_iter().map(|(_, address)| address).collect();
        let ahead = ahead_of_own(&there, |address| address.ours && held.contains(&address.ip));
        // Else the host's own would go with them.
        let may_go = links.first().is_some_and(|link| self.kernel.keeps_secondaries(link));
        if !ahead.is_empty() && may_go {
            let moved = self.kernel.remove(index, &ahead).and_then(|()| self.kernel.add(index, &ahead));
            self.check(id, Doing::Add, moved);
        }
    }
}

/// Virtual addresses of networks in which one of them is the primary address, and one of the host is not.
fn ahead_of_own(there: &[Address], is_virtual: impl Fn(&Address) -> bool) -> Vec<IpNet> {
    let network = |address: &Address| address.ip.trunc();
    let own: HashSet<IpNet> = there.iter().filter(|address| address.secondary && !address.ours).map(network).collect();
    let first = there.iter().filter(|address| !address.secondary && is_virtual(address)).map(network);
    let networks: HashSet<IpNet> = first.filter(|network| own.contains(network)).collect();
    let ahead = there.iter().filter(|address| is_virtual(address) && networks.contains(&network(address)));
    ahead.map(|address| address.ip).collect()
}
