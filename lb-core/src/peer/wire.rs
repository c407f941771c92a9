//! Datagrams between nodes. Numbers stand in network order.
//!
//! | bytes | |
//! |---|---|
//! | 4 | `lbpr` |
//! | 1 | version |
//! | 1 | kind |
//! | 2 | 0 |
//! | 8 | sender: [`node_id`] |
//! | 8 | session of the sender |
//! | 8 | sequence number, from 1 |
//! | | content |
//! | 16 | where there is a secret: HMAC-SHA256 over all of it, its first half (RFC 2104 section 5) |

use std::sync::Arc;

use aws_lc_rs::{constant_time, digest, hmac};

const MAGIC: [u8; 4] = *b"lbpr";
/// Raised with every change that another version could not read.
pub const VERSION: u8 = 1;
pub const HEADER: usize = 32;
pub const SIGNATURE: usize = 16;
/// Of a datagram, signature included: it fits into any Ethernet, tunnelled or not.
pub const LARGEST: usize = 1400;
/// Of the content.
pub const ROOM: usize = LARGEST - HEADER - SIGNATURE;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Hello = 1,
    /// For layer 4: see `lb_l4::sync`.
    Flows = 2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    pub node: u64,
    pub session: u64,
    pub sequence: u64,
}

/// Why bytes are not a datagram of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("it is not of an lb")]
    NotOurs,
    #[error("it is of another version of lb ({0})")]
    Version(u8),
    #[error("it is cut short, or says what no lb says")]
    Malformed,
    #[error("its signature is wrong: do the nodes have the same secret?")]
    Signature,
}

/// What is the same on all nodes and known to nobody else.
#[derive(Clone)]
pub struct Key(hmac::Key);

impl Key {
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

/// How a node is named on the wire.
pub fn node_id(name: &str) -> u64 {
    let digest = digest::digest(&digest::SHA256, name.as_bytes());
    Reader(digest.as_ref()).u64().unwrap_or(0)
}

/// The datagram, ready to be sent.
pub fn seal(header: &Header, content: &[u8], key: Option<&Key>) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + content.len() + SIGNATURE);
    out.extend(MAGIC);
    out.extend([VERSION, header.kind as u8, 0, 0]);
    for number in [header.node, header.session, header.sequence] {
        out.extend(number.to_be_bytes());
    }
    out.extend(content);
    if let Some(Key(key)) = key {
        let tag = hmac::sign(key, &out);
        out.extend(&tag.as_ref()[..SIGNATURE]);
    }
    out
}

/// Header and content, where the signature is right.
pub fn open<'a>(datagram: &'a [u8], key: Option<&Key>) -> Result<(Header, &'a [u8]), WireError> {
    if datagram.get(..4) != Some(MAGIC.as_slice()) {
        return Err(WireError::NotOurs);
    }
    match datagram.get(4) {
        Some(&VERSION) => {}
        Some(other) => return Err(WireError::Version(*other)),
        None => return Err(WireError::Malformed),
    }
    let signed = match key {
        Some(key) => verified(datagram, key)?,
        None => datagram,
    };
    let mut reader = Reader(signed.get(5..).ok_or(WireError::Malformed)?);
    let kind = match reader.u8()? {
        1 => Kind::Hello,
        2 => Kind::Flows,
        _ => return Err(WireError::Malformed),
    };
    reader.array::<2>()?;
    let header = Header { kind, node: reader.u64()?, session: reader.u64()?, sequence: reader.u64()? };
    Ok((header, reader.0))
}

/// All but the signature.
fn verified<'a>(datagram: &'a [u8], Key(key): &Key) -> Result<&'a [u8], WireError> {
    let end = datagram.len().checked_sub(SIGNATURE).ok_or(WireError::Signature)?;
    let (signed, tag) = datagram.split_at(end);
    let expected = hmac::sign(key, signed);
    let same = constant_time::verify_slices_are_equal(&expected.as_ref()[..SIGNATURE], tag);
    same.map(|()| signed).map_err(|_| WireError::Signature)
}

/// What a node says about itself, every second and when it changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hello {
    /// To be said back.
    pub challenge: u64,
    /// The last one that the receiver has sent; 0: none.
    pub echo: u64,
    /// The session of the receiver, where it is believed; 0: it is not.
    pub believed: u64,
    pub state: NodeState,
}

/// What the others want to know of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeState {
    /// SHA-256 of the file.
    pub config: [u8; 32],
    /// Configurations since it started.
    pub generation: u64,
    /// Does it want to know the flows of others?
    pub syncs_flows: bool,
    /// Does it know them all?
    pub in_sync: bool,
    /// The virtual routers for which it is active, in order; as many as fit into a hello.
    pub active: Vec<Arc<str>>,
}

impl Hello {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(ROOM);
        for number in [self.challenge, self.echo, self.believed, self.state.generation] {
            out.extend(number.to_be_bytes());
        }
        out.extend(self.state.config);
        out.push(u8::from(self.state.syncs_flows) | u8::from(self.state.in_sync) << 1);
        for name in &self.state.active {
            let Ok(length) = u8::try_from(name.len()) else { continue };
            if out.len() + 1 + name.len() < ROOM {
                out.push(length);
                out.extend(name.bytes());
            }
        }
        out.push(0);
        out
    }

    /// More may follow one day, within what fits into a datagram.
    pub fn decode(content: &[u8]) -> Result<Self, WireError> {
        if content.len() > ROOM {
            return Err(WireError::Malformed);
        }
        let mut reader = Reader(content);
        let (challenge, echo, believed) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let (generation, config, flags) = (reader.u64()?, reader.array()?, reader.u8()?);
        let active = reader.names()?;
        let state = NodeState { config, generation, syncs_flows: flags & 1 != 0, in_sync: flags & 2 != 0, active };
        Ok(Self { challenge, echo, believed, state })
    }
}

/// Takes numbers from the front.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (first, rest) = self.0.split_first_chunk().ok_or(WireError::Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(|[byte]| byte)
    }

    fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Each behind its length; one without a length ends them.
    fn names(&mut self) -> Result<Vec<Arc<str>>, WireError> {
        let mut names = vec![];
        loop {
            let length = usize::from(self.u8()?);
            if length == 0 {
                return Ok(names);
            }
            let (name, rest) = self.0.split_at_checked(length).ok_or(WireError::Malformed)?;
            self.0 = rest;
            names.push(str::from_utf8(name).map_err(|_| WireError::Malformed)?.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER_1: Header = Header { kind: Kind::Flows, node: 1, session: 2, sequence: 3 };

    #[test]
    fn what_was_sealed_opens() {
        for key in [None, Some(Key::new(b"secret"))] {
            let datagram = seal(&HEADER_1, b"content", key.as_ref());
            assert_eq!(open(&datagram, key.as_ref()), Ok((HEADER_1, b"content".as_slice())));
        }
    }

    #[test]
    fn another_secret_or_a_changed_bit_is_noticed() {
        let key = Key::new(b"secret");
        let datagram = seal(&HEADER_1, b"content", Some(&key));
        assert_eq!(open(&datagram, Some(&Key::new(b"other"))), Err(WireError::Signature));
        for bit in 40..datagram.len() * 8 {
            let mut changed = datagram.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&changed, Some(&key)), Err(WireError::Signature), "bit {bit}");
        }
    }

    #[test]
    fn cut_short_at_every_byte() {
        let key = Key::new(b"secret");
        let hello = Hello { challenge: 1, ..Hello::default() }.encode();
        let signed = seal(&HEADER_1, &hello, Some(&key));
        let plain = seal(&HEADER_1, &hello, None);
        for end in 0..signed.len() {
            assert!(open(&signed[..end], Some(&key)).is_err());
        }
        for end in 0..HEADER {
            assert!(open(&plain[..end], None).is_err());
        }
        for end in 0..hello.len() {
            assert!(Hello::decode(&hello[..end]).is_err());
        }
    }

    #[test]
    fn a_hello_comes_back() {
        let active = vec!["public".into(), "inside".into()];
        let state = NodeState { config: [7; 32], generation: 9, syncs_flows: true, in_sync: false, active };
        let hello = Hello { challenge: 1, echo: 2, believed: 3, state };
        assert_eq!(Hello::decode(&hello.encode()), Ok(hello.clone()));
        let unsynced = NodeState { syncs_flows: false, in_sync: true, ..hello.state.clone() };
        let hello = Hello { state: unsynced, ..hello };
        assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
    }

    #[test]
    fn a_hello_says_as_many_names_as_fit() {
        let name = |n: usize| -> Arc<str> { format!("{n:0>100}").into() };
        let active: Vec<Arc<str>> = (0..100).map(name).collect();
        let encoded = Hello { state: NodeState { active, ..NodeState::default() }, ..Hello::default() }.encode();
        assert!(encoded.len() <= ROOM, "{}", encoded.len());
        let said = Hello::decode(&encoded).unwrap().state.active;
        assert_eq!(said, (0..12).map(name).collect::<Vec<_>>());
        let too_long = [encoded, vec![0; ROOM]].concat();
        assert_eq!(Hello::decode(&too_long), Err(WireError::Malformed));
    }

    #[test]
    fn other_versions_are_told_from_noise() {
        assert_eq!(open(b"GET / HTTP/1.1", None), Err(WireError::NotOurs));
        assert_eq!(open(b"lbpr\x02", None), Err(WireError::Version(2)));
        assert_eq!(open(b"lbpr", None), Err(WireError::Malformed));
    }
}
