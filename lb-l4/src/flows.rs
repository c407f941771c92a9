//! The flow table, read for a person: listed, filtered, counted. Nothing is locked; an entry that changes
//! while it is read is passed over.

use std::collections::{BTreeMap, HashMap};
use std::mem::offset_of;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Acquire;

use serde::{Deserialize, Serialize};

use crate::abi::{Addr, Bucket, Flow, FlowKey, WAYS, flow_flag, flow_state};
use crate::maps::Maps;
use crate::report::STATES;
use crate::sweep::is_past;

/// All that is given must agree.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Query {
    pub frontend: Option<String>,
    /// As its pool names it.
    pub backend: Option<String>,
    /// One of [`STATES`].
    pub state: Option<String>,
    /// At most so many are listed.
    pub limit: usize,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Listing {
    pub flows: Vec<FlowLine>,
    /// All that agree, listed or not.
    pub total: u64,
    pub by_state: BTreeMap<String, u64>,
    /// `FRONTEND BACKEND`.
    pub by_backend: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowLine {
    pub protocol: String,
    pub client: SocketAddr,
    pub vip: SocketAddr,
    pub frontend: String,
    pub backend: String,
    pub state: String,
    /// Since the first packet.
    pub age_seconds: u64,
    /// Without a packet it is forgotten then.
    pub expires_seconds: u64,
    /// What the backend sees in place of the client, where it is replaced.
    pub snat: Option<SocketAddr>,
}

/// Frontend and backend by the place of a destination.
pub type Names = HashMap<u32, (Arc<str>, Arc<str>)>;

/// What is needed to read times.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    pub jiffies: u32,
    pub hz: u32,
}

pub fn list(maps: &Maps, names: &Names, now: Now, query: &Query) -> Listing {
    let mut listing = Listing { flows: vec![], total: 0, by_state: BTreeMap::new(), by_backend: BTreeMap::new() };
    for flow in forward_flows(maps, now) {
        let line = line(&flow, names, now);
        if !query.agrees(&line) {
            continue;
        }
        listing.total += 1;
        *listing.by_state.entry(line.state.clone()).or_default() += 1;
        *listing.by_backend.entry(format!("{} {}", line.frontend, line.backend)).or_default() += 1;
        if listing.flows.len() < query.limit {
            listing.flows.push(line);
        }
    }
    listing
}

/// The entry of a packet, if there is one that has not expired.
pub fn find(maps: &Maps, key: &FlowKey, now: Now) -> Option<Flow> {
    entries(maps, now).find(|flow| flow.key == *key)
}

/// From clients to backends; the entries of replies say nothing new.
fn forward_flows(maps: &Maps, now: Now) -> impl Iterator<Item = Flow> {
    entries(maps, now).filter(|flow| flow.flags & flow_flag::REPLY == 0)
}

fn entries(maps: &Maps, now: Now) -> impl Iterator<Item = Flow> {
    let buckets = 0..maps.flows.count();
    let ways = buckets.flat_map(|bucket| (0..WAYS).map(move |way| (bucket, way)));
    ways.filter_map(move |(bucket, way)| entry(maps, bucket, way)).filter(move |f| !is_past(now.jiffies, f.expires))
}

fn entry(maps: &Maps, bucket: u32, way: usize) -> Option<Flow> {
    let tag = maps.flows.word(bucket, offset_of!(Bucket, tags) + way * 4);
    let before = tag.load(Acquire);
    if before == 0 {
        return None;
    }
    let flow: Flow = maps.flows.read(bucket, offset_of!(Bucket, ways) + way * size_of::<Flow>());
    (tag.load(Acquire) == before).then_some(flow)
}

fn line(flow: &Flow, names: &Names, now: Now) -> FlowLine {
    let seconds = |jiffies: u32| u64::from(jiffies / now.hz.max(1));
    let unnamed = || (Arc::from("-"), Arc::from(IpAddr::from(flow.new_dst).to_string()));
    let (frontend, backend) = names.get(&flow.dest).cloned().unwrap_or_else(unnamed);
    let is_snat = flow.flags & flow_flag::SNAT != 0;
    FlowLine {
        protocol: protocol(flow.key.proto),
        client: socket(flow.key.src, flow.key.sport.into()),
        vip: socket(flow.key.dst, flow.key.dport.into()),
        frontend: frontend.to_string(),
        backend: backend.to_string(),
        state: STATES[usize::from(flow.state).min(flow_state::COUNT - 1)].to_owned(),
        age_seconds: seconds(now.jiffies.wrapping_sub(flow.created)),
        expires_seconds: seconds(flow.expires.wrapping_sub(now.jiffies)),
        snat: is_snat.then(|| socket(flow.new_src, flow.new_sport.into())),
    }
}

pub fn socket(address: Addr, port: u16) -> SocketAddr {
    SocketAddr::new(address.into(), port)
}

pub fn protocol(number: u8) -> String {
    match i32::from(number) {
        libc::IPPROTO_TCP => "tcp".to_owned(),
        libc::IPPROTO_UDP => "udp".to_owned(),
        libc::IPPROTO_ICMP => "icmp".to_owned(),
        libc::IPPROTO_ICMPV6 => "icmpv6".to_owned(),
        other => other.to_string(),
    }
}

impl Query {
    fn agrees(&self, line: &FlowLine) -> bool {
        let is = |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
        is(&self.frontend, &line.frontend) && is(&self.backend, &line.backend) && is(&self.state, &line.state)
    }
}
