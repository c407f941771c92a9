//! Adverts and announcements as bytes. Written by hand; nothing in here panics, whatever it is given.
//!
//! | file | what it does |
//! |---|---|
//! | `codec.rs` | an advert of one virtual router to and from the bytes behind the IP header |
//! | `error.rs` | why a packet is dropped |
//! | `ip.rs` | the IPv4 header that a raw socket leaves in front |
//! | `checksum.rs` | the Internet checksum, with and without a pseudo-header |
//! | `hmac.rs` | keepalived's `auth_hmac` trailer |
//! | `frame.rs` | an advert as an Ethernet frame |
//! | `announce.rs` | gratuitous ARP and unsolicited neighbour advertisements, as Ethernet frames |

mod announce;
mod checksum;
mod codec;
mod error;
mod frame;
mod hmac;
mod ip;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use smallvec::SmallVec;

pub use announce::{Frame, Mac, announced, announcement, virtual_mac};
pub use codec::{Auth, Codec, Peers, Wire, advertised, vrid};
pub use error::PacketError;
pub use frame::advert_frame;
pub use hmac::{HmacError, HmacSettings, Key};
pub use ip::split_ipv4;

/// Where multicast adverts go (RFC 9568 sections 5.1.1.2 and 5.1.2.2).
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
/// IP protocol number of VRRP.
pub const PROTOCOL: u8 = 112;
/// TTL or hop limit of every advert (RFC 9568 section 5.1.1.3): it came from the same link.
pub const TTL: u8 = 255;
/// Traffic class: network control, as routing protocols have it.
pub const TOS: u8 = 0xc0;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// RFC 3768; IPv4 only.
    V2,
    /// RFC 9568.
    V3,
}

impl Version {
    pub fn number(self) -> u8 {
        match self {
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    pub fn group(self) -> IpAddr {
        match self {
            Self::V4 => GROUP_V4.into(),
            Self::V6 => GROUP_V6.into(),
        }
    }
}

/// What one advert says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Advert {
    pub version: Version,
    pub vrid: u8,
    /// 0: the sender lets go; 255: it owns the addresses.
    pub priority: u8,
    /// Between two adverts of the sender. Whole seconds in v2, hundredths in v3; never zero.
    pub interval: Duration,
    pub addresses: Addresses,
}

impl Advert {
    /// Whether it lists these addresses, in whatever order.
    pub fn lists(&self, addresses: &[IpAddr]) -> bool {
        if self.addresses.as_slice() == addresses {
            return true;
        }
        let [mut theirs, mut ours] = [&self.addresses[..], addresses].map(Addresses::from_slice);
        theirs.sort_unstable();
        ours.sort_unstable();
        theirs == ours
    }
}

pub type Addresses = SmallVec<[IpAddr; 4]>;

/// A packet as it arrived: what the IP header said, and what stood behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received<'a> {
    pub source: IpAddr,
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    pub payload: &'a [u8],
}
