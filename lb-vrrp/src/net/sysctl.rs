//! What is set below /proc/sys/net for an interface, and what it was before.

use std::fmt;
use std::fs;
use std::io;
use std::str::FromStr;

use nix::net::if_::if_nametoindex;

use super::{Ledger, NetError};

/// All that are ever changed, by family.
const SETTINGS: [(&str, &str); 7] = [
    ("ipv4", "promote_secondaries"),
    ("ipv4", "arp_ignore"),
    ("ipv4", "arp_announce"),
    ("ipv4", "rp_filter"),
    ("ipv6", "disable_ipv6"),
    ("ipv6", "addr_gen_mode"),
    ("ipv6", "accept_ra"),
];
/// IFNAMSIZ, without the zero at the end.
const LONGEST_NAME: usize = 15;

/// Settings that we changed, the latest last.
#[derive(Debug, Default)]
pub struct Sysctls {
    changed: Vec<Changed>,
    ledger: Ledger,
}

/// As a line of the ledger: `ipv4 eth0 3 arp_ignore 0 1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Changed {
    key: Key,
    /// Of the interface: another one may come to have its name.
    index: u32,
    before: String,
    since: String,
}

/// What is not one of ours.
pub(super) struct Unknown;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    /// `ipv4` or `ipv6`.
    family: &'static str,
    interface: String,
    name: &'static str,
}

impl Sysctls {
    /// They are on file there as well, until they are undone.
    pub fn noted_in(ledger: &Ledger) -> Self {
        Self { changed: Vec::new(), ledger: ledger.clone() }
    }

    /// Removing the primary address of a network leaves the others there (ip-sysctl.rst, promote_secondaries), which
    /// the virtual addresses are.
    pub fn promote_secondaries(&mut self, interface: &str) -> Result<(), NetError> {
        self.set_at_least("promote_secondaries", interface, 1)
    }

    /// Answers ARP for its own addresses only, and asks in the name of its own only: those of a virtual router belong
    /// to another MAC address.
    pub(super) fn own_arp_only(&mut self, interface: &str) -> Result<(), NetError> {
        self.set_at_least("arp_ignore", interface, 1)?;
        self.set_at_least("arp_announce", interface, 2)
    }

    /// Takes packets from addresses to which the way back leads through another interface. The kernel takes the
    /// stricter of two settings, and 2 is stricter than 1 for it (ip-sysctl.rst, rp_filter).
    pub(super) fn allow_other_way_back(&mut self, interface: &str) -> Result<(), NetError> {
        let for_all = Key::new("ipv4", "all", "rp_filter").get()?;
        self.set(Key::new("ipv4", interface, "rp_filter"), if for_all == "0" { "0" } else { "2" })
    }

    /// Has no IPv6 at all.
    pub(super) fn without_ipv6(&mut self, interface: &str) -> Result<(), NetError> {
        self.set_if_there(Key::new("ipv6", interface, "disable_ipv6"), "1")
    }

    /// Has only the IPv6 addresses that it is given, and no link-local one (IN6_ADDR_GEN_MODE_NONE).
    pub(super) fn without_autoconfiguration(&mut self, interface: &str) -> Result<(), NetError> {
        self.set_if_there(Key::new("ipv6", interface, "disable_ipv6"), "0")?;
        self.set_if_there(Key::new("ipv6", interface, "addr_gen_mode"), "1")?;
        self.set_if_there(Key::new("ipv6", interface, "accept_ra"), "0")
    }

    /// For those of which the kernel takes the larger of `all` and the interface's own.
    fn set_at_least(&mut self, name: &'static str, interface: &str, least: u8) -> Result<(), NetError> {
        let key = Key::new("ipv4", interface, name);
        let is_less = |value: String| value.parse().is_ok_and(|value: u8| value < least);
        if is_less(Key::new("ipv4", "all", name).get()?) && is_less(key.get()?) {
            self.set(key, &least.to_string())?;
        }
        Ok(())
    }

    /// Passes over what a kernel without IPv6 does not have.
    fn set_if_there(&mut self, key: Key, value: &str) -> Result<(), NetError> {
        match self.set(key, value) {
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }

    fn set(&mut self, key: Key, value: &str) -> Result<(), NetError> {
        let before = key.get()?;
        if before == value {
            return Ok(());
        }
        let index = if_nametoindex(key.interface.as_str()).unwrap_or_default();
        let changed = Changed { key, index, before, since: value.to_owned() };
        self.ledger.note(&changed);
        changed.key.set(value)?;
        self.changed.push(changed);
        Ok(())
    }

    /// Puts back what was there before, unless somebody else has changed it meanwhile or the interface is gone. Tries
    /// all, and returns the first error.
    pub fn undo(&mut self) -> Result<(), NetError> {
        let mut outcome = Ok(());
        for changed in self.changed.drain(..).rev() {
            outcome = outcome.and(changed.undo());
            self.ledger.strike(&changed);
        }
        outcome
    }
}

impl Changed {
    pub(super) fn undo(&self) -> Result<(), NetError> {
        if if_nametoindex(self.key.interface.as_str()) != Ok(self.index) {
            return Ok(());
        }
        match self.key.get() {
            Ok(now) if now == self.since => self.key.set(&self.before),
            Err(error) if error.source.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key: Key { family, interface, name }, index, before, since } = self;
        write!(f, "{family} {interface} {index} {name} {before} {since}")
    }
}

impl FromStr for Changed {
    type Err = Unknown;

    fn from_str(line: &str) -> Result<Self, Unknown> {
        let words: Vec<&str> = line.split(' ').collect();
        let [family, interface, index, name, before, since] = words[..] else { return Err(Unknown) };
        let known = SETTINGS.into_iter().find(|setting| *setting == (family, name)).ok_or(Unknown)?;
        let number = |word: &str| word.parse().map(|value: u8| value.to_string()).map_err(|_| Unknown);
        Ok(Self {
            key: Key::new(known.0, interface_name(interface)?, known.1),
            index: index.parse().map_err(|_| Unknown)?,
            before: number(before)?,
            since: number(since)?,
        })
    }
}

/// As the kernel lets an interface be called (net/core/dev.c, dev_valid_name), and none of those that stand for all.
fn interface_name(name: &str) -> Result<&str, Unknown> {
    let is_short = (1..=LONGEST_NAME).contains(&name.len());
    let is_special = [".", "..", "all", "default"].contains(&name) || name.contains(['/', ':']);
    if is_short && !is_special { Ok(name) } else { Err(Unknown) }
}

impl Key {
    fn new(family: &'static str, interface: &str, name: &'static str) -> Self {
        Self { family, interface: interface.to_owned(), name }
    }

    fn get(&self) -> Result<String, NetError> {
        let text = fs::read_to_string(self.path()).map_err(|e| self.error("reading", e))?;
        Ok(text.trim().to_owned())
    }

    fn set(&self, value: &str) -> Result<(), NetError> {
        fs::write(self.path(), value).map_err(|e| self.error("setting", e))
    }

    fn path(&self) -> String {
        format!("/proc/sys/net/{}/conf/{}/{}", self.family, self.interface, self.name)
    }

    fn error(&self, tried: &str, error: io::Error) -> NetError {
        NetError::new(format!("{tried} {} {}", self.family, self.name), &self.interface, error)
    }
}
