use std::net::IpAddr;
use std::time::Duration;

use thiserror::Error;

use super::Version;
use super::hmac::HmacError;

/// Why a packet is dropped. A dropped packet is counted under [`PacketError::label`] and changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PacketError {
    #[error("no IPv4 header of at least 20 bytes with its length")]
    IpHeader,
    #[error("IP protocol {got}, not 112")]
    Protocol { got: u8 },
    #[error("sent from {source_address} to {destination}, of another address family")]
    Family { source_address: IpAddr, destination: IpAddr },
    #[error("TTL or hop limit {got}, not 255")]
    Ttl { got: u8 },
    #[error("{got} bytes, fewer than {expected}")]
    Short { expected: usize, got: usize },
    #[error("version {got}, not {expected}")]
    Version { expected: Version, got: u8 },
    #[error("type {got}, not 1")]
    Type { got: u8 },
    #[error("virtual router {got}, not {expected}")]
    Vrid { expected: u8, got: u8 },
    #[error("lists no address")]
    NoAddresses,
    #[error("{got} bytes, where {count} addresses make {expected}")]
    Length { count: u8, expected: usize, got: usize },
    #[error("checksum {got:#06x}, not {expected:#06x}")]
    Checksum { expected: u16, got: u16 },
    #[error("an interval of zero")]
    ZeroInterval,
    #[error("an interval of {got:?}, not {expected:?}")]
    Interval { expected: Duration, got: Duration },
    #[error("authentication type {got}, not {expected}")]
    AuthType { expected: u8, got: u8 },
    #[error("another password")]
    Password,
    #[error("{0}")]
    Hmac(#[from] HmacError),
    #[error("sent to {got}, where {expected} is configured")]
    Destination { expected: &'static str, got: IpAddr },
    #[error("{got} is not among the peers")]
    Peer { got: IpAddr },
}

impl PacketError {
    /// All labels, so that a metric can show those that have not moved.
    pub const LABELS: [&'static str; 17] = [
        "ip_header",
        "protocol",
        "family",
        "ttl",
        "short",
        "version",
        "type",
        "vrid",
        "address_count",
        "length",
        "checksum",
        "interval",
        "auth",
        "stale",
        "replay",
        "destination",
        "peer",
    ];

    /// For `lb_vrrp_advert_errors_total{reason}`.
    pub fn label(&self) -> &'static str {
        match self {
            Self::IpHeader => "ip_header",
            Self::Protocol { .. } => "protocol",
            Self::Family { .. } => "family",
            Self::Ttl { .. } => "ttl",
            Self::Short { .. } => "short",
            Self::Version { .. } => "version",
            Self::Type { .. } => "type",
            Self::Vrid { .. } => "vrid",
            Self::NoAddresses => "address_count",
            Self::Length { .. } => "length",
            Self::Checksum { .. } => "checksum",
            Self::ZeroInterval | Self::Interval { .. } => "interval",
            Self::Hmac(HmacError::Stale { .. }) => "stale",
            Self::Hmac(HmacError::Replay) => "replay",
            Self::AuthType { .. } | Self::Password | Self::Hmac(_) => "auth",
            Self::Destination { .. } => "destination",
            Self::Peer { .. } => "peer",
        }
    }
}
