//! What virtual routers track.

use std::time::Duration;

use super::vrrp::Known;
use super::{Validator, collect};
use crate::config::decode::{At, Entry, List, OneOrMore, Scalar};
use crate::config::diagnostic::{Help, Span, quoted};
use crate::config::model::{Track, TrackScript, Tracked};
use crate::config::raw;

impl Validator<'_, '_> {
    pub(super) fn trackers(&mut self, entry: &Entry<List<raw::Track>>, known: Known<'_>) -> Option<Vec<Track>> {
        match entry {
            Entry::Absent => Some(Vec::new()),
            Entry::Bad => None,
            Entry::Given(list) => collect(list.value.items.iter().map(|item| self.tracker(item, known)).collect()),
        }
    }

    fn tracker(&mut self, item: &At<raw::Track>, known: Known<'_>) -> Option<Track> {
        let weight = self.weight(&item.value.weight);
        let what = self.tracked(item, known);
        Some(Track { what: what?, weight: weight? })
    }

    /// `Some(None)`: down is a fault.
    fn weight(&mut self, entry: &Entry<i16>) -> Option<Option<i16>> {
        match entry {
            Entry::Absent => Some(None),
            Entry::Bad => None,
            Entry::Given(at) if at.value == 0 => {
                let help = Help::Text("without `weight`, down is a fault".to_owned());
                self.problems.error_with(at.span, "a weight of 0 changes nothing", help);
                None
            }
            Entry::Given(at) => Some(Some(at.value)),
        }
    }

    fn tracked(&mut self, item: &At<raw::Track>, known: Known<'_>) -> Option<Tracked> {
        let raw = &item.value;
        let given = [!raw.interface.is_absent(), !raw.pool.is_absent(), !raw.script.is_absent()];
        match given.iter().filter(|given| **given).count() {
            0 => return self.refuse(item.span, "a tracker needs one of `interface`, `pool`, `script`"),
            1 => {}
            _ => return self.refuse(item.span, "a tracker has one of `interface`, `pool`, `script`"),
        }
        self.keys_of_others(raw)?;
        if let Some(interface) = raw.interface.given() {
            return self.interface_name(interface).map(Tracked::Interface);
        }
        if let Some(pool) = raw.pool.given() {
            return self.tracked_pool(pool, raw, known);
        }
        raw.script.given().and_then(|script| self.tracked_script(script, raw)).map(Tracked::Script)
    }

    /// Keys that mean nothing to this kind of tracker.
    fn keys_of_others(&mut self, raw: &raw::Track) -> Option<()> {
        let of_pools = [("below", raw.below.key())];
        let of_scripts = [
            ("interval", raw.interval.key()),
            ("timeout", raw.timeout.key()),
            ("rise", raw.rise.key()),
            ("fall", raw.fall.key()),
        ];
        let misplaced = |keys: &[(&'static str, Option<Span>)], owner: &'static str, is_owner: bool| {
            let given = keys.iter().filter(move |_| !is_owner).filter_map(|(key, span)| Some((*key, (*span)?, owner)));
            given.collect::<Vec<_>>()
        };
        let mut wrong = misplaced(&of_pools, "pool", !raw.pool.is_absent());
        wrong.extend(misplaced(&of_scripts, "script", !raw.script.is_absent()));
        for (key, span, owner) in &wrong {
            self.problems.error(*span, format!("`{key}` stands beside `{owner}`"));
        }
        wrong.is_empty().then_some(())
    }

    fn tracked_pool(&mut self, name: &At<String>, raw: &raw::Track, known: Known<'_>) -> Option<Tracked> {
        let pool = self.pool_name(name)?;
        let model = known.pools?.iter().find(|model| model.name == pool)?;
        let (below, backends) = (raw.below(), model.backends.len() + model.backup.len());
        if below > backends {
            let span = raw.below.given().map_or(name.span, |below| below.span);
            return self.refuse(span, format!("with {backends} in all, pool `{pool}` is always below {below}"));
        }
        if model.check.is_none() {
            let message = format!("pool {} has no `check`, so nobody notices when it is down", quoted(&pool));
            self.problems.warning(name.span, message, None);
        }
        Some(Tracked::Pool { pool, below })
    }

    fn tracked_script(&mut self, script: &At<OneOrMore<String>>, raw: &raw::Track) -> Option<TrackScript> {
        let command = self.command(script, "a script");
        let timeout = self.track_timeout(raw);
        let (interval, rise, fall) = (raw.interval(), raw.rise(), raw.fall());
        Some(TrackScript { command: command?, interval, timeout: timeout?, rise, fall })
    }

    fn track_timeout(&mut self, raw: &raw::Track) -> Option<Duration> {
        let interval = raw.interval();
        let at = match &raw.timeout {
            Entry::Absent => return Some(interval / 2),
            Entry::Bad => return None,
            Entry::Given(at) => at,
        };
        if at.value >= interval {
            let help = Help::Text(format!("`interval` is {}", interval.written()));
            self.problems.error_with(at.span, "`timeout` must be shorter than `interval`", help);
            return None;
        }
        Some(at.value)
    }
}
