//! What of this kernel, and of what this process may do, decides whether layer 4 is let in.

use std::fs;
use std::path::Path;

/// Capabilities that layer 4 needs, by their bits (linux/capability.h).
const NEEDED: [(&str, u32); 3] = [("CAP_NET_ADMIN", 12), ("CAP_PERFMON", 38), ("CAP_BPF", 39)];
const OLDEST: (u32, u32) = (6, 1);

/// What is not visible counts as not in the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kernel {
    /// As `uname -r` says it.
    pub release: String,
    pub has_btf: bool,
    /// `integrity` or `confidentiality` (kernel_lockdown(7)).
    pub lockdown: Option<String>,
    /// Those that this process lacks.
    pub missing: Vec<&'static str>,
    /// Capabilities in a user namespace are none to bpf(2).
    pub is_in_user_namespace: bool,
    /// System calls pass a filter (seccomp(2)), as in most containers.
    pub is_filtered: bool,
    /// The limit of this process's control group, in bytes.
    pub memory_limit: Option<u64>,
}

impl Kernel {
    pub fn this() -> Self {
        Self::at(Path::new("/"))
    }

    /// As the files below `root` tell it.
    pub fn at(root: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        let status = read("proc/self/status");
        let effective = u64::from_str_radix(field(&status, "CapEff:"), 16).unwrap_or(u64::MAX);
        let map = read("proc/self/uid_map");
        Self {
            release: read("proc/sys/kernel/osrelease").trim().to_owned(),
            has_btf: root.join("sys/kernel/btf/vmlinux").exists(),
            lockdown: lockdown(&read("sys/kernel/security/lockdown")),
            missing: NEEDED.iter().filter(|(_, bit)| effective >> bit & 1 == 0).map(|(name, _)| *name).collect(),
            is_in_user_namespace: !map.is_empty() && !map.split_whitespace().eq(["0", "0", "4294967295"]),
            is_filtered: field(&status, "Seccomp:") == "2",
            memory_limit: memory_limit(root, &read("proc/self/cgroup")),
        }
    }

    /// Older than what lb is made for; not if the version cannot be read.
    pub fn is_too_old(&self) -> bool {
        let mut numbers = self.release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse::<u32>().ok());
        matches!((numbers.next().flatten(), numbers.next().flatten()), (Some(a), Some(b)) if (a, b) < OLDEST)
    }
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim()
}

/// `none [integrity] confidentiality`
fn lockdown(text: &str) -> Option<String> {
    let chosen = text.split_once('[')?.1.split_once(']')?.0;
    (chosen != "none").then(|| chosen.to_owned())
}

/// Of the unified hierarchy, the least of this group and those above it.
fn memory_limit(root: &Path, groups: &str) -> Option<u64> {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let limit = |group: &Path| {
        let path = root.join("sys/fs/cgroup").join(group).join("memory.max");
        fs::read_to_string(path).ok()?.trim().parse::<u64>().ok()
    };
    Path::new(own).ancestors().filter_map(limit).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked_at(name: &str, files: &[(&str, &str)]) -> Kernel {
        let root = std::env::temp_dir().join(format!("lb-kernel-{}-{name}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let kernel = Kernel::at(&root);
        fs::remove_dir_all(root).unwrap();
        kernel
    }

    #[test]
    fn what_stands_in_the_way_is_seen() {
        let kernel = looked_at(
            "locked",
            &[
                ("proc/sys/kernel/osrelease", "6.1.0-50-cloud-amd64\n"),
                ("proc/self/status", "Name:\tlb\nCapEff:\t0000004000001000\nSeccomp:\t2\n"),
                ("proc/self/uid_map", "         0     100000      65536\n"),
                ("proc/self/cgroup", "0::/system.slice/lb.service\n"),
                ("sys/kernel/security/lockdown", "none [integrity] confidentiality\n"),
                ("sys/fs/cgroup/system.slice/memory.max", "1073741824\n"),
                ("sys/fs/cgroup/system.slice/lb.service/memory.max", "max\n"),
            ],
        );
        assert_eq!(
            kernel,
            Kernel {
                release: "6.1.0-50-cloud-amd64".to_owned(),
                has_btf: false,
                lockdown: Some("integrity".to_owned()),
                missing: vec!["CAP_BPF"],
                is_in_user_namespace: true,
                is_filtered: true,
                memory_limit: Some(1 << 30),
            }
        );
        assert!(!kernel.is_too_old());
    }

    #[test]
    fn an_ordinary_host_has_nothing_in_the_way() {
        let kernel = looked_at(
            "open",
            &[
                ("proc/sys/kernel/osrelease", "5.10.0-28-amd64\n"),
                ("proc/self/status", "CapEff:\t000001ffffffffff\nSeccomp:\t0\n"),
                ("proc/self/uid_map", "         0          0 4294967295\n"),
                ("sys/kernel/security/lockdown", "[none] integrity confidentiality\n"),
                ("sys/kernel/btf/vmlinux", "BTF"),
            ],
        );
        let open = Kernel { release: kernel.release.clone(), has_btf: true, ..Kernel::default() };
        assert_eq!(kernel, open);
        assert!(kernel.is_too_old());
    }
}
