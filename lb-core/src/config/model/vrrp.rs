//! The machines that share a file, and the addresses that one of them holds at a time.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;

use super::Config;

/// A machine that shares the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Its host name, or what `--node` says.
    pub name: Arc<str>,
    /// Its own address: of every family that the other nodes reach it by.
    pub address: IpAddr,
    /// The second one, where `address` is IPv4.
    pub address6: Option<Ipv6Addr>,
    /// 1 to 255; 255 owns the addresses.
    pub priority: u8,
}

impl Node {
    pub fn address_of(&self, v6: bool) -> Option<IpAddr> {
        match self.address.is_ipv6() == v6 {
            true => Some(self.address),
            false if v6 => self.address6.map(IpAddr::V6),
            false => None,
        }
    }
}

impl Config {
    /// This node; `None` where the file has no nodes, or was read without asking which one this is.
    pub fn node(&self) -> Option<&Node> {
        self.nodes.get(self.this_node?)
    }

    /// All but this one.
    pub fn other_nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().enumerate().filter(|(index, _)| Some(*index) != self.this_node).map(|(_, node)| node)
    }
}

/// Addresses that one node holds and the others take over.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VirtualRouter {
    pub name: Arc<str>,
    pub interface: String,
    /// 1 to 255.
    pub vrid: u8,
    pub version: VrrpVersion,
    /// v3: 10 ms to 40.95 s, a multiple of 10 ms; v2: whole seconds, 1 to 255.
    pub interval: Duration,
    pub priority: VrrpPriority,
    pub preempt: VrrpPreempt,
    pub peers: VrrpPeers,
    /// 1 to 1000 of one family, with their host part; in the order of the file.
    pub addresses: Vec<IpNet>,
    pub garp: VrrpGarp,
    pub track: Vec<Track>,
    /// Those with the same name are active together.
    pub group: Option<Arc<str>>,
    pub auth: VrrpAuth,
    /// The addresses stand on an interface of their own, with the virtual MAC address.
    pub virtual_mac: bool,
    /// `false`: what is sent to the addresses themselves is dropped; layer 4 takes its share before.
    pub accept: bool,
    /// The checksum that is sent in v3 over IPv4 covers a pseudo-header.
    pub pseudo_header: bool,
    /// Program and arguments, no shell; empty: none.
    pub notify: Vec<String>,
}

impl VirtualRouter {
    pub fn is_v6(&self) -> bool {
        self.addresses.first().is_some_and(|address| address.addr().is_ipv6())
    }

    /// Configured priority of a node, or of a machine whose file has no nodes.
    pub fn priority_of(&self, node: Option<&Node>) -> u8 {
        match (&self.priority, node) {
            (VrrpPriority::One(priority), _) => *priority,
            (VrrpPriority::ByNode(of), Some(node)) => of.get(&node.name).copied().unwrap_or(node.priority),
            (VrrpPriority::ByNode(_), None) => DEFAULT_PRIORITY,
        }
    }
}

/// Of a node that says nothing (RFC 9568 section 5.2.4).
pub const DEFAULT_PRIORITY: u8 = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum VrrpVersion {
    /// RFC 3768.
    V2,
    /// RFC 9568.
    V3,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VrrpPriority {
    /// Of whoever reads the file.
    One(u8),
    /// Of nodes that have another one here than everywhere else; all of them exist.
    ByNode(BTreeMap<Arc<str>, u8>),
}

/// What a backup does about an active router of lower priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VrrpPreempt {
    After(Duration),
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum VrrpPeers {
    /// [`Config::other_nodes`]; there is at least one, and all have an address of the family.
    Unicast,
    Multicast,
}

/// How the addresses are announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct VrrpGarp {
    /// Frames for each address at once.
    pub repeat: u8,
    /// As many again after this.
    pub again: Option<Duration>,
    /// Between two frames; zero: none.
    pub spacing: Duration,
    /// One for each address, ever so often.
    pub refresh: Option<Duration>,
}

/// What lowers the priority, or is a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Track {
    pub what: Tracked,
    /// Below zero: added while it is down; above zero: added while it is up; `None`: down is Fault.
    pub weight: Option<i16>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tracked {
    Interface(String),
    /// Down while fewer backends than `below` are available. The pool exists in [`Config::pools`].
    Pool {
        pool: Arc<str>,
        below: usize,
    },
    Script(TrackScript),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrackScript {
    /// Program and arguments, no shell; exit code 0 is up.
    pub command: Vec<String>,
    pub interval: Duration,
    pub timeout: Duration,
    /// Successes in a row that turn down into up.
    pub rise: u32,
    /// Failures in a row that turn up into down.
    pub fall: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VrrpAuth {
    None,
    /// v2 only: in clear in every advert; shorter ones end in zeros.
    Password([u8; 8]),
    /// v3 only.
    Hmac(VrrpHmac),
}

impl VrrpAuth {
    /// Those that are in files.
    pub fn keys(&self) -> &[HmacKey] {
        match self {
            VrrpAuth::Hmac(hmac) => &hmac.keys,
            VrrpAuth::None | VrrpAuth::Password(_) => &[],
        }
    }
}

/// The same on all nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VrrpHmac {
    /// At least one; their ids differ.
    pub keys: Vec<HmacKey>,
    /// The id of one of them: it signs what is sent.
    pub active: u8,
    /// How far the clocks of two nodes may be apart.
    pub window: Duration,
    /// Whether an advert without a signature is dropped.
    pub required: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HmacKey {
    pub id: u8,
    pub secret: Secret,
}

impl HmacKey {
    /// As keepalived has it.
    const BYTES: RangeInclusive<usize> = 32..=64;

    /// As [`Secret::read`].
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let bytes = self.secret.read()?;
        if Self::BYTES.contains(&bytes.len()) {
            return Ok(bytes);
        }
        let (least, most) = Self::BYTES.into_inner();
        let why = format!("a key has {least} to {most} bytes, not {}", bytes.len());
        Err(self.secret.error(io::ErrorKind::InvalidData, &why))
    }
}

/// A file with something that only the nodes know. It is read when it is needed, and again on every reload; the
/// configuration never holds what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Secret(pub PathBuf);

impl Secret {
    /// The bytes of the file, without line breaks at its end; never empty. The error names the file.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = std::fs::read(&self.0).map_err(|error| self.error(error.kind(), &error))?;
        while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            bytes.pop();
        }
        if bytes.is_empty() {
            Err(self.error(io::ErrorKind::InvalidData, &"there is nothing in it"))
        } else {
            Ok(bytes)
        }
    }

    fn error(&self, kind: io::ErrorKind, why: &dyn Display) -> io::Error {
        io::Error::new(kind, format!("{}: {why}", self.0.display()))
    }
}

/// What the nodes tell each other besides VRRP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sync {
    /// UDP, on the nodes' own addresses.
    pub port: u16,
    /// `None`: datagrams are not signed.
    pub secret: Option<Secret>,
    /// Flows of layer 4 are known to all nodes.
    pub flows: bool,
}

impl Default for Sync {
    fn default() -> Self {
        Self { port: 9619, secret: None, flows: true }
    }
}
