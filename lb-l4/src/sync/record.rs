//! A flow as it is told to another node: without places, interfaces and times of this one.
//!
//! | bytes | |
//! |---|---|
//! | 1 | bit 0: client and frontend are IPv6; 1: so is the backend; 2: the backend sees another address; 3: the frontend has every port; 4: the sender has it from another node |
//! | 1 | state |
//! | 1 | protocol |
//! | 1 | which sides have closed |
//! | 4, 16 | address of the client |
//! | 4, 16 | of the frontend |
//! | 2 + 2 | port of the client, and the one that it sends to |
//! | 4, 16 + 2 | the backend; port 0: the packet's own |
//! | 4, 16 + 2 | where bit 2 says so: what the backend sees in place of the client |
//! | 4 + 4 | milliseconds since the timeout began anew, and since the first packet |

use crate::abi::{Addr, FlowKey, Port, VipKey, flow_flag, flow_state};

/// Room that the largest one takes.
pub const LARGEST: usize = 4 + 4 * 16 + 2 + 2 + 2 + 2 + 8;

const V6: u8 = 1;
const BACKEND_V6: u8 = 2;
const SNAT: u8 = 4;
const EVERY_PORT: u8 = 8;
const HEARSAY: u8 = 16;
const CLOSED: u8 = flow_flag::FIN_FWD | flow_flag::FIN_BACK;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// As the client sends.
    pub key: FlowKey,
    /// Does its frontend have every port of its address?
    pub every_port: bool,
    pub backend: (Addr, Port),
    /// What the backend sees in place of the client.
    pub snat: Option<(Addr, Port)>,
    /// `enum flow_state`, from ESTABLISHED on, without UDP_NEW.
    pub state: u8,
    /// The sender has it from another node, and has seen no packet of it.
    pub hearsay: bool,
    /// FIN_FWD and FIN_BACK.
    pub closed: u8,
    /// Since its timeout began anew.
    pub age_ms: u32,
    /// Since its first packet.
    pub lived_ms: u32,
}

/// The bytes are not what a node of this version says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is cut short, or says what no lb says")]
pub struct Malformed;

impl Record {
    /// The key of its frontend.
    pub fn vip(&self) -> VipKey {
        let port = if self.every_port { Port::default() } else { self.key.dport };
        VipKey { addr: self.key.dst, port, proto: self.key.proto, zero: [0; 5] }
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        let v6 = !is_v4(&self.key.src) || !is_v4(&self.key.dst);
        let backend_v6 = !is_v4(&self.backend.0) || self.snat.is_some_and(|(addr, _)| !is_v4(&addr));
        let bit = |is: bool, bit: u8| if is { bit } else { 0 };
        out.push(
            bit(v6, V6)
                | bit(backend_v6, BACKEND_V6)
                | bit(self.snat.is_some(), SNAT)
                | bit(self.every_port, EVERY_PORT)
                | bit(self.hearsay, HEARSAY),
        );
        out.extend([self.state, self.key.proto, self.closed]);
        put_addr(out, &self.key.src, v6);
        put_addr(out, &self.key.dst, v6);
        put_port(out, self.key.sport);
        put_port(out, self.key.dport);
        for (addr, port) in [Some(self.backend), self.snat].into_iter().flatten() {
            put_addr(out, &addr, backend_v6);
            put_port(out, port);
        }
        out.extend(self.age_ms.to_be_bytes());
        out.extend(self.lived_ms.to_be_bytes());
    }

    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let [head, state, proto, closed] = reader.array()?;
        let (v6, backend_v6) = (head & V6 != 0, head & BACKEND_V6 != 0);
        if head >= HEARSAY << 1 || closed & !CLOSED != 0 || !is_state_of(state, proto) {
            return Err(Malformed);
        }
        let (src, dst) = (addr(reader, v6)?, addr(reader, v6)?);
        let key = FlowKey { src, dst, sport: port(reader)?, dport: port(reader)?, proto, zero: [0; 3] };
        let backend = (addr(reader, backend_v6)?, port(reader)?);
        let snat = match head & SNAT {
            0 => None,
            _ => Some((addr(reader, backend_v6)?, port(reader)?)),
        };
        let (age_ms, lived_ms) = (reader.u32()?, reader.u32()?);
        let (every_port, hearsay) = (head & EVERY_PORT != 0, head & HEARSAY != 0);
        Ok(Self { key, every_port, backend, snat, state, hearsay, closed, age_ms, lived_ms })
    }
}

/// Is it one that other nodes are told of?
pub fn is_told(state: u8) -> bool {
    use flow_state::{CLOSED, ESTABLISHED, FIN, TIME_WAIT, UDP};
    matches!(state, ESTABLISHED | FIN | TIME_WAIT | CLOSED | UDP)
}

fn is_state_of(state: u8, proto: u8) -> bool {
    match i32::from(proto) {
        libc::IPPROTO_TCP => is_told(state) && state != flow_state::UDP,
        libc::IPPROTO_UDP => state == flow_state::UDP,
        _ => false,
    }
}

fn is_v4(addr: &Addr) -> bool {
    addr.0.starts_with(&MAPPED)
}

const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

fn put_addr(out: &mut Vec<u8>, addr: &Addr, v6: bool) {
    out.extend(if v6 { &addr.0[..] } else { &addr.0[12..] });
}

fn put_port(out: &mut Vec<u8>, port: Port) {
    out.extend(u16::from(port).to_be_bytes());
}

fn addr(reader: &mut Reader<'_>, v6: bool) -> Result<Addr, Malformed> {
    if v6 {
        return reader.array().map(Addr);
    }
    let mut addr = [0; 16];
    addr[..12].copy_from_slice(&MAPPED);
    addr[12..].copy_from_slice(&reader.array::<4>()?);
    Ok(Addr(addr))
}

fn port(reader: &mut Reader<'_>) -> Result<Port, Malformed> {
    reader.array().map(|bytes| u16::from_be_bytes(bytes).into())
}

/// Takes numbers from the front.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(pub &'a [u8]);

impl Reader<'_> {
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (first, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(|[byte]| byte)
    }

    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }
}

#[cfg(test)]
pub mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    fn address() -> impl Strategy<Value = Addr> {
        prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
            .prop_map(Addr::from)
    }

    fn end() -> impl Strategy<Value = (Addr, Port)> {
        (address(), any::<u16>().prop_map(Port::from))
    }

    /// Whatever a node may say.
    pub fn record() -> impl Strategy<Value = Record> {
        let kind = prop_oneof![(3u8..7).prop_map(|state| (6, state)), Just((17, flow_state::UDP))];
        let ends = (end(), end(), end(), proptest::option::of(end()));
        let rest = (any::<[bool; 2]>(), 0u8..4, any::<u32>(), any::<u32>());
        (kind, ends, rest).prop_map(
            |((proto, state), (client, vip, backend, snat), ([every_port, hearsay], closed, age_ms, lived_ms))| {
                let key = FlowKey { src: client.0, dst: vip.0, sport: client.1, dport: vip.1, proto, zero: [0; 3] };
                Record { key, every_port, backend, snat, state, hearsay, closed: closed << 2, age_ms, lived_ms }
            },
        )
    }

    proptest! {
        #[test]
        fn a_record_comes_back(record in record(), cut in any::<prop::sample::Index>()) {
            let mut bytes = vec![];
            record.encode(&mut bytes);
            prop_assert!(bytes.len() <= LARGEST);
            let mut reader = Reader(&bytes);
            prop_assert_eq!(Record::decode(&mut reader), Ok(record));
            prop_assert!(reader.0.is_empty());
            prop_assert_eq!(Record::decode(&mut Reader(&bytes[..cut.index(bytes.len())])), Err(Malformed));
        }

        #[test]
        fn what_is_taken_is_what_would_be_told(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(record) = Record::decode(&mut Reader(&bytes)) {
                let mut again = vec![];
                record.encode(&mut again);
                prop_assert_eq!(Record::decode(&mut Reader(&again)), Ok(record));
            }
        }
    }
}
