//! What layer 4 does, as `lb status`, `lb flows` and the metrics show it.

use std::collections::HashMap;

use lb_core::labelled::Labelled;
use lb_core::snapshot::Snapshot;
use serde::{Deserialize, Serialize};

use crate::abi::{Counter, Stats, WAYS, flow_state};
use crate::attach::Choice;
use crate::control::{Control, choose};
use crate::error::Error;
use crate::host::Host;
use crate::plan::key_of;
use crate::sweep::Tally;

/// Words of the states, as the command line and the metrics have them.
pub const STATES: [&str; flow_state::COUNT] =
    ["none", "syn", "syn_recv", "established", "fin", "time_wait", "closed", "udp_new", "udp"];

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    pub interfaces: Vec<Interface>,
    pub table: Table,
    /// By reason; those that never occurred are left out.
    #[serde(with = "lb_core::labelled")]
    pub drops: Labelled,
    /// What else happened; what never did is left out.
    #[serde(with = "lb_core::labelled")]
    pub events: Labelled,
    /// In the order of the file.
    pub frontends: Vec<Forwarded>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Interface {
    pub name: String,
    pub hook: String,
    pub why: String,
    pub warning: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Table {
    pub capacity: u64,
    /// In use when the table was walked last, some seconds ago at most.
    pub entries: u64,
    pub flows: u64,
    /// By state; those without any are left out.
    #[serde(with = "lb_core::labelled")]
    pub states: Labelled,
    /// By reason; those that never occurred are left out.
    #[serde(with = "lb_core::labelled")]
    pub evictions: Labelled,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Forwarded {
    pub name: String,
    pub pool: String,
    pub traffic: Traffic,
    pub backends: Vec<ForwardedTo>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ForwardedTo {
    /// As its pool names it.
    pub name: String,
    pub traffic: Traffic,
}

/// From clients is in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    pub packets_in: u64,
    pub bytes_in: u64,
    pub packets_out: u64,
    pub bytes_out: u64,
    /// Scheduled so far.
    pub flows_total: u64,
    /// Established TCP, and UDP that was answered.
    pub flows_active: u64,
    /// Half open, closing, or one datagram.
    pub flows_inactive: u64,
}

impl Control {
    pub fn report(&self, tally: &Tally) -> Report {
        let counters = self.maps.counters();
        let counted = |all: &[Counter]| {
            let value = |c: &Counter| (c.as_str().to_owned(), counters[*c as usize]);
            all.iter().map(value).filter(|(_, n)| *n > 0).collect::<Vec<_>>()
        };
        let states = STATES.iter().zip(tally.by_state()).filter(|(_, n)| *n > 0);
        Report {
            interfaces: self.interfaces(),
            table: Table {
                capacity: u64::from(self.maps.flows.count()) * WAYS as u64,
                entries: tally.entries,
                flows: tally.flows(),
                states: states.map(|(state, n)| ((*state).to_owned(), n)).collect(),
                evictions: counted(&Counter::EVICTIONS),
            },
            drops: counted(&Counter::DROPS),
            events: counted(&Counter::EVENTS),
            frontends: self.forwarded(),
        }
    }

    fn interfaces(&self) -> Vec<Interface> {
        self.attached.iter().cloned().map(Interface::from).collect()
    }

    fn forwarded(&self) -> Vec<Forwarded> {
        let of = |frontend: &crate::desired::DesiredFrontend| {
            let backends = frontend.dests.iter().map(|dest| ForwardedTo {
                name: dest.name.to_string(),
                traffic: self
                    .layout
                    .dest_place_of(&key_of(frontend, dest))
                    .map_or_else(Traffic::default, |i| self.traffic(i)),
            });
            let place = self.layout.frontend_place_of(&frontend.key);
            // Backends that have gone count as well, as long as their places are not somebody else's: the
            // sum does not go down with them.
            let all = place.into_iter().flat_map(|place| self.layout.dest_places_of(place)).map(|i| self.traffic(i));
            Forwarded {
                name: frontend.name.to_string(),
                pool: frontend.pool.to_string(),
                traffic: all.sum(),
                backends: backends.collect(),
            }
        };
        self.desired.frontends.iter().map(of).collect()
    }

    fn traffic(&self, dest: u32) -> Traffic {
        let Stats { packets_in, bytes_in, packets_out, bytes_out, flows } = self.maps.stats(dest);
        let load = self.maps.load(dest);
        Traffic {
            packets_in,
            bytes_in,
            packets_out,
            bytes_out,
            flows_total: flows,
            flows_active: u64::from(load.active),
            flows_inactive: u64::from(load.inactive),
        }
    }

    /// Frontend and backend of each place, for those who read the flow table.
    pub fn names(&self) -> HashMap<u32, (std::sync::Arc<str>, std::sync::Arc<str>)> {
        let each = self.desired.frontends.iter().flat_map(|f| f.dests.iter().map(move |d| (f, d)));
        each.filter_map(|(f, d)| Some((self.layout.dest_place_of(&key_of(f, d))?, (f.name.clone(), d.name.clone()))))
            .collect()
    }
}

/// Where a configuration would take its packets on this host; nothing is attached.
pub fn interfaces(snapshot: &Snapshot) -> Result<Vec<Interface>, Error> {
    let host = Host::look().map_err(Error::Netlink)?;
    Ok(choose(snapshot, &host)?.into_iter().map(Interface::from).collect())
}

impl From<Choice> for Interface {
    fn from(choice: Choice) -> Self {
        Self { hook: choice.hook.as_str().to_owned(), name: choice.name, why: choice.why, warning: choice.warning }
    }
}

impl std::iter::Sum for Traffic {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |a, b| Self {
            packets_in: a.packets_in + b.packets_in,
            bytes_in: a.bytes_in + b.bytes_in,
            packets_out: a.packets_out + b.packets_out,
            bytes_out: a.bytes_out + b.bytes_out,
            flows_total: a.flows_total + b.flows_total,
            flows_active: a.flows_active + b.flows_active,
            flows_inactive: a.flows_inactive + b.flows_inactive,
        })
    }
}
