//! `auth_hmac`, as keepalived 2.4 has it: a trailer behind the advert.
//!
//! ```text
//!  0                   1                   2                   3
//! +---------------+---------------+-------------------------------+
//! |  Type (1)     |    Key ID     |         Reserved (0)          |
//! +---------------+---------------+-------------------------------+
//! |            Seconds since 1970, the lower 32 bits              |
//! +-------------------------------+-------------------------------+
//! |  Fraction, in 2^-16 seconds   |           Counter             |
//! +-------------------------------+-------------------------------+
//! |          HMAC-SHA256, the first 128 bits (16 bytes)           |
//! +---------------------------------------------------------------+
//! ```
//!
//! The HMAC goes over a header of its own (family 4 or 6, version, VRID, zero, source address in 16 bytes), the
//! advert with its checksum read as zero, and the trailer with its HMAC read as zero. The time stamp grows with each
//! advert, so that a recorded one is not taken twice.

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::{constant_time, hmac};
use thiserror::Error;

use super::Version;

/// Bytes behind the advert.
pub const TRAILER: usize = 28;
const TYPE: u8 = 1;
const SIGNED: usize = 12;
const HMAC: usize = TRAILER - SIGNED;
/// Senders by multicast whose last time stamp is remembered; more than one is active only during an election.
const SENDERS: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HmacError {
    #[error("no HMAC trailer")]
    Missing,
    #[error("an HMAC trailer of type {got}, not 1, or with reserved bits set")]
    Type { got: u8 },
    #[error("no key {got}")]
    UnknownKey { got: u8 },
    #[error("a time stamp that is {off:?} away from ours")]
    Stale { off: Duration },
    #[error("another HMAC: a key differs")]
    Mismatch,
    #[error("a time stamp that was seen before")]
    Replay,
}

/// Keys and rules; the same on all nodes.
#[derive(Debug, Clone)]
pub struct HmacSettings {
    /// By key id. More than one while keys are being replaced.
    pub keys: Vec<(u8, Key)>,
    /// Signs what is sent.
    pub active: u8,
    /// How far the clocks of two nodes may be apart.
    pub window: Duration,
    /// Whether an advert without a trailer is dropped. `false` only while nodes are being converted.
    pub required: bool,
}

/// 32 to 64 bytes.
#[derive(Clone)]
pub struct Key(hmac::Key);

impl Key {
    /// `None` if it is too short or too long.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (32..=64).contains(&bytes.len()).then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

/// What is signed besides the message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sender {
    pub version: Version,
    pub vrid: u8,
    pub source: IpAddr,
}

impl Sender {
    fn header(self) -> [u8; 20] {
        let mut header = [0; 20];
        header[1] = self.version.number();
        header[2] = self.vrid;
        match self.source {
            IpAddr::V4(v4) => {
                header[0] = 4;
                header[4..8].copy_from_slice(&v4.octets());
            }
            IpAddr::V6(v6) => {
                header[0] = 6;
                header[4..].copy_from_slice(&v6.octets());
            }
        }
        header
    }
}

/// Signs and verifies for one virtual router.
#[derive(Debug)]
pub(super) struct Authenticator {
    settings: HmacSettings,
    last_sent: Stamp,
    seen: Vec<(IpAddr, Stamp)>,
    /// Senders that are remembered.
    capacity: usize,
}

impl Authenticator {
    pub fn new(settings: HmacSettings, peers: usize) -> Self {
        Self { settings, last_sent: Stamp(0), seen: Vec::new(), capacity: peers.max(SENDERS) }
    }

    /// Other keys or rules: what was seen stays seen.
    pub fn reconfigure(&mut self, settings: HmacSettings, peers: usize) {
        self.settings = settings;
        self.capacity = peers.max(SENDERS);
    }

    /// Appends the trailer to a message. Without the active key nothing is appended: every receiver drops that.
    pub fn sign(&mut self, sender: Sender, message: &mut Vec<u8>, utc: Duration) {
        let Some(key) = self.key(self.settings.active) else { return };
        let stamp = self.last_sent.next(Stamp::at(utc), self.settings.window);
        let mut signed = [0; SIGNED];
        signed[0] = TYPE;
        signed[1] = self.settings.active;
        signed[4..].copy_from_slice(&stamp.0.to_be_bytes());
        let tag = tag(key, sender, message, &signed);
        self.last_sent = stamp;
        message.extend_from_slice(&signed);
        message.extend_from_slice(&tag);
    }

    /// `trailer` is what stood behind the message.
    pub fn verify(&mut self, sender: Sender, message: &[u8], trailer: &[u8], utc: Duration) -> Result<(), HmacError> {
        let Some(trailer) = trailer.first_chunk::<TRAILER>() else {
            return if self.settings.required { Err(HmacError::Missing) } else { Ok(()) };
        };
        let (signed, theirs) = trailer.split_at(SIGNED);
        let [kind, key, 0, 0, stamp @ ..] = signed else { return Err(HmacError::Type { got: trailer[0] }) };
        if *kind != TYPE {
            return Err(HmacError::Type { got: *kind });
        }
        let stamp = Stamp::read(stamp);
        self.check_window(stamp, utc)?;
        let ours = tag(self.key(*key).ok_or(HmacError::UnknownKey { got: *key })?, sender, message, signed);
        constant_time::verify_slices_are_equal(&ours, theirs).map_err(|_| HmacError::Mismatch)?;
        self.remember(sender.source, stamp, utc)
    }

    fn key(&self, id: u8) -> Option<&Key> {
        self.settings.keys.iter().find(|(known, _)| *known == id).map(|(_, key)| key)
    }

    /// Before the HMAC, which costs more.
    fn check_window(&self, stamp: Stamp, utc: Duration) -> Result<(), HmacError> {
        let off = stamp.apart(Stamp::at(utc));
        if off > self.settings.window { Err(HmacError::Stale { off }) } else { Ok(()) }
    }

    /// Only of packets with a good HMAC: a forged one moves nothing.
    fn remember(&mut self, source: IpAddr, stamp: Stamp, utc: Duration) -> Result<(), HmacError> {
        let (now, window) = (Stamp::at(utc), self.settings.window);
        // What is outside the window orders nothing that could still be accepted: a clock was set.
        self.seen.retain(|(_, seen)| seen.apart(now) <= window);
        if self.seen.iter().any(|(known, seen)| *known == source && !stamp.is_after(*seen)) {
            return Err(HmacError::Replay);
        }
        self.seen.retain(|(known, _)| *known != source);
        if self.seen.len() >= self.capacity {
            self.seen.remove(0);
        }
        self.seen.push((source, stamp));
        Ok(())
    }
}

fn tag(key: &Key, sender: Sender, message: &[u8], signed: &[u8]) -> [u8; HMAC] {
    let (before, checksum_and_rest) = message.split_at(message.len().min(6));
    let mut context = hmac::Context::with_key(&key.0);
    context.update(&sender.header());
    context.update(before);
    context.update(&[0; 2]);
    context.update(checksum_and_rest.get(2..).unwrap_or_default());
    context.update(signed);
    context.update(&[0; HMAC]);
    let mut tag = [0; HMAC];
    tag.copy_from_slice(&context.sign().as_ref()[..HMAC]);
    tag
}

/// Seconds in the upper 32 bits, then a fraction of 16, then a counter of 16. Wraps; compared as RFC 1982 does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp(u64);

impl Stamp {
    fn at(utc: Duration) -> Self {
        let fraction = (u64::from(utc.subsec_nanos()) << 16) / 1_000_000_000;
        Self(utc.as_secs() << 32 | fraction << 16)
    }

    fn read(bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    fn is_after(self, other: Self) -> bool {
        0 < self.0.wrapping_sub(other.0) as i64
    }

    /// In whole seconds.
    fn apart(self, other: Self) -> Duration {
        let seconds = ((self.0 >> 32) as u32).wrapping_sub((other.0 >> 32) as u32) as i32;
        Duration::from_secs(seconds.unsigned_abs().into())
    }

    /// The stamp to send after this one. It follows the clock back only when receivers would refuse the other way.
    fn next(self, clock: Self, window: Duration) -> Self {
        if clock.is_after(self) || self.apart(clock) > window { clock } else { Self(self.0.wrapping_add(1)) }
    }
}
