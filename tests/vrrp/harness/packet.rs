//! Adverts made by hand, right or wrong. Nothing of lb's own encoding is in here.

use std::net::IpAddr;

pub type Mac = [u8; 6];

/// The network card that hand-made packets come from.
pub const STRANGER: Mac = [2, 0, 0, 0, 0, 0x99];
const VRRP: u8 = 112;

/// An advert with everything that a sender can choose.
#[derive(Debug, Clone)]
pub struct Advert {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub to: Mac,
    pub ttl: u8,
    pub version: u8,
    pub kind: u8,
    pub vrid: u8,
    pub priority: u8,
    /// Of the addresses; else how many there are.
    pub count: Option<u8>,
    /// v3: four reserved bits and the interval in hundredths of a second. v2: authentication type, seconds.
    pub timing: [u8; 2],
    pub addresses: Vec<IpAddr>,
    /// Authentication data of v2, or whatever else.
    pub tail: Vec<u8>,
    pub sum: Sum,
    /// So many bytes are missing at the end.
    pub cut: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sum {
    Plain,
    WithPseudoHeader,
    Wrong,
}

impl Advert {
    /// As an Ethernet frame.
    pub fn frame(&self) -> Vec<u8> {
        let mut message = self.message();
        let sum = match self.sum {
            Sum::Plain => checksum(&[&message]),
            Sum::WithPseudoHeader => checksum(&[&self.pseudo_header(message.len()), &message]),
            Sum::Wrong => checksum(&[&message]).wrapping_add(0x1234),
        };
        message[6..8].copy_from_slice(&sum.to_be_bytes());
        message.truncate(message.len() - self.cut);
        let mut frame = [&self.to[..], &STRANGER].concat();
        frame.extend(self.ip_header(message.len()));
        frame.extend(message);
        frame.resize(frame.len().max(60), 0);
        frame
    }

    fn message(&self) -> Vec<u8> {
        let count = self.count.unwrap_or(self.addresses.len() as u8);
        let mut message = vec![self.version << 4 | self.kind, self.vrid, self.priority, count];
        message.extend(self.timing);
        message.extend([0; 2]);
        self.addresses.iter().for_each(|address| message.extend(octets(*address)));
        message.extend(&self.tail);
        message
    }

    fn pseudo_header(&self, length: usize) -> Vec<u8> {
        let length = length as u16;
        let end = match self.source {
            IpAddr::V4(_) => [&[0, VRRP], &length.to_be_bytes()[..]].concat(),
            IpAddr::V6(_) => [&[0, 0], &length.to_be_bytes()[..], &[0, 0, 0, VRRP]].concat(),
        };
        [octets(self.source), octets(self.destination), end].concat()
    }

    /// With the type of the Ethernet frame.
    fn ip_header(&self, payload: usize) -> Vec<u8> {
        let addresses = [octets(self.source), octets(self.destination)].concat();
        if self.source.is_ipv6() {
            let [high, low] = (payload as u16).to_be_bytes();
            return [&[0x86, 0xdd, 0x6c, 0, 0, 0, high, low, VRRP, self.ttl], &addresses[..]].concat();
        }
        let [high, low] = (20 + payload as u16).to_be_bytes();
        let mut header = [&[0x45, 0xc0, high, low, 0, 0, 0, 0, self.ttl, VRRP, 0, 0], &addresses[..]].concat();
        let sum = checksum(&[&header]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        [&[8, 0], &header[..]].concat()
    }
}

pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// Of parts of even length (RFC 1071); an odd byte at the end counts as if a zero followed.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let sum: u32 = words.map(|word| u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}
