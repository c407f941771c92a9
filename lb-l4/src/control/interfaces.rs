//! Where the program hangs: put there, replaced in place, taken away, and put back where an interface returns.

use std::collections::{BTreeSet, btree_map::Entry};
use std::net::IpAddr;
use std::path::Path;

use lb_core::config::Attach;
use lb_core::snapshot::Snapshot;
use tracing::{error, info, warn};

use super::{Control, backends_of};
use crate::abi::{Port, Vlan};
use crate::attach::{self, Choice};
use crate::error::Error;
use crate::host::Host;
use crate::links::{self, Attachment, How, Refusal};
use crate::loader::{self, Hook};
use crate::macs;
use crate::netlink::{Kind, Link};

impl Control {
    /// Attaches where a new configuration wants it too; where the old one wants it, it stays until the
    /// commit. What it says is how it came out.
    pub(super) fn extend(
        &mut self,
        host: &Host,
        choices: Vec<Choice>,
        snapshot: &Snapshot,
    ) -> Result<Vec<Choice>, Error> {
        let place = |c: &Choice| (c.interface, c.variant());
        let attached: BTreeSet<_> = self.attached.iter().map(place).collect();
        if choices.iter().all(|choice| attached.contains(&place(choice))) {
            return Ok(choices);
        }
        let outcome = self.attach(host, choices, snapshot);
        if outcome.is_err()
            && let Err(error) = self.send_where_attached(host)
        {
            error!(%error, "cannot tell the data plane what it may send by");
        }
        outcome
    }

    /// Puts the program where it is not yet, and its latest build where it is. It forwards from then on by
    /// what the maps hold: where XDP takes over from tc, it must have somewhere to send by.
    pub(super) fn attach(
        &mut self,
        host: &Host,
        choices: Vec<Choice>,
        snapshot: &Snapshot,
    ) -> Result<Vec<Choice>, Error> {
        if self.attached.iter().all(|choice| choice.hook == Hook::Tc) {
            let (egress, vlans) = ways_out(host, &choices);
            self.maps.add_vlans(&vlans)?;
            self.maps.add_egress(&egress)?;
        }
        // A frame that comes before its address is there would go up to a kernel that knows nothing of its flow.
        self.maps.add_macs(&macs::of(host, indexes(&choices)))?;
        let before = self.links();
        let Err(failed) = self.attach_all(&choices) else { return Ok(choices) };
        self.undo(host, &before);
        let why = match &failed.refusal {
            Refusal::Unsupported(why) if failed.may_fall_back(snapshot) => {
                format!("{} has no native XDP: {why}", failed.choice.name)
            }
            _ => return Err(failed.into_error()),
        };
        let by_tc: Vec<_> = choices.into_iter().map(|c| Choice { hook: Hook::Tc, why: why.clone(), ..c }).collect();
        match self.attach_all(&by_tc) {
            Ok(()) => Ok(by_tc),
            Err(failed) => {
                self.undo(host, &before);
                Err(failed.into_error())
            }
        }
    }

    fn attach_all(&mut self, choices: &[Choice]) -> Result<(), Failed> {
        for choice in choices {
            self.attach_one(choice).map_err(|refusal| Failed { choice: choice.clone(), refusal })?;
        }
        Ok(())
    }

    fn attach_one(&mut self, choice: &Choice) -> Result<(), Refusal> {
        let refused = |error: Error| Refusal::Other(error.to_string());
        let program = match self.programs.entry(choice.variant()) {
            Entry::Occupied(loaded) => loaded.into_mut(),
            Entry::Vacant(place) => {
                place.insert(loader::load(choice.variant(), &self.maps_path, self.sizes).map_err(refused)?)
            }
        };
        let attachment = Attachment { how: How::of(choice.hook), interface: choice.interface };
        links::attach(&self.directory.links(), program, attachment, &choice.name)?;
        if !self.attached.contains(choice) {
            log(choice);
        }
        Ok(())
    }

    /// What this attempt has attached and was not there before.
    fn undo(&self, host: &Host, before: &[Attachment]) {
        let links = self.directory.links();
        links::existing(&links).into_iter().filter(|a| !before.contains(a)).for_each(|a| detach(&links, host, a));
    }

    /// The program is where it is wanted, and nowhere else from now on: only then may XDP no longer send there.
    pub(super) fn leave_others(&mut self, host: &Host) -> Result<(), Error> {
        self.lost.retain(|name| self.attached.iter().all(|choice| choice.name != *name));
        self.remove_links(host);
        self.send_where_attached(host)?;
        self.maps.raise_epoch();
        Ok(())
    }

    fn remove_links(&self, host: &Host) {
        let links = self.directory.links();
        let wanted: Vec<Attachment> =
            self.attached.iter().map(|c| Attachment { how: How::of(c.hook), interface: c.interface }).collect();
        for attachment in self.links().iter().filter(|a| !wanted.contains(a)) {
            info!(
                interface = attachment.interface,
                hook = attachment.how.hook().as_str(),
                "layer 4 leaves an interface"
            );
            detach(&links, host, *attachment);
        }
    }

    fn links(&self) -> Vec<Attachment> {
        links::existing(&self.directory.links())
    }

    /// XDP may send by the interfaces that it holds, and tags for the VLANs on top of them. Frames of no other
    /// interface are for this host.
    fn send_where_attached(&self, host: &Host) -> Result<(), Error> {
        self.maps.set_macs(&macs::of(host, indexes(&self.attached)))?;
        let (egress, vlans) = ways_out(host, &self.attached);
        self.maps.set_vlans(&vlans)?;
        self.maps.set_egress(&egress)
    }

    /// Is there an interface that went while the program was on it?
    pub fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Takes up how the host's links are now; those of `gone` went, even where one of that index is there
    /// again. An interface that comes back gets the program at once.
    pub fn follow(&mut self, host: &Host, gone: &BTreeSet<u32>) -> Result<(), Error> {
        self.let_go(host, gone);
        let returned = self.returned(host)?;
        if returned.is_empty() {
            return self.send_where_attached(host);
        }
        let hook = returned[0].hook;
        let others = self.attached.iter().filter(|a| a.hook == hook && returned.iter().all(|c| c.name != a.name));
        let wanted = others.chain(&returned).cloned().collect();
        let snapshot = self.snapshot.clone();
        self.attached = self.extend(host, wanted, &snapshot)?;
        self.leave_others(host)
    }

    fn let_go(&mut self, host: &Host, gone: &BTreeSet<u32>) {
        let is_here = |c: &Choice| !gone.contains(&c.interface) && host.links().any(|link| link.index == c.interface);
        let (here, lost): (Vec<_>, Vec<_>) = std::mem::take(&mut self.attached).into_iter().partition(is_here);
        self.attached = here;
        for choice in lost {
            warn!(interface = choice.name, "an interface that layer 4 takes packets of is gone");
            let attachment = Attachment { how: How::of(choice.hook), interface: choice.interface };
            detach(&self.directory.links(), host, attachment);
            self.lost.insert(choice.name);
        }
    }

    /// Where the program should be of what is here, if something is back; else nothing.
    fn returned(&self, host: &Host) -> Result<Vec<Choice>, Error> {
        if self.lost.is_empty() {
            return Ok(vec![]);
        }
        let here = match &self.snapshot.config.l4.interfaces {
            Some(names) => names.iter().filter_map(|name| host.named(name).cloned()).collect(),
            None => derived(&self.snapshot, host),
        };
        match here.iter().any(|link| self.lost.contains(&link.name)) {
            true => choose_among(&self.snapshot, host, &here),
            false => Ok(vec![]),
        }
    }
}

fn indexes(choices: &[Choice]) -> impl Iterator<Item = u32> {
    choices.iter().map(|choice| choice.interface)
}

/// What XDP may send by, and what stands on top of it: VLANs with their tag, macvlans without.
fn ways_out(host: &Host, choices: &[Choice]) -> (Vec<u32>, Vec<(u32, Vlan)>) {
    let by_xdp: Vec<u32> = choices.iter().filter(|c| c.hook == Hook::Xdp).map(|c| c.interface).collect();
    let vlans = host.links().filter_map(|link| match (link.kind, link.lower) {
        (Kind::Vlan { id }, Some(parent)) if by_xdp.contains(&parent) => {
            Some((link.index, Vlan { parent, tci: Port::from(id), zero: 0 }))
        }
        (Kind::Macvlan, Some(parent)) if by_xdp.contains(&parent) => {
            Some((link.index, Vlan { parent, tci: Port::default(), zero: 0 }))
        }
        _ => None,
    });
    let vlans = vlans.collect();
    (by_xdp, vlans)
}

/// The interface, and why it did not take the program.
struct Failed {
    choice: Choice,
    refusal: Refusal,
}

impl Failed {
    fn may_fall_back(&self, snapshot: &Snapshot) -> bool {
        self.choice.hook == Hook::Xdp && snapshot.config.l4.attach == Attach::Auto
    }

    fn into_error(self) -> Error {
        let hint = match &self.refusal {
            Refusal::Taken(_) => " (another program is there: `ip link show` names it)",
            _ => "",
        };
        let reason = format!("{}{hint}", self.refusal.reason());
        Error::Attach { interface: self.choice.name, hook: self.choice.hook.as_str(), reason }
    }
}

/// Interfaces and hooks for a configuration on this host.
pub fn choose(snapshot: &Snapshot, host: &Host) -> Result<Vec<Choice>, Error> {
    let links = match &snapshot.config.l4.interfaces {
        Some(names) => {
            let named = |name: &String| host.named(name).cloned().ok_or_else(|| Error::NoInterface(name.clone()));
            names.iter().map(named).collect::<Result<Vec<_>, _>>()?
        }
        None => derived(snapshot, host),
    };
    if links.is_empty() {
        return Err(Error::NoInterfaces);
    }
    choose_among(snapshot, host, &links)
}

fn choose_among(snapshot: &Snapshot, host: &Host, links: &[Link]) -> Result<Vec<Choice>, Error> {
    let facts: Vec<_> = links.iter().map(|link| host.facts(link)).collect();
    attach::choose(snapshot.config.l4.attach, &facts).map_err(|unfit| Error::Attach {
        interface: unfit.name,
        hook: "xdp",
        reason: unfit.why,
    })
}

fn derived(snapshot: &Snapshot, host: &Host) -> Vec<Link> {
    let frontends: Vec<IpAddr> = snapshot.forward_frontends().map(|(f, _)| f.config.listen.ip()).collect();
    let backends: Vec<IpAddr> = backends_of(snapshot).into_iter().collect();
    let found = attach::derive(&mut &*host, &frontends, &backends);
    host.links().filter(|link| found.contains(&link.index)).cloned().collect()
}

fn log(choice: &Choice) {
    let (interface, hook) = (&*choice.name, choice.hook.as_str());
    info!(interface, hook, why = choice.why, "layer 4 takes packets of an interface");
    if let Some(warning) = &choice.warning {
        warn!(interface, hook, warning, "layer 4 may lose packets");
    }
}

pub(super) fn detach(links: &Path, host: &Host, attachment: Attachment) {
    let name = host.links().find(|l| l.index == attachment.interface).map(|l| l.name.as_str());
    if let Err(error) = links::detach(links, attachment, name) {
        error!(interface = attachment.interface, %error, "cannot take the program from an interface");
    }
}
