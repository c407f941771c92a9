//! What is set below /proc/sys/net for an interface, and what it was before.

use std::fs;
use std::io;

use super::NetError;

/// Settings that we changed, the latest last.
#[derive(Debug, Default)]
pub struct Sysctls {
    changed: Vec<Changed>,
}

#[derive(Debug)]
struct Changed {
    key: Key,
    before: String,
    since: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    /// `ipv4` or `ipv6`.
    family: &'static str,
    interface: String,
    name: &'static str,
}

impl Sysctls {
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
        if before != value {
            key.set(value)?;
            self.changed.push(Changed { key, before, since: value.to_owned() });
        }
        Ok(())
    }

    /// Puts back what was there before, unless somebody else has changed it meanwhile or the interface is gone. Tries
    /// all, and returns the first error.
    pub fn undo(&mut self) -> Result<(), NetError> {
        let mut outcome = Ok(());
        for changed in self.changed.drain(..).rev() {
            outcome = outcome.and(changed.undo());
        }
        outcome
    }
}

impl Changed {
    fn undo(&self) -> Result<(), NetError> {
        match self.key.get() {
            Ok(now) if now == self.since => self.key.set(&self.before),
            Err(error) if error.source.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
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
