//! Where a packet goes next. Looked up when the tick or the epoch has changed; else as it was.

use lb_l4::abi::{Counter, FlowKey, Hop, flow_flag, mode};

use super::{Entry, Hook, HopState, Model, Route};

/// How long a path MTU is believed (RFC 1191, section 6.3: ten minutes).
const PATH_MTU_SECONDS: u32 = 600;

impl Model {
    /// The reason where there is none; `PassedUp` leaves it to the kernel.
    pub(super) fn hop(&mut self, ingress: u32, key: Option<&FlowKey>, entry: &Entry) -> Result<Hop, Counter> {
        match key {
            Some(key) if entry.flags & flow_flag::REPLY != 0 => self.reply_hop(ingress, key, entry),
            _ => self.dest_hop(ingress, entry.dest),
        }
    }

    fn reply_hop(&mut self, ingress: u32, key: &FlowKey, entry: &Entry) -> Result<Hop, Counter> {
        let route = (self.config.route)(entry.new_dst);
        let found = self.resolve(ingress, route, entry.hop, mode::NAT);
        if let Some(entry) = self.state.flows.get_mut(key) {
            entry.hop = found.ok();
        }
        found
    }

    fn dest_hop(&mut self, ingress: u32, index: u32) -> Result<Hop, Counter> {
        let dest = self.config.dests[index as usize];
        let known = self.state.hops[index as usize];
        let is_fresh = known.checked == self.tick() && known.epoch == self.config.settings.epoch;
        let hop = match known.hop {
            Some(hop) if is_fresh => hop,
            _ => {
                let route = (self.config.route)(dest.addr);
                let found = self.resolve(ingress, route, known.hop, dest.mode);
                let (checked, epoch) = (self.tick(), self.config.settings.epoch);
                self.state.hops[index as usize] = HopState { hop: found.ok(), checked, epoch, ..known };
                found?
            }
        };
        Ok(if dest.mode == mode::TUNNEL { self.within_path(index, hop) } else { hop })
    }

    pub(super) fn resolve(&self, ingress: u32, route: Route, known: Option<Hop>, mode: u8) -> Result<Hop, Counter> {
        match (route, known) {
            (Route::Via(hop), _) => {
                let hop = self.below_vlan(hop);
                let may_leave = hop.ifindex == ingress || self.config.egress.contains(&hop.ifindex);
                match mode {
                    _ if may_leave || self.config.hook == Hook::Tc => Ok(hop),
                    mode::NAT => Err(Counter::PassedUp),
                    _ => Err(Counter::Egress),
                }
            }
            (Route::NoNeighbour, Some(hop)) => Ok(hop),
            (Route::NoNeighbour | Route::NotForwarded, _) if mode == mode::NAT => Err(Counter::PassedUp),
            (Route::NoNeighbour, None) => Err(Counter::NoNeighbour),
            (Route::Unreachable | Route::NotForwarded, _) => Err(Counter::NoRoute),
        }
    }

    /// The device below a VLAN's sends, with the tag; tc leaves that to the kernel.
    fn below_vlan(&self, hop: Hop) -> Hop {
        match self.config.vlans.get(&hop.ifindex) {
            Some(vlan) if self.config.hook == Hook::Xdp => Hop { ifindex: vlan.parent, vlan: vlan.tci, ..hop },
            _ => hop,
        }
    }

    fn within_path(&self, index: u32, hop: Hop) -> Hop {
        let known = &self.state.hops[index as usize];
        match known.path_mtu {
            0 => hop,
            _ if self.has_passed(known.path_mtu_until) => hop,
            mtu => Hop { mtu: hop.mtu.min(mtu), ..hop },
        }
    }

    pub(super) fn learn_path_mtu(&mut self, index: u32, mtu: u16) {
        let until = self.now.wrapping_add(PATH_MTU_SECONDS * self.config.settings.hz);
        let hop = &mut self.state.hops[index as usize];
        (hop.path_mtu, hop.path_mtu_until) = (mtu, until);
    }
}
