//! The virtual router's own MAC address (RFC 9568 section 7.3), as a macvlan on the interface.
//!
//! The macvlan is up only while this node is active. A backup that had it up would send frames from the virtual MAC
//! (multicast reports, neighbour discovery), after which switches send the active router's packets to the backup; and
//! it would not hear the active router's adverts on the interface itself, because a macvlan takes every frame that
//! seems to come from it (drivers/net/macvlan.c, macvlan_handle_frame).

use ipnet::IpNet;

use super::sysctl::Sysctls;
use super::{Kind, Ledger, Link, NetError, Netlink, Spec};
use crate::packet::{Family, Mac, virtual_mac};

/// IFNAMSIZ, without the zero at the end.
const LONGEST_NAME: usize = 15;
/// Of the routes to the networks of the virtual addresses. The interface has its own, which are to be preferred, so
/// that lb's own connections leave from its own addresses.
const METRIC: u32 = 4096;

#[derive(Debug)]
pub struct VirtualMac {
    index: u32,
    name: String,
    mac: Mac,
    /// Of the macvlan and of the interface below.
    sysctls: Sysctls,
}

impl VirtualMac {
    /// Replaces one that a dead process left.
    pub fn create(
        netlink: &mut Netlink,
        ledger: &Ledger,
        parent: &Link,
        family: Family,
        vrid: u8,
    ) -> Result<Self, NetError> {
        let name = name(parent, family, vrid);
        let mac = virtual_mac(family.group(), vrid);
        if let Some(old) = netlink.link(&name)?.filter(is_ours) {
            netlink.delete_link(old.index)?;
        }
        let link = netlink.create_macvlan(&name, parent.index, mac)?;
        let mut created = Self { index: link.index, name, mac, sysctls: Sysctls::noted_in(ledger) };
        match created.prepare(parent, family) {
            Ok(()) => Ok(created),
            Err(error) => {
                // The first error is the one to tell.
                let _ = created.remove(netlink);
                Err(error)
            }
        }
    }

    fn prepare(&mut self, parent: &Link, family: Family) -> Result<(), NetError> {
        let Self { sysctls, name, .. } = self;
        match family {
            Family::V4 => {
                sysctls.own_arp_only(&parent.name)?;
                sysctls.own_arp_only(name)?;
                sysctls.allow_other_way_back(name)?;
                sysctls.promote_secondaries(name)?;
                sysctls.without_ipv6(name)
            }
            Family::V6 => sysctls.without_autoconfiguration(name),
        }
    }

    /// Where the addresses are to stand.
    pub fn index(&self) -> u32 {
        self.index
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// For a socket that sends from the virtual MAC, and that hears what another node sends from it while we have it
    /// too. Everything else is heard on the interface below.
    pub fn spec(&self, family: Family, multicast: bool) -> Spec {
        let (interface, index) = (self.name.clone(), self.index);
        Spec { interface, index, family, multicast, only_from: Some(self.mac), disguised: false }
    }

    /// Before the first advert as active, and after the addresses were removed.
    pub fn set_up(&self, netlink: &mut Netlink, up: bool) -> Result<(), NetError> {
        netlink.set_up(self.index, up)
    }

    /// As [`Netlink::add_addresses`].
    pub fn add_addresses(&self, netlink: &mut Netlink, addresses: &[IpNet]) -> Result<(), NetError> {
        netlink.add(self.index, addresses, Some(METRIC))
    }

    /// With its addresses, and with what was set for it on the interface below.
    pub fn remove(mut self, netlink: &mut Netlink) -> Result<(), NetError> {
        let removed = netlink.delete_link(self.index);
        removed.and(self.sysctls.undo())
    }
}

/// What dead processes left.
pub fn leftovers(netlink: &mut Netlink) -> Result<Vec<Link>, NetError> {
    Ok(netlink.links()?.into_iter().filter(is_ours).collect())
}

fn is_ours(link: &Link) -> bool {
    let is_virtual = link.mac.is_some_and(|mac| matches!(mac, [0, 0, 0x5e, 0, 1 | 2, _]));
    link.kind == Kind::Macvlan && is_virtual && link.name.starts_with("lb")
}

/// `lb51.eth0`, and for IPv6 `lb51v6.eth0`; with the number of an interface whose name is too long for that.
fn name(parent: &Link, family: Family, vrid: u8) -> String {
    let suffix = if family == Family::V4 { "" } else { "v6" };
    let readable = format!("lb{vrid}{suffix}.{}", parent.name);
    if readable.len() <= LONGEST_NAME { readable } else { format!("lb{vrid}{suffix}.{}", parent.index) }
}
