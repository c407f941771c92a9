//! The Internet checksum (RFC 1071).

use std::net::IpAddr;

/// Sums 16-bit words; a last odd byte counts as the high one. Feed it pieces of even length, save the last.
#[derive(Debug, Clone, Copy, Default)]
pub struct Checksum(u64);

impl Checksum {
    pub fn add(mut self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<2>();
        self.0 += words.iter().map(|word| u64::from(u16::from_be_bytes(*word))).sum::<u64>();
        self.0 += rest.first().map_or(0, |last| u64::from(*last) << 8);
        self
    }

    /// What upper layers add for the addresses: RFC 793 section 3.1 and RFC 8200 section 8.1.
    pub fn pseudo_header(self, source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> Self {
        // A length beyond 16 bits cannot come out of an IP packet; in both families its halves are just added.
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.address(source).address(destination).add(&[0, protocol]).add(&length.to_be_bytes())
    }

    fn address(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => self.add(&v4.octets()),
            IpAddr::V6(v6) => self.add(&v6.octets()),
        }
    }

    pub fn finish(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }
}
