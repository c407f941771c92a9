//! From the configuration to what this node is to run.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use lb_core::config::{
    Config, Node, Track, Tracked, VirtualRouter, VrrpAuth, VrrpHmac, VrrpPeers, VrrpPreempt, VrrpVersion,
};

use smallvec::SmallVec;

use crate::error::Error;
use crate::machine::{Garp, Preempt, Settings};
use crate::packet::{Auth, Family, HmacSettings, Key, Peers, Version, Wire, advertised};
use crate::priority::{Tracker, Tracking, Weight};

/// One virtual router.
#[derive(Debug, Clone)]
pub struct Desired {
    pub name: Arc<str>,
    pub group: Option<Arc<str>>,
    pub place: Place,
    pub accept: bool,
    /// With the configured priority.
    pub settings: Settings,
    pub wire: Wire,
    /// What adverts are sent from; `None`: what the interface has.
    pub source: Option<IpAddr>,
    pub addresses: Vec<IpNet>,
    /// Between two announcements.
    pub spacing: Duration,
    pub track: Vec<Track>,
}

/// What makes it another virtual router when it changes: one begins, and one ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub interface: String,
    pub family: Family,
    pub vrid: u8,
    pub version: Version,
    pub multicast: bool,
    pub virtual_mac: bool,
}

/// All of them, in the order of the file; reads the files of secrets.
pub fn desired(config: &Config) -> Result<Vec<Desired>, Error> {
    config.vrrp.iter().map(|router| one(config, router)).collect()
}

fn one(config: &Config, router: &VirtualRouter) -> Result<Desired, Error> {
    let node = config.node();
    let family = if router.is_v6() { Family::V6 } else { Family::V4 };
    let version = version(router.version);
    let place = Place {
        interface: router.interface.clone(),
        family,
        vrid: router.vrid,
        version,
        multicast: router.peers == VrrpPeers::Multicast,
        virtual_mac: router.virtual_mac,
    };
    Ok(Desired {
        name: router.name.clone(),
        group: router.group.clone(),
        accept: router.accept,
        settings: settings(router, node, family),
        wire: Wire {
            version,
            family,
            vrid: router.vrid,
            interval: router.interval,
            peers: peers(config, router),
            auth: auth(router)?,
            pseudo_header: router.pseudo_header,
        },
        source: node.filter(|_| !place.multicast).and_then(|node| node.address_of(router.is_v6())),
        addresses: router.addresses.clone(),
        spacing: router.garp.spacing,
        track: router.track.clone(),
        place,
    })
}

fn settings(router: &VirtualRouter, node: Option<&Node>, family: Family) -> Settings {
    let addresses: Vec<IpAddr> = router.addresses.iter().map(IpNet::addr).collect();
    Settings {
        version: version(router.version),
        family,
        vrid: router.vrid,
        priority: router.priority_of(node),
        interval: router.interval,
        preempt: match router.preempt {
            VrrpPreempt::After(delay) => Preempt::After(delay),
            VrrpPreempt::Never => Preempt::Never,
        },
        garp: Garp { repeat: router.garp.repeat, again: router.garp.again, refresh: router.garp.refresh },
        addresses: advertised(&addresses, family),
    }
}

fn version(version: VrrpVersion) -> Version {
    match version {
        VrrpVersion::V2 => Version::V2,
        VrrpVersion::V3 => Version::V3,
    }
}

fn peers(config: &Config, router: &VirtualRouter) -> Peers {
    match router.peers {
        VrrpPeers::Multicast => Peers::Multicast,
        VrrpPeers::Unicast => {
            Peers::Unicast(config.other_nodes().filter_map(|node| node.address_of(router.is_v6())).collect())
        }
    }
}

fn auth(router: &VirtualRouter) -> Result<Auth, Error> {
    Ok(match &router.auth {
        VrrpAuth::None => Auth::None,
        VrrpAuth::Password(password) => Auth::Password(*password),
        VrrpAuth::Hmac(hmac) => {
            Auth::Hmac(signing(hmac).map_err(|source| Error::Secret { router: router.name.clone(), source })?)
        }
    })
}

fn signing(hmac: &VrrpHmac) -> io::Result<HmacSettings> {
    let keys = hmac.keys.iter().map(|key| {
        let signs = Key::new(&key.read()?).ok_or(io::ErrorKind::InvalidData)?;
        Ok((key.id, signs))
    });
    let keys = keys.collect::<io::Result<_>>()?;
    Ok(HmacSettings { keys, active: hmac.active, window: hmac.window, required: hmac.required })
}

impl Desired {
    /// Where adverts go.
    pub fn destinations(&self) -> SmallVec<[IpAddr; 4]> {
        match &self.wire.peers {
            Peers::Multicast => SmallVec::from_slice(&[self.place.family.group()]),
            Peers::Unicast(peers) => SmallVec::from_slice(peers),
        }
    }

    /// With everything up, until it was looked at.
    pub fn tracking(&self) -> Tracking {
        let trackers = self.track.iter().map(|track| Tracker {
            name: name(&track.what),
            weight: track.weight.map_or(Weight::Fault, Weight::Add),
            is_up: true,
        });
        Tracking::new(self.settings.priority, trackers.collect())
    }
}

/// As status and log have it.
fn name(tracked: &Tracked) -> String {
    match tracked {
        Tracked::Interface(name) => format!("interface {name}"),
        Tracked::Pool { pool, .. } => format!("pool {pool}"),
        Tracked::Script(script) => format!("script {}", script.command.first().map_or("", String::as_str)),
    }
}
