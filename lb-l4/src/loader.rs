//! From the compiled objects to maps that are pinned and a program that is verified.

use std::fs;
use std::path::Path;

use aya::maps::MapInfo;
use aya::programs::{Program, SchedClassifier, Xdp};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};

use crate::abi::WAYS;
use crate::directory::{self, Directory};
use crate::error::Error;
use crate::maps::NAMES;
use crate::object;
use crate::plan::Capacity;

/// What enters flows of other nodes, in words.
pub(crate) const ENTRY: &str = "the program that takes flows of other nodes";

/// Where in the kernel the program takes its packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hook {
    Xdp,
    Tc,
}

impl Hook {
    pub const ALL: [Hook; 2] = [Hook::Xdp, Hook::Tc];

    pub fn as_str(self) -> &'static str {
        match self {
            Hook::Xdp => "xdp",
            Hook::Tc => "tc",
        }
    }
}

/// A build of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Variant {
    pub hook: Hook,
    /// XDP sends by redirection only, also by the interface that a packet came in by: a veth hands on what
    /// XDP_TX leaves with it only where a program hangs on its other end (veth_xdp_flush).
    pub redirect_only: bool,
}

/// How large the maps are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Buckets of the flow table, a power of two.
    pub buckets: u32,
    pub frontends: u32,
    pub dests: u32,
    /// Elements of two entries.
    pub rings: u32,
    pub vips: u32,
}

/// What is enough for most: as in maps.h.
const LEAST: Sizes = Sizes { buckets: 0, frontends: 4096, dests: 65_536, rings: 1 << 20, vips: 8192 };

impl Sizes {
    /// For `flows` flows, each of which has an entry for either direction, and at least `needed`.
    pub fn new(flows: u32, needed: Capacity) -> Self {
        // Twice what is there now, so that a reload may add as much again.
        let room = |needed: u32, least: u32| {
            needed.saturating_mul(2).max(least).checked_next_power_of_two().unwrap_or(1 << 31)
        };
        Self {
            buckets: buckets(flows),
            frontends: room(needed.frontends, LEAST.frontends),
            dests: room(needed.dests, LEAST.dests),
            rings: room(needed.ring_entries / 2, LEAST.rings),
            vips: room(needed.vips, LEAST.vips),
        }
    }

    pub fn hold(&self, needed: Capacity) -> bool {
        self.frontends >= needed.frontends
            && self.dests >= needed.dests
            && self.rings.saturating_mul(2) >= needed.ring_entries
            && self.vips >= needed.vips
    }

    fn of(&self, map: &str) -> Option<u32> {
        match map {
            "flows" => Some(self.buckets),
            "marks" => Some(self.buckets.div_ceil(8)),
            "frontends" | "turns" => Some(self.frontends),
            "dests" | "hops" | "loads" | "stats" => Some(self.dests),
            "rings" => Some(self.rings),
            "vips" => Some(self.vips),
            _ => None,
        }
    }
}

/// Two entries for each flow, eight to a bucket.
fn buckets(flows: u32) -> u32 {
    flows.div_ceil(WAYS as u32 / 2).max(2).checked_next_power_of_two().unwrap_or(1 << 31)
}

/// Whether the maps that are there may be gone on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pinned {
    Absent,
    Usable(Sizes),
    /// In words.
    Unusable(String),
}

/// Looks at what an lb before this one left behind. What serves more than is needed is good enough, but
/// for the flow table, whose size is somebody's wish.
pub fn inspect(directory: &Directory, wanted: Sizes) -> Pinned {
    let path = directory.maps();
    if !path.is_dir() {
        return match directory.has_other_layout() {
            true => Pinned::Unusable("they are of another version of lb".to_owned()),
            false => Pinned::Absent,
        };
    }
    let size = |name: &str| MapInfo::from_pin(path.join(name)).map(|info| info.max_entries()).ok();
    if let Some(missing) = NAMES.iter().find(|name| size(name).is_none()) {
        return Pinned::Unusable(format!("the map `{missing}` is missing"));
    }
    let of = |name: &str| size(name).unwrap_or(0);
    let found = Sizes {
        buckets: of("flows"),
        frontends: of("frontends"),
        dests: of("dests"),
        rings: of("rings"),
        vips: of("vips"),
    };
    if found.buckets != wanted.buckets {
        let entries = |sizes: Sizes| u64::from(sizes.buckets) * WAYS as u64;
        return Pinned::Unusable(format!(
            "the flow table has {} entries, and {} are wanted",
            entries(found),
            entries(wanted)
        ));
    }
    Pinned::Usable(found)
}

/// A program, loaded and verified, over the maps in `maps` (which are made where they
/// are missing).
pub fn load(variant: Variant, maps: &Path, sizes: Sizes) -> Result<Ebpf, Error> {
    fs::create_dir_all(maps).map_err(|source| Error::Directory { path: maps.to_owned(), source })?;
    load_over(variant, Some(maps), sizes)
}

/// As [`load`]; without a place, over maps of its own that go with it.
pub(crate) fn load_over(variant: Variant, maps: Option<&Path>, sizes: Sizes) -> Result<Ebpf, Error> {
    let redirect_only = Some(u32::from(variant.redirect_only));
    let build = match variant.hook {
        Hook::Xdp => {
            Build { what: "the program for xdp", object: object::XDP, program: object::PROGRAM, redirect_only }
        }
        Hook::Tc => {
            Build { what: "the program for tc", object: object::TC, program: object::PROGRAM, redirect_only: None }
        }
    };
    build.verified(maps, sizes)
}

/// The program that enters flows of other nodes, over maps that are there.
pub fn load_entry(maps: &Path, sizes: Sizes) -> Result<Ebpf, Error> {
    load_entry_over(Some(maps), sizes)
}

pub(crate) fn load_entry_over(maps: Option<&Path>, sizes: Sizes) -> Result<Ebpf, Error> {
    let build = Build { what: ENTRY, object: object::SYNC, program: object::SYNC_PROGRAM, redirect_only: None };
    build.verified(maps, sizes)
}

/// An object with one program.
struct Build {
    /// In words.
    what: &'static str,
    object: &'static [u8],
    program: &'static str,
    /// Where the program has such a constant.
    redirect_only: Option<u32>,
}

impl Build {
    fn verified(&self, maps: Option<&Path>, sizes: Sizes) -> Result<Ebpf, Error> {
        match self.load(maps, sizes, VerifierLogLevel::default()) {
            // The trace of a large program fills every buffer before its end. Without it the reason is left.
            Err(error) if error.has_a_cut_log() => self.load(maps, sizes, VerifierLogLevel::STATS),
            result => result,
        }
    }

    fn load(&self, maps: Option<&Path>, sizes: Sizes, log: VerifierLogLevel) -> Result<Ebpf, Error> {
        let mask = sizes.buckets - 1;
        let mut loader = over(maps, sizes, &mask);
        loader.verifier_log_level(log);
        if let Some(redirect_only) = &self.redirect_only {
            loader.override_global("redirect_only", redirect_only, true);
        }
        let mut ebpf =
            loader.load(self.object).map_err(|error| Error::object(self.what, maps.unwrap_or(Path::new("")), error))?;
        match ebpf.program_mut(self.program) {
            Some(Program::Xdp(program)) => program.load(),
            Some(Program::SchedClassifier(program)) => program.load(),
            _ => return Err(Error::NoProgram(self.program)),
        }
        .map_err(|error| Error::program(self.what, &error))?;
        Ok(ebpf)
    }
}

fn over<'a>(maps: Option<&Path>, sizes: Sizes, mask: &'a u32) -> EbpfLoader<'a> {
    let mut loader = EbpfLoader::new();
    loader.override_global("bucket_mask", mask, true);
    for name in NAMES {
        if let Some(maps) = maps {
            loader.map_pin_path(name, maps.join(name));
        }
        if let Some(size) = sizes.of(name) {
            loader.map_max_entries(name, size);
        }
    }
    loader
}

pub fn xdp(ebpf: &mut Ebpf) -> Result<&mut Xdp, Error> {
    let program = ebpf.program_mut(object::PROGRAM).ok_or(Error::NoProgram(object::PROGRAM))?;
    program.try_into().map_err(|_| Error::NoProgram(object::PROGRAM))
}

pub fn tc(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier, Error> {
    let program = ebpf.program_mut(object::PROGRAM).ok_or(Error::NoProgram(object::PROGRAM))?;
    program.try_into().map_err(|_| Error::NoProgram(object::PROGRAM))
}

/// Removes what a start that did not get far has left.
pub fn discard(maps: &Path) {
    if let Err(error) = directory::remove(maps) {
        tracing::warn!(path = %maps.display(), %error, "cannot remove maps that nobody uses");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_has_two_entries() {
        assert_eq!(buckets(1_000_000), 262_144);
        assert_eq!(buckets(1024), 256);
        assert_eq!(buckets(1), 2);
        assert_eq!(buckets(u32::MAX), 1 << 30);
    }

    #[test]
    fn there_is_room_for_as_much_again() {
        let needed = Capacity { frontends: 3000, dests: 40_000, ring_entries: 5_000_000, vips: 10, snat: 0 };
        let sizes = Sizes::new(1024, needed);
        assert_eq!(sizes, Sizes { buckets: 256, frontends: 8192, dests: 131_072, rings: 8_388_608, vips: 8192 });
    }
}
