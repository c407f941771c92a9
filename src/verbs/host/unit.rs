//! lb's systemd unit: as whom it runs lb, and what it leaves of the machine.
//!
//! Root at a shell may read and write everything, the service may not; what is found has to hold for the service.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

const NAME: &str = "lb.service";
const PROPERTIES: [&str; 15] = [
    "LoadState",
    "ExecStart",
    "User",
    "AmbientCapabilities",
    "ProtectHome",
    "PrivateTmp",
    "InaccessiblePaths",
    "ProtectSystem",
    "ProtectKernelTunables",
    "ReadOnlyPaths",
    "ReadWritePaths",
    "RuntimeDirectory",
    "StateDirectory",
    "CacheDirectory",
    "LogsDirectory",
];
/// Directories that systemd makes for the service, and where (RuntimeDirectory= and its like in systemd.exec(5)).
const MADE: [(&str, &str); 4] = [
    ("RuntimeDirectory", "/run"),
    ("StateDirectory", "/var/lib"),
    ("CacheDirectory", "/var/cache"),
    ("LogsDirectory", "/var/log"),
];

pub struct Unit(BTreeMap<String, String>);

impl Unit {
    /// `None`: this machine does not run systemd, or has no unit of that name.
    pub fn installed() -> Option<Self> {
        let properties = PROPERTIES.join(",");
        let output = Command::new("systemctl").args(["show", NAME, "--property", &properties]).output().ok()?;
        Self::parse(&String::from_utf8_lossy(&output.stdout))
    }

    fn parse(text: &str) -> Option<Self> {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        let unit = Self(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect());
        (unit.is("LoadState", &["loaded"])).then_some(unit)
    }

    /// Does it serve this file?
    pub fn serves(&self, file: &Path) -> bool {
        self.words("ExecStart").any(|word| Path::new(word) == file)
    }

    pub fn user(&self) -> &str {
        let user = self.value("User");
        if user.is_empty() { "root" } else { user }
    }

    /// An ordinary user has the capabilities that the unit gives, and no others.
    pub fn gives(&self, capability: &str) -> bool {
        self.user() == "root" || self.words("AmbientCapabilities").any(|given| given.eq_ignore_ascii_case(capability))
    }

    /// The setting that keeps the service from seeing what everybody else sees there.
    pub fn hides(&self, path: &Path) -> Option<&'static str> {
        let below = |roots: &[&str]| roots.iter().any(|root| path.starts_with(root));
        if self.is("ProtectHome", &["yes", "tmpfs"]) && below(&["/home", "/root", "/run/user"]) {
            return Some("ProtectHome");
        }
        if !self.is("PrivateTmp", &["no", ""]) && below(&["/tmp", "/var/tmp"]) {
            return Some("PrivateTmp");
        }
        self.paths("InaccessiblePaths").any(|hidden| path.starts_with(hidden)).then_some("InaccessiblePaths")
    }

    /// Is this a file right in a directory that systemd makes for the service when it starts? It makes none below it.
    pub fn makes_place_for(&self, path: &Path) -> bool {
        self.made().any(|made| path.parent() == Some(Path::new(&made)))
    }

    /// Is the file system writable there, whoever owns what is in it?
    pub fn lets_write(&self, path: &Path) -> bool {
        // Of two settings the one for the longer path holds, and for one path the stricter.
        let rules = self.rules();
        let hit = rules
            .iter()
            .filter(|(root, _)| path.starts_with(root))
            .max_by_key(|(root, writable)| (Path::new(root).components().count(), !writable));
        hit.is_none_or(|(_, writable)| *writable)
    }

    /// Roots, and whether they are writable.
    fn rules(&self) -> Vec<(String, bool)> {
        let system: &[(&str, bool)] = match self.value("ProtectSystem") {
            "strict" => &[("/", false), ("/dev", true), ("/proc", true), ("/sys", true)],
            "full" => &[("/usr", false), ("/boot", false), ("/efi", false), ("/etc", false)],
            "yes" => &[("/usr", false), ("/boot", false), ("/efi", false)],
            _ => &[],
        };
        let tunables: &[(&str, bool)] = match self.is("ProtectKernelTunables", &["yes"]) {
            // systemd names the second by itself.
            true => &[("/sys", false), ("/sys/fs/bpf", false), ("/proc/sys", false)],
            false => &[],
        };
        let fixed = system.iter().chain(tunables).map(|(root, writable)| ((*root).to_owned(), *writable));
        let writable = self.made().chain(self.paths("ReadWritePaths").map(str::to_owned)).map(|root| (root, true));
        let read_only = self.paths("ReadOnlyPaths").map(|root| (root.to_owned(), false));
        fixed.chain(writable).chain(read_only).collect()
    }

    fn made(&self) -> impl Iterator<Item = String> {
        MADE.iter().flat_map(|(key, root)| self.words(key).map(move |name| format!("{root}/{name}")))
    }

    /// `-` and `+` before a path are about whether it must be there, and where.
    fn paths(&self, key: &str) -> impl Iterator<Item = &str> {
        self.words(key).map(|path| path.trim_start_matches(['-', '+']))
    }

    fn words(&self, key: &str) -> impl Iterator<Item = &str> {
        self.value(key).split_whitespace()
    }

    fn is(&self, key: &str, one_of: &[&str]) -> bool {
        one_of.contains(&self.value(key))
    }

    fn value(&self, key: &str) -> &str {
        self.0.get(key).map_or("", String::as_str)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// What `systemctl show` says of the unit in deploy/systemd.
    pub const SHOWN: &str = "\
LoadState=loaded
ExecStart={ path=/usr/bin/lb ; argv[]=/usr/bin/lb run -c /etc/lb/lb.yaml ; ignore_errors=no ; pid=0 }
User=lb
AmbientCapabilities=cap_net_bind_service cap_net_admin cap_net_raw cap_perfmon cap_bpf
ProtectHome=yes
PrivateTmp=yes
ProtectSystem=strict
ProtectKernelTunables=yes
ReadWritePaths=-/sys/fs/bpf/lb -/proc/sys/net
RuntimeDirectory=lb
LogsDirectory=lb
";

    pub fn unit(text: &str) -> Unit {
        Unit::parse(text).expect("a loaded unit")
    }

    #[test]
    fn a_unit_that_is_not_there_is_none() {
        assert!(Unit::parse("LoadState=not-found\nUser=\n").is_none());
        assert!(Unit::parse("").is_none());
    }

    #[test]
    fn it_serves_one_file_as_one_user() {
        let unit = unit(SHOWN);
        assert!(unit.serves(Path::new("/etc/lb/lb.yaml")) && !unit.serves(Path::new("/etc/lb/new.yaml")));
        assert_eq!(unit.user(), "lb");
        assert!(unit.gives("CAP_BPF") && !unit.gives("CAP_SYS_ADMIN"));
    }

    #[test]
    fn what_it_hides_and_what_it_leaves_writable() {
        let unit = unit(SHOWN);
        let hides = |path: &str| unit.hides(Path::new(path));
        assert_eq!((hides("/home/me/site.key"), hides("/root/x")), (Some("ProtectHome"), Some("ProtectHome")));
        assert_eq!((hides("/tmp/x"), hides("/etc/lb/tls/site.key")), (Some("PrivateTmp"), None));
        let writes = |path: &str| unit.lets_write(Path::new(path));
        assert!(writes("/var/log/lb/access.log") && writes("/run/lb/admin.sock") && writes("/sys/fs/bpf/lb/net-1"));
        assert!(writes("/proc/sys/net/ipv4/conf/eth0/arp_ignore"));
        assert!(!writes("/srv/log/access.log") && !writes("/var/log/lb-other") && !writes("/proc/sys/kernel/x"));
    }

    /// As the unit once was: systemd makes /sys/fs/bpf read-only by itself, and that wins.
    #[test]
    fn a_setting_for_the_very_path_of_another_does_not_win() {
        let old = unit(&SHOWN.replace("-/sys/fs/bpf/lb ", "-/sys/fs/bpf "));
        assert!(!old.lets_write(Path::new("/sys/fs/bpf/lb")));
    }
}
