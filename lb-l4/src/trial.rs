//! All that a start loads, loaded once and let go of: what the kernel would refuse then, it refuses here.

use std::collections::BTreeSet;

use lb_core::config::Attach;
use lb_core::snapshot::Snapshot;

use crate::attach::Choice;
use crate::clock::JiffyClock;
use crate::control::choose;
use crate::error::Error;
use crate::host::Host;
use crate::kernel::Kernel;
use crate::links;
use crate::loader::{self, Hook, Sizes, Variant};

/// Enough for the verifier, to which sizes make no difference.
const SMALL: Sizes = Sizes { buckets: 2, frontends: 1, dests: 1, rings: 1, vips: 1 };

/// Nothing is attached, pinned or left. What the kernel takes, in words.
pub fn trial(snapshot: &Snapshot) -> Result<String, Error> {
    drop(JiffyClock::load()?);
    let variants = variants(snapshot);
    for variant in &variants {
        drop(loader::load_over(*variant, None, SMALL)?);
    }
    if snapshot.config.nodes.len() > 1 {
        drop(loader::load_entry_over(None, SMALL)?);
    }
    let hooks: BTreeSet<_> = variants.iter().map(|variant| in_words(variant.hook)).collect();
    let hooks: Vec<_> = hooks.into_iter().collect();
    Ok(format!("Linux {} takes those for {}", Kernel::this().release, hooks.join(" and ")))
}

/// Those that a start may need: `auto` may have to go from XDP to tc when it attaches.
fn variants(snapshot: &Snapshot) -> BTreeSet<Variant> {
    let chosen = Host::look().ok().and_then(|host| choose(snapshot, &host).ok()).unwrap_or_default();
    let hooks: &[Hook] = match snapshot.config.l4.attach {
        Attach::Auto => &Hook::ALL,
        Attach::Xdp => &[Hook::Xdp],
        Attach::Tc => &[Hook::Tc],
    };
    let missing = |hook: &&Hook| chosen.iter().all(|choice| choice.hook != **hook);
    let plain = hooks.iter().filter(missing).map(|hook| Variant { hook: *hook, redirect_only: false });
    chosen.iter().map(Choice::variant).chain(plain).collect()
}

/// The hook, and what is missed.
fn in_words(hook: Hook) -> &'static str {
    match hook {
        Hook::Xdp => "xdp",
        Hook::Tc if links::has_tcx() => "tc (tcx)",
        Hook::Tc => "tc (as a filter of clsact, for this kernel has no tcx)",
    }
}
