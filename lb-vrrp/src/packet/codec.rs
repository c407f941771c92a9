//! An advert to and from the bytes behind the IP header.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------+-------+---------------+---------------+---------------+
//! |Version| Type 1|     VRID      |   Priority    |     Count     |
//! +-------+-------+---------------+---------------+---------------+
//! | v3: 0, and 12 bits of interval (1/100 s)      |   Checksum    |
//! | v2: Auth Type | interval (s)                  |               |
//! +-----------------------------------------------+---------------+
//! |      Count addresses of 4 or 16 bytes; v2: 8 bytes of password
//! ```

use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use super::checksum::Checksum;
use super::hmac::{Authenticator, HmacSettings, Sender, TRAILER};
use super::{Addresses, Advert, Family, PROTOCOL, PacketError, Received, TTL, Version};

const HEADER: usize = 8;
const CHECKSUM: Range<usize> = 6..HEADER;
const ADVERTISEMENT: u8 = 1;
/// v2: authentication data, which is there even where nothing is authenticated (RFC 3768 section 5.3.10).
const PASSWORD: usize = 8;
/// v2 (RFC 2338 section 5.3.6). Type 2, AH, is refused.
const AUTH_NONE: u8 = 0;
const AUTH_PASSWORD: u8 = 1;
/// In v3 the interval has 12 bits (RFC 9568 section 5.2.7).
const LONGEST_V3: u16 = 0x0fff;
/// An Ethernet frame carries at least 46 bytes; shorter packets are padded with zeros.
const SHORTEST_ETHERNET: usize = 46;

/// How one virtual router speaks with the others.
#[derive(Debug, Clone)]
pub struct Wire {
    pub version: Version,
    pub family: Family,
    pub vrid: u8,
    /// Ours. In v2 everybody's must be the same (RFC 3768 section 7.1).
    pub interval: Duration,
    pub peers: Peers,
    pub auth: Auth,
    /// Whether the checksum of v3 over IPv4 covers the pseudo-header in what we send. RFC 9568 section 5.2.8 leaves
    /// it out; keepalived and FRR put it in, and drop packets without. Both are accepted.
    pub pseudo_header: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peers {
    Multicast,
    /// Only these, and only to our own address.
    Unicast(Vec<IpAddr>),
}

#[derive(Debug, Clone)]
pub enum Auth {
    None,
    /// v2 only: 8 bytes, the rest zeros.
    Password([u8; PASSWORD]),
    /// v3 only.
    Hmac(HmacSettings),
}

/// Encodes and decodes the adverts of one virtual router.
#[derive(Debug)]
pub struct Codec {
    wire: Wire,
    authenticator: Option<Authenticator>,
}

/// The virtual router that a packet is for, before anything of it is checked.
pub fn vrid(payload: &[u8]) -> Option<u8> {
    payload.get(1).copied()
}

impl Codec {
    pub fn new(wire: Wire) -> Self {
        let authenticator = wire.hmac().map(|hmac| Authenticator::new(hmac.clone(), wire.peers.count()));
        Self { wire, authenticator }
    }

    /// After a reload. What a recorded packet is recognised by is kept.
    pub fn reconfigure(&mut self, wire: Wire) {
        match (&mut self.authenticator, wire.hmac()) {
            (Some(authenticator), Some(hmac)) => authenticator.reconfigure(hmac.clone(), wire.peers.count()),
            _ => *self = Self::new(wire.clone()),
        }
        self.wire = wire;
    }

    pub fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Replaces `out` by the advert as `destination` is to get it. `utc` is the time since 1970.
    pub fn encode(&mut self, advert: &Advert, source: IpAddr, destination: IpAddr, utc: Duration, out: &mut Vec<u8>) {
        out.clear();
        self.write_message(advert, out);
        let message = out.len();
        if let Some(authenticator) = &mut self.authenticator {
            authenticator.sign(self.wire.sender(source), out, utc);
        }
        let covered = self.wire.covered(out, message);
        let [with, without] = sums(covered, source, destination);
        let sum = if self.wire.sends_pseudo_header() { with } else { without };
        out[CHECKSUM].copy_from_slice(&sum.to_be_bytes());
    }

    fn write_message(&self, advert: &Advert, out: &mut Vec<u8>) {
        let version = self.wire.version;
        let addresses = advert.addresses.iter().filter(|address| Family::of(**address) == self.wire.family);
        let addresses = addresses.take(MOST_ADDRESSES);
        let count = addresses.clone().count() as u8;
        out.extend([version.number() << 4 | ADVERTISEMENT, advert.vrid, advert.priority, count]);
        out.extend(self.interval_field(advert.interval));
        out.extend([0; 2]);
        for address in addresses {
            match address {
                IpAddr::V4(v4) => out.extend(v4.octets()),
                IpAddr::V6(v6) => out.extend(v6.octets()),
            }
        }
        if version == Version::V2 {
            out.extend(self.wire.password());
        }
    }

    fn interval_field(&self, interval: Duration) -> [u8; 2] {
        match self.wire.version {
            Version::V2 => [self.wire.auth_type(), u8::try_from(interval.as_secs()).unwrap_or(u8::MAX).max(1)],
            Version::V3 => centiseconds(interval).to_be_bytes(),
        }
    }

    /// Takes a packet apart, or says why it is dropped (RFC 9568 section 7.1, RFC 3768 section 7.1).
    pub fn decode(&mut self, received: &Received<'_>, utc: Duration) -> Result<Advert, PacketError> {
        self.wire.check_ip(received)?;
        let fixed = *received
            .payload
            .first_chunk::<HEADER>()
            .ok_or(PacketError::Short { expected: HEADER, got: received.payload.len() })?;
        self.wire.check_header(&fixed)?;
        let (message, trailer) = self.wire.split(fixed[3], received)?;
        self.wire.check_sum(message, trailer, received)?;
        self.wire.check_peer(received)?;
        let interval = self.wire.interval(&fixed)?;
        self.wire.check_auth(&fixed, message)?;
        if let Some(authenticator) = &mut self.authenticator {
            authenticator.verify(self.wire.sender(received.source), message, trailer, utc)?;
        }
        let addresses = self.wire.addresses(fixed[3], message);
        Ok(Advert { version: self.wire.version, vrid: fixed[1], priority: fixed[2], interval, addresses })
    }
}

/// The count has eight bits. A packet longer than the MTU would be fragmented, which firewalls drop: 90 IPv6
/// addresses fill 1,448 bytes.
const MOST_ADDRESSES: usize = 255;
const MOST_V6_ADDRESSES: usize = 90;

/// Of all addresses of a virtual router, those that its adverts list: of one family, a link-local IPv6 address first
/// (RFC 9568 section 5.2.9 and erratum 8300), and no more than an advert can carry. The others move along unnamed.
pub fn advertised(addresses: &[IpAddr], family: Family) -> Addresses {
    let most = if family == Family::V4 { MOST_ADDRESSES } else { MOST_V6_ADDRESSES };
    let mut listed: Addresses = addresses.iter().copied().filter(|address| Family::of(*address) == family).collect();
    listed.sort_by_key(|address| !is_link_local(*address));
    listed.truncate(most);
    listed
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// Rounded down to what can be sent, and never zero (erratum 8301 to RFC 9568: zero is invalid).
fn centiseconds(interval: Duration) -> u16 {
    u16::try_from(interval.as_millis() / 10).unwrap_or(LONGEST_V3).clamp(1, LONGEST_V3)
}

/// The checksum of a message, with the pseudo-header and without; what stands in its field is not counted.
fn sums(covered: &[u8], source: IpAddr, destination: IpAddr) -> [u16; 2] {
    let pseudo = Checksum::default().pseudo_header(source, destination, PROTOCOL, covered.len());
    [pseudo, Checksum::default()].map(|sum| sum.add(&covered[..CHECKSUM.start]).add(&covered[HEADER..]).finish())
}

impl Peers {
    fn count(&self) -> usize {
        match self {
            Self::Multicast => 0,
            Self::Unicast(peers) => peers.len(),
        }
    }
}

impl Wire {
    fn hmac(&self) -> Option<&HmacSettings> {
        match &self.auth {
            Auth::Hmac(hmac) => Some(hmac),
            Auth::None | Auth::Password(_) => None,
        }
    }

    fn sender(&self, source: IpAddr) -> Sender {
        Sender { version: self.version, vrid: self.vrid, source }
    }

    fn auth_type(&self) -> u8 {
        if matches!(self.auth, Auth::Password(_)) { AUTH_PASSWORD } else { AUTH_NONE }
    }

    fn password(&self) -> [u8; PASSWORD] {
        if let Auth::Password(password) = self.auth { password } else { [0; PASSWORD] }
    }

    fn check_ip(&self, received: &Received<'_>) -> Result<(), PacketError> {
        let Received { source, destination, ttl, .. } = *received;
        if Family::of(source) != self.family || Family::of(destination) != self.family {
            return Err(PacketError::Family { source_address: source, destination });
        }
        if ttl != TTL {
            return Err(PacketError::Ttl { got: ttl });
        }
        Ok(())
    }

    fn check_header(&self, fixed: &[u8; HEADER]) -> Result<(), PacketError> {
        let [version_and_type, vrid, _, count, ..] = *fixed;
        if version_and_type >> 4 != self.version.number() {
            return Err(PacketError::Version { expected: self.version, got: version_and_type >> 4 });
        }
        if version_and_type & 0x0f != ADVERTISEMENT {
            return Err(PacketError::Type { got: version_and_type & 0x0f });
        }
        if vrid != self.vrid {
            return Err(PacketError::Vrid { expected: self.vrid, got: vrid });
        }
        // Erratum 8299 to RFC 9568.
        if count == 0 { Err(PacketError::NoAddresses) } else { Ok(()) }
    }

    /// The message and the HMAC trailer behind it.
    fn split<'a>(&self, count: u8, received: &Received<'a>) -> Result<(&'a [u8], &'a [u8]), PacketError> {
        let expected = self.message_length(count);
        let got = received.payload.len();
        let (message, rest) =
            received.payload.split_at_checked(expected).ok_or(PacketError::Length { count, expected, got })?;
        let is_trailer = rest.len() == TRAILER && self.hmac().is_some();
        if is_trailer || self.is_padding(rest, got) {
            Ok((message, if is_trailer { rest } else { &[] }))
        } else {
            Err(PacketError::Length { count, expected, got })
        }
    }

    fn message_length(&self, count: u8) -> usize {
        let address = if self.family == Family::V4 { 4 } else { 16 };
        let password = if self.version == Version::V2 { PASSWORD } else { 0 };
        HEADER + usize::from(count) * address + password
    }

    /// Some senders count the padding of a short Ethernet frame into the length of the packet.
    fn is_padding(&self, rest: &[u8], payload: usize) -> bool {
        let header = if self.family == Family::V4 { 20 } else { 40 };
        rest.is_empty() || header + payload <= SHORTEST_ETHERNET && rest.iter().all(|byte| *byte == 0)
    }

    fn check_sum(&self, message: &[u8], trailer: &[u8], received: &Received<'_>) -> Result<(), PacketError> {
        let whole = received.payload.get(..message.len() + trailer.len()).unwrap_or(message);
        let covered = self.covered(whole, message.len());
        let got = u16::from_be_bytes([covered[6], covered[7]]);
        let [with, without] = sums(covered, received.source, received.destination);
        let accepted = match (self.version, self.family) {
            (Version::V2, _) => [without, without],
            (Version::V3, Family::V6) => [with, with],
            (Version::V3, Family::V4) => [with, without],
        };
        // Zero and its complement mean the same (RFC 1071).
        let is_same = |expected: u16| expected == got || expected ^ got == 0xffff && (expected == 0 || got == 0);
        if accepted.iter().any(|sum| is_same(*sum)) {
            Ok(())
        } else {
            Err(PacketError::Checksum { expected: accepted[0], got })
        }
    }

    /// IPv6 kernels fill in the checksum over everything; over IPv4 it ends with the message.
    fn covered<'a>(&self, whole: &'a [u8], message: usize) -> &'a [u8] {
        if self.family == Family::V6 { whole } else { whole.get(..message).unwrap_or(whole) }
    }

    /// RFC 3768 section 5.3.8 has none, IPv6 always has one.
    fn sends_pseudo_header(&self) -> bool {
        self.version == Version::V3 && (self.pseudo_header || self.family == Family::V6)
    }

    fn check_peer(&self, received: &Received<'_>) -> Result<(), PacketError> {
        let Received { source, destination, .. } = *received;
        match &self.peers {
            Peers::Multicast if destination != self.family.group() => {
                Err(PacketError::Destination { expected: "multicast", got: destination })
            }
            Peers::Unicast(_) if destination.is_multicast() => {
                Err(PacketError::Destination { expected: "unicast", got: destination })
            }
            Peers::Unicast(peers) if !peers.contains(&source) => Err(PacketError::Peer { got: source }),
            Peers::Multicast | Peers::Unicast(_) => Ok(()),
        }
    }

    fn interval(&self, fixed: &[u8; HEADER]) -> Result<Duration, PacketError> {
        let interval = match self.version {
            Version::V2 => Duration::from_secs(fixed[5].into()),
            // The upper four bits are reserved: ignored when received (RFC 9568 section 5.2.6).
            Version::V3 => {
                let field = u16::from_be_bytes([fixed[4], fixed[5]]) & LONGEST_V3;
                Duration::from_millis(10 * u64::from(field))
            }
        };
        if interval.is_zero() {
            return Err(PacketError::ZeroInterval);
        }
        // RFC 3768 section 7.1. In v3 a backup adopts the active router's.
        if self.version == Version::V2 && interval != self.interval {
            return Err(PacketError::Interval { expected: self.interval, got: interval });
        }
        Ok(interval)
    }

    fn check_auth(&self, fixed: &[u8; HEADER], message: &[u8]) -> Result<(), PacketError> {
        if self.version == Version::V3 {
            return Ok(());
        }
        if fixed[4] != self.auth_type() {
            return Err(PacketError::AuthType { expected: self.auth_type(), got: fixed[4] });
        }
        match &self.auth {
            Auth::Password(password) if message.last_chunk() != Some(password) => Err(PacketError::Password),
            _ => Ok(()),
        }
    }

    fn addresses(&self, count: u8, message: &[u8]) -> Addresses {
        let list = message.get(HEADER..).unwrap_or_default();
        let count = usize::from(count);
        match self.family {
            Family::V4 => list.as_chunks::<4>().0.iter().take(count).map(|octets| IpAddr::from(*octets)).collect(),
            Family::V6 => list.as_chunks::<16>().0.iter().take(count).map(|octets| IpAddr::from(*octets)).collect(),
        }
    }
}
