//! The control plane: tables of schedulers, and a large configuration on its way into the maps.

use std::collections::HashSet;
use std::fmt::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use lb_core::config;
use lb_core::scheduler::maglev;
use lb_core::snapshot::Snapshot;
use lb_l4::desired::{Clock, Desired, Host};
use lb_l4::directory::Directory;
use lb_l4::loader::{self, Hook, Sizes, Variant};
use lb_l4::maps::Maps;
use lb_l4::plan::{Layout, Operation, entries_needed};
use nix::time::ClockId;
use serde::{Deserialize, Serialize};

use crate::packets::now;

const RING: usize = 65_537;
const FRONTENDS: usize = 1000;
const BACKENDS: usize = 10;

#[derive(Deserialize)]
pub struct Request {
    rounds: u32,
}

#[derive(Serialize)]
pub struct Step {
    title: String,
    /// One of each round.
    milliseconds: Vec<f64>,
}

pub fn measure(request: &Request) -> Result<Vec<Step>> {
    let mut steps = Steps::default();
    for _ in 0..request.rounds {
        rings(&mut steps)?;
        for scheduler in ["round-robin", "maglev"] {
            reloads(scheduler, &mut steps)?;
        }
    }
    Ok(steps.0)
}

#[derive(Default)]
struct Steps(Vec<Step>);

impl Steps {
    fn timed<T>(&mut self, title: impl Into<String>, work: impl FnOnce() -> T) -> Result<T> {
        let title = title.into();
        let before = now(ClockId::CLOCK_MONOTONIC)?;
        let result = work();
        let milliseconds = (now(ClockId::CLOCK_MONOTONIC)? - before).as_secs_f64() * 1000.0;
        match self.0.iter_mut().find(|step| step.title == title) {
            Some(step) => step.milliseconds.push(milliseconds),
            None => self.0.push(Step { title, milliseconds: vec![milliseconds] }),
        }
        Ok(result)
    }
}

/// Tables of the largest size.
fn rings(steps: &mut Steps) -> Result<()> {
    let store = Store::open(Sizes { buckets: 2, frontends: 1, dests: 1, rings: RING as u32, vips: 1 })?;
    for backends in [10, 100] {
        let members: Vec<maglev::Member> = (1..=backends).map(|n| (n * 0x9E37_79B9_7F4A_7C15, 1)).collect();
        let title = format!("maglev table of {RING} entries, {backends} backends: compute");
        let ring = steps.timed(title, || maglev::ring(&members, RING))?;
        let write = Operation::WriteRing { base: 0, entries: ring.into_iter().map(u32::from).collect() };
        steps.timed(format!("the same: write into the map, {backends} backends"), || store.maps.apply(&write))??;
    }
    store.close()
}

/// A configuration from nothing, and one in which each pool has lost a backend.
fn reloads(scheduler: &str, steps: &mut Steps) -> Result<()> {
    let first = configuration(scheduler, BACKENDS);
    let second = configuration(scheduler, BACKENDS - 1);
    let before = start(&first)?;
    let desired = Desired::of(&before, &Nowhere, CLOCK, &[]);
    let store = Store::open(Sizes::new(1 << 16, entries_needed(&desired)))?;
    let mut layout = Layout::empty(store.maps.capacity());

    let title = format!("{FRONTENDS} frontends of {BACKENDS} backends, {scheduler}");
    let desired = steps.timed(format!("{title}: compute all tables"), || Desired::of(&before, &Nowhere, CLOCK, &[]))?;
    steps.timed(format!("{title}: write all maps"), || store.write(&mut layout, &desired))??;
    let title = format!("{title}, one removed from each");
    let loaded = steps.timed(format!("{title}: read and check the file"), || load(&second))??;
    let after = steps.timed(format!("{title}: snapshot"), || Snapshot::build(loaded.0, loaded.1, 1, Some(&before)))?;
    let changed =
        steps.timed(format!("{title}: compute"), || Desired::of(&after, &Nowhere, CLOCK, &desired.frontends))?;
    steps.timed(format!("{title}: write"), || store.write(&mut layout, &changed))??;
    store.close()
}

const CLOCK: Clock = Clock { hz: 250 };

struct Nowhere;

impl Host for Nowhere {
    fn source(&self, _: IpAddr) -> Option<IpAddr> {
        None
    }

    fn source_beside(&self, _: IpAddr, _: &HashSet<IpAddr>) -> Option<IpAddr> {
        None
    }
}

fn start(text: &str) -> Result<Snapshot> {
    let (config, sha256) = load(text)?;
    Ok(Snapshot::build(config, sha256, 1, None))
}

fn load(text: &str) -> Result<(Arc<config::Config>, String)> {
    let loaded = config::load(text, Path::new("bench.yaml"), &|_| None).map_err(|problems| anyhow!("{problems}"))?;
    Ok((Arc::new(loaded.config), loaded.sha256))
}

fn configuration(scheduler: &str, backends: usize) -> String {
    let (mut frontends, mut pools) = ("frontends:\n".to_owned(), "pools:\n".to_owned());
    for number in 0..FRONTENDS {
        let (high, low) = (number / 250, number % 250);
        // Writing to a string cannot fail.
        let _ = writeln!(frontends, "  f{number}: {{ mode: nat, listen: \"10.{high}.{low}.1:80\", pool: p{number} }}");
        let list: Vec<String> = (0..backends).map(|n| format!("\"10.1{high}.{low}.{}:80\"", n + 10)).collect();
        let _ = writeln!(pools, "  p{number}: {{ scheduler: {scheduler}, backends: [{}] }}", list.join(", "));
    }
    frontends + &pools
}

/// Maps that no program looks at.
struct Store {
    directory: Directory,
    maps: Maps,
}

impl Store {
    fn open(sizes: Sizes) -> Result<Self> {
        let path = PathBuf::from(format!("/sys/fs/bpf/lb-bench-{}", std::process::id()));
        let directory = Directory::open(&path)?;
        loader::load(Variant { hook: Hook::Tc, redirect_only: false }, &directory.maps(), sizes)?;
        let maps = Maps::open(&directory.maps())?;
        Ok(Self { directory, maps })
    }

    #[expect(clippy::disallowed_methods, reason = "the layout wants to know when rings are given back")]
    fn write(&self, layout: &mut Layout, desired: &Desired) -> Result<()> {
        let change = layout.change(desired, Instant::now());
        ensure!(!change.deferred, "the maps are too small");
        for operation in &change.operations {
            self.maps.apply(operation)?;
        }
        Ok(())
    }

    fn close(self) -> Result<()> {
        drop(self.maps);
        Ok(self.directory.remove()?)
    }
}
