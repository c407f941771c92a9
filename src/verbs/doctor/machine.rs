//! The machine under examination: its files below /proc and /sys, and what programs say.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use caps::Capability;

use crate::verbs::finding::{Result, warning};

/// Where to look. In a test: a directory with the files that matter.
pub struct Machine {
    root: PathBuf,
}

impl Machine {
    pub fn this() -> Self {
        Self { root: PathBuf::from("/") }
    }

    #[cfg(test)]
    pub fn at(root: &std::path::Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// `net.ipv4.ip_forward` and the like; `None` where this kernel has no such switch.
    pub fn sysctl(&self, name: &str) -> Option<String> {
        self.read(&format!("proc/sys/{}", name.replace('.', "/")))
    }

    /// The larger of `all` and the interface holds, for rp_filter, arp_ignore and arp_announce.
    pub fn strictest(&self, name: &str, interface: &str) -> Option<u32> {
        let value = |of: &str| self.sysctl(&format!("net.ipv4.conf.{of}.{name}"))?.parse::<u32>().ok();
        value("all").max(value(interface))
    }

    pub fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok().map(|text| text.trim().to_owned())
    }

    /// Files of a folder whose name ends so, sorted, as [`Machine::read`] takes them.
    pub fn list(&self, folder: &str, end: &str) -> Vec<String> {
        let entries = fs::read_dir(self.root.join(folder)).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| name.ends_with(end));
        let mut files: Vec<String> = names.map(|name| format!("{folder}/{name}")).collect();
        files.sort_unstable();
        files
    }

    /// Of the first process of that kind: `6.1.0-13-amd64` is (6, 1).
    pub fn kernel(&self) -> Option<(u32, u32)> {
        let release = self.read("proc/sys/kernel/osrelease")?;
        let mut numbers = release.split(|c: char| !c.is_ascii_digit());
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }

    /// Type of what is mounted there.
    pub fn mounted(&self, point: &str) -> Option<String> {
        let mounts = self.read("proc/self/mounts")?;
        let mut kinds = mounts.lines().filter_map(|line| {
            let mut fields = line.split(' ');
            (fields.nth(1)? == point).then(|| fields.next().map(str::to_owned)).flatten()
        });
        kinds.next_back()
    }

    /// Whether this process has it, effectively.
    pub fn may(&self, capability: Capability) -> bool {
        let status = self.read("proc/self/status").unwrap_or_default();
        let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
        let set = effective.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0);
        set & capability.bitmask() != 0
    }

    /// Whether this process has all that lb needs for one of its parts.
    pub fn has_all(&self, needed: &[Capability]) -> Result {
        let names = |of: &[Capability]| of.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let missing: Vec<_> = needed.iter().copied().filter(|capability| !self.may(*capability)).collect();
        match missing.as_slice() {
            [] => Ok(names(needed)),
            missing => Err(warning(format!("this user lacks {}; lb needs them", names(missing)))),
        }
    }

    /// The soft limit of this process; `None`: there is none, or it cannot be read.
    pub fn limit(&self, name: &str) -> Option<u64> {
        let limits = self.read("proc/self/limits")?;
        let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    }

    /// Standard output of a program; `None` where it is missing or fails.
    pub fn output(&self, program: &str, arguments: &[&str]) -> Option<String> {
        let output = Command::new(program).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
