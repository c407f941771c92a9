//! Layer 4: frontends whose packets are forwarded in the kernel.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

/// `mode: nat`, `dr` or `tunnel`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Forward {
    pub method: Method,
    pub protocol: Transport,
    /// It exists in [`super::Config::pools`].
    pub pool: Arc<str>,
    pub timeouts: FlowTimeouts,
    pub on_backend_down: OnBackendDown,
    pub persistence: Option<Persistence>,
}

/// How a packet gets to its backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Addresses and ports are rewritten, there and back.
    Nat { snat: Snat },
    /// Only the MAC addresses change; replies go past lb.
    Dr,
    /// The packet is sent within another one (IPIP, IP6IP6); replies go past lb.
    Tunnel,
}

impl Method {
    /// The word in the file.
    pub fn as_str(&self) -> &'static str {
        match self {
            Method::Nat { .. } => "nat",
            Method::Dr => "dr",
            Method::Tunnel => "tunnel",
        }
    }
}

/// Whose address the backends see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Snat {
    /// The client's.
    Off,
    /// This node's own, on the interface towards the backend.
    Auto,
    /// One of these, all of the frontend's family.
    Addresses(Vec<IpAddr>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    Tcp,
    Udp,
}

/// What becomes of the flows of a backend that is Down or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBackendDown {
    /// The next packet gets another backend.
    Rebind,
    /// The client is told: RST, or port unreachable for datagrams.
    Reset,
    /// They stay where they are.
    Keep,
}

/// New flows of one client, or of one network of clients, go to the backend of the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Persistence {
    /// Since the last new flow.
    pub timeout: Duration,
    /// IPv4 clients that agree in so many bits are one; 1 to 32.
    pub netmask: u8,
    /// The same for IPv6; 1 to 128.
    pub netmask6: u8,
}

/// A flow without packets is forgotten after these, by its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FlowTimeouts {
    pub established: Duration,
    /// Not established yet.
    pub syn: Duration,
    /// One side has closed.
    pub fin: Duration,
    /// Both have, or one has reset.
    pub close: Duration,
    pub udp: Duration,
}

/// What all frontends of layer 4 share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct L4 {
    pub attach: Attach,
    /// `None`: chosen from the addresses in use.
    pub interfaces: Option<Vec<String>>,
    /// Entries of the flow table.
    pub flows: u32,
    /// For each core; above it flows are forwarded without an entry where the mode allows.
    pub new_flows_per_second: u32,
    /// Local ports for replaced client addresses.
    pub snat_ports: RangeInclusive<u16>,
    /// Already part of each [`Forward::timeouts`].
    pub timeouts: FlowTimeouts,
}

/// Where in the kernel layer 4 takes its packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Attach {
    /// XDP where driver and peers allow it and it loses no speed, else tc.
    Auto,
    Xdp,
    Tc,
}
