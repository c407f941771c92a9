//! What the process takes from its host, and what it gives up.

use anyhow::{Context, Result};
use caps::{CapSet, Capability, CapsHashSet};
use lb_core::config::Config;
use nix::net::if_::if_nametoindex;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::geteuid;
use tracing::{debug, warn};

/// The one that lb may need later: a reload may name a frontend on a port below 1024.
const KEPT: Capability = Capability::CAP_NET_BIND_SERVICE;
/// What layer 4 needs on top: to attach to interfaces, to load programs, and to have them verified with
/// the freedom that they need. Pinning takes no capability but the right to write the directory.
pub const LAYER4: [Capability; 3] = [Capability::CAP_NET_ADMIN, Capability::CAP_BPF, Capability::CAP_PERFMON];
/// What virtual routers need on top: raw and packet sockets, and addresses on interfaces.
pub const VRRP: [Capability; 2] = [Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW];

/// Every connection costs a descriptor, so take as many as may be had.
pub fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
        Ok((soft, hard))
    });
    match raised {
        Ok((from, to)) => debug!(from, to, "file descriptor limit"),
        Err(error) => warn!(%error, "cannot raise the limit of file descriptors"),
    }
}

/// Layer 4 lives on in one place for each network namespace.
pub fn layer4_options() -> lb_l4::Options {
    lb_l4::Options { directory: lb_l4::directory::default_path() }
}

/// What the file names and this host does not have. It may come later, so it is no error.
pub fn missing(config: &Config) -> Vec<String> {
    let without = config.vrrp.iter().filter(|router| if_nametoindex(router.interface.as_str()).is_err());
    let told = without.map(|router| {
        let (interface, name) = (&router.interface, &router.name);
        format!("there is no interface `{interface}` here: virtual router `{name}` is in fault until it comes")
    });
    told.collect()
}

/// Gives up all capabilities but [`KEPT`] (and [`LAYER4`] and [`VRRP`] where the configuration has such things), and
/// lets no child (a check's script) inherit even that.
///
/// Capabilities belong to a thread and pass to those that it starts, so this comes before the first
/// one. Root keeps what it has: it was started so that it can read every certificate.
pub fn drop_capabilities(config: &Config) -> Result<()> {
    if geteuid().is_root() {
        return Ok(());
    }
    let had = caps::read(None, CapSet::Permitted).context("cannot read the capabilities of this process")?;
    let kept: CapsHashSet = had.intersection(&needed(config)).copied().collect();
    let set = |which, caps: &CapsHashSet| {
        caps::set(None, which, caps).with_context(|| format!("cannot reduce the {which:?} capabilities"))
    };
    set(CapSet::Effective, &kept)?;
    set(CapSet::Inheritable, &CapsHashSet::new())?;
    set(CapSet::Permitted, &kept)?;
    caps::clear(None, CapSet::Ambient).context("cannot clear the ambient capabilities")
}

/// What this configuration calls for, and [`KEPT`].
pub fn needed(config: &Config) -> CapsHashSet {
    let layer4 = config.frontends.iter().any(|frontend| frontend.forward().is_some());
    let vrrp = !config.vrrp.is_empty();
    let of_layer4 = LAYER4.into_iter().filter(|_| layer4);
    let of_vrrp = VRRP.into_iter().filter(|_| vrrp);
    std::iter::once(KEPT).chain(of_layer4).chain(of_vrrp).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &str = include_str!("../../deploy/systemd/lb.service");

    fn values(key: &str) -> impl Iterator<Item = &'static str> {
        UNIT.lines().filter_map(move |line| line.strip_prefix(key)?.strip_prefix('='))
    }

    /// systemd.exec(5): ProtectKernelTunables= makes /sys/fs/bpf read-only, and a ReadWritePaths= of that very path
    /// loses to it; only one below it wins. The directory must be there before the sandbox is made.
    #[test]
    fn the_unit_lets_layer_4_write_where_it_lives() {
        let home = layer4_options().directory.parent().expect("a directory above").display().to_string();
        let writable: Vec<_> = values("ReadWritePaths").flat_map(str::split_whitespace).collect();
        assert!(writable.contains(&&*format!("-{home}")), "{writable:?}");
        let (prefixes, made): (Vec<_>, Vec<_>) = values("ExecStartPre")
            .map(|line| line.split_at(line.find('/').expect("a program")))
            .filter(|(_, command)| command.contains("install -d -o lb -g lb") && command.contains(&home))
            .unzip();
        assert_eq!(made.len(), 1, "what makes {home}");
        assert!(prefixes[0].contains('+'), "as root, outside of the sandbox that it is made for");
    }
}
