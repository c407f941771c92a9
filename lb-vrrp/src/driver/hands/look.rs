//! Interfaces, and what stands on them: looked at when they come, and followed as they change.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Hands;
use crate::driver::holding::Holding;
use crate::driver::kernel::Kernel;
use crate::driver::letters::{Doing, Finding, View};
use crate::net::{Address, Link};
use crate::routers::RouterId;

impl<K: Kernel> Hands<K> {
    /// At everything anew.
    pub(super) fn look(&mut self, id: RouterId) {
        let Some(name) = self.holding(id).map(|holding| holding.charge.place.interface.clone()) else { return };
        let found = self.kernel.link(&name);
        let link = self.check(id, Doing::Look, found).flatten();
        self.attach(id, link);
        self.look_for_source(id);
        self.show(id, |_| {});
    }

    /// To the interface as it is now. One that went away and came back is another one.
    fn attach(&mut self, id: RouterId, link: Option<Link>) {
        let Some(holding) = self.holding(id) else { return };
        let index = |link: &Option<Link>| link.as_ref().map(|link| link.index);
        let mac = |link: &Option<Link>| link.as_ref().and_then(|link| link.mac);
        let is_same = index(&holding.link) == index(&link);
        let sounds_same = mac(&holding.link) == mac(&link);
        if !is_same {
            self.detach(id);
        }
        let Some(holding) = self.holding(id) else { return };
        holding.view.up = link.as_ref().is_some_and(|link| link.up);
        holding.link.clone_from(&link);
        match link {
            Some(link) if !is_same => self.arrive(id, &link),
            Some(_) if !sounds_same => self.eavesdrop(id),
            Some(_) | None => {}
        }
    }

    fn arrive(&mut self, id: RouterId, link: &Link) {
        let Some(place) = self.holding(id).map(|holding| holding.charge.place.clone()) else { return };
        let done = self.kernel.enter(link, place.family);
        self.check(id, Doing::Open, done);
        if place.virtual_mac {
            let made = self.kernel.make_virtual(id, link, &place);
            let virtual_link = self.check(id, Doing::VirtualMac, made);
            if let Some(holding) = self.holding(id) {
                holding.virtual_link = virtual_link;
            }
        }
        self.eavesdrop(id);
    }

    /// From the interface, which may be gone.
    pub(super) fn detach(&mut self, id: RouterId) {
        let Some(holding) = self.holding(id) else { return };
        let (link, virtual_link, door) = holding.leave();
        if virtual_link.is_some() {
            let done = self.kernel.remove_virtual(id);
            self.check(id, Doing::VirtualMac, done);
        }
        self.kernel.ignore(id);
        door.into_iter().for_each(|door| self.kernel.close(&door));
        link.into_iter().for_each(|link| self.kernel.leave(&link));
    }

    pub(super) fn eavesdrop(&mut self, id: RouterId) {
        let Some(holding) = self.holdings.iter().find(|holding| holding.charge.id == id) else { return };
        if let Some(link) = holding.ground() {
            let addresses: Vec<IpAddr> = holding.charge.addresses.iter().map(IpNet::addr).collect();
            let done = self.kernel.eavesdrop(id, link, &addresses);
            self.check(id, Doing::Open, done);
        }
    }

    /// Adverts go out where the address is that they are sent from, which between nodes may be another interface.
    fn look_for_source(&mut self, id: RouterId) {
        let Some(holding) = self.holdings.iter().find(|holding| holding.charge.id == id) else { return };
        let Some(link) = holding.link.clone() else { return };
        let (wanted, before) = (holding.charge.source, holding.way.clone());
        let elsewhere = match wanted.map(|source| self.kernel.link_with(source)) {
            Some(found) => self.check(id, Doing::Look, found).flatten(),
            None => None,
        };
        // One that is missing comes back where it was.
        let way = elsewhere.or_else(|| before.filter(|way| self.is_there(way))).unwrap_or(link);
        let addresses = self.kernel.addresses(way.index);
        let addresses = self.check(id, Doing::Look, addresses).unwrap_or_default();
        let Some(holding) = self.holding(id) else { return };
        holding.see_source(&addresses);
        self.open(id, way);
    }

    fn is_there(&mut self, link: &Link) -> bool {
        matches!(self.kernel.link(&link.name), Ok(Some(found)) if found.index == link.index)
    }

    fn open(&mut self, id: RouterId, way: Link) {
        let Some(holding) = self.holding(id) else { return };
        if holding.view.door.is_some() && holding.way.as_ref().is_some_and(|known| known.index == way.index) {
            return;
        }
        let old = holding.view.door.take();
        let place = holding.charge.place.clone();
        old.into_iter().for_each(|door| self.kernel.close(&door));
        let opened = self.kernel.open(&way, &place);
        let door = self.check(id, Doing::Open, opened);
        if let Some(holding) = self.holding(id) {
            holding.view.door = door;
            holding.way = Some(way);
        }
    }

    /// Changes what the head sees.
    pub(super) fn show(&mut self, id: RouterId, change: impl FnOnce(&mut View<K::Socket>)) {
        let Some(holding) = self.holdings.iter_mut().find(|holding| holding.charge.id == id) else { return };
        change(&mut holding.view);
        let view = View {
            up: holding.view.up,
            source: holding.view.source,
            door: holding.view.door.clone(),
            virtual_door: holding.view.virtual_door.clone(),
        };
        self.findings.push(Finding::Seen { id, view });
    }

    pub(super) fn tell_interfaces(&mut self, names: &[String]) {
        for name in names {
            let up = matches!(self.kernel.link(name), Ok(Some(link)) if link.up);
            self.findings.push(Finding::Interface { name: name.clone(), up });
        }
    }

    pub(super) fn look_at_everything(&mut self) {
        let all: Vec<RouterId> = self.holdings.iter().map(|holding| holding.charge.id).collect();
        for id in all {
            self.look(id);
            let names = self.holding(id).map(|holding| holding.charge.tracked.clone()).unwrap_or_default();
            self.tell_interfaces(&names);
            self.robbed.push(id);
        }
    }

    fn is_tracked(&self, name: &str) -> bool {
        self.holdings.iter().any(|holding| holding.charge.tracked.iter().any(|tracked| tracked == name))
    }

    pub(super) fn follow_link(&mut self, link: &Link) {
        if self.is_tracked(&link.name) {
            self.findings.push(Finding::Interface { name: link.name.clone(), up: link.up });
        }
        for at in 0..self.holdings.len() {
            let holding = &self.holdings[at];
            let (id, known) = (holding.charge.id, holding.link.as_ref());
            let is_known = known.is_some_and(|known| known.index == link.index);
            match holding.charge.place.interface == link.name {
                // It was renamed, which for us is gone.
                false if is_known => self.lose(id),
                false => {}
                true if !is_known => self.look(id),
                true if known == Some(link) => {}
                true => {
                    self.attach(id, Some(link.clone()));
                    self.touched.push(link.index);
                    self.show(id, |_| {});
                }
            }
        }
    }

    pub(super) fn follow_loss(&mut self, index: u32, name: &str) {
        if self.is_tracked(name) {
            self.findings.push(Finding::Interface { name: name.to_owned(), up: false });
        }
        let is_lost = |holding: &&Holding<K::Socket>| holding.link.as_ref().is_some_and(|link| link.index == index);
        let lost: Vec<RouterId> = self.holdings.iter().filter(is_lost).map(|holding| holding.charge.id).collect();
        for id in lost {
            self.lose(id);
        }
        self.rebuild_virtual(index);
    }

    /// Somebody removed the interface with a virtual MAC, which is lb's own: there is to be another one.
    fn rebuild_virtual(&mut self, index: u32) {
        let is_it = |holding: &&Holding<K::Socket>| holding.virtual_link.as_ref().is_some_and(|l| l.index == index);
        let bereft: Vec<RouterId> = self.holdings.iter().filter(is_it).map(|holding| holding.charge.id).collect();
        for id in bereft {
            self.detach(id);
            self.look(id);
            self.robbed.push(id);
        }
    }

    fn lose(&mut self, id: RouterId) {
        self.attach(id, None);
        self.show(id, |_| {});
    }

    pub(super) fn follow_address(&mut self, index: u32, address: &Address, added: bool) {
        if !address.ours {
            self.touched.push(index);
        }
        let is_robbed = |holding: &&Holding<K::Socket>| {
            holding.holds
                && holding.ground().is_some_and(|link| link.index == index)
                && holding.charge.addresses.contains(&address.ip)
        };
        if !added {
            let robbed = self.holdings.iter().filter(is_robbed).map(|holding| holding.charge.id);
            self.robbed.extend(robbed);
        }
    }

    /// Once for all that happened in this turn.
    pub(super) fn look_where_touched(&mut self) {
        let mut touched = std::mem::take(&mut self.touched);
        touched.sort_unstable();
        touched.dedup();
        touched.iter().for_each(|index| self.go_behind_own(*index));
        let concerned = self.holdings.iter().filter(|holding| touched.iter().any(|index| holding.depends_on(*index)));
        let concerned: Vec<RouterId> = concerned.map(|holding| holding.charge.id).collect();
        for id in concerned {
            let before = self.holding(id).map(|holding| holding.view.source);
            self.look_for_source(id);
            if self.holding(id).map(|holding| holding.view.source) != before {
                self.show(id, |_| {});
            }
        }
    }
}
