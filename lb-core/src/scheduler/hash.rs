//! Hashes that come out the same in every process and on every node: no seed of the day.

use std::net::{IpAddr, SocketAddr};

/// Hash of a client's address, for [`super::Key::client`]. An IPv4 address mapped into IPv6 hashes as IPv4.
pub fn client_hash(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(v4) => mix(u64::from(v4.to_bits()) | V4),
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            mix(mix((bits >> 64) as u64) ^ bits as u64)
        }
    }
}

/// Sets IPv4 apart from small IPv6 values.
const V4: u64 = 4 << 32;

/// Hash of a backend's name; `purpose` gives independent hashes of one name.
pub fn name_hash(name: &str, purpose: u64) -> u64 {
    name.as_bytes().chunks(8).fold(mix(purpose ^ name.len() as u64), |hash, chunk| {
        let word = chunk.iter().fold(0, |word, byte| (word << 8) | u64::from(*byte));
        mix(hash ^ word)
    })
}

/// Tells one backend from all others, in every process and on every node; for [`super::maglev::ring`].
pub fn identity(name: &str, address: SocketAddr) -> u64 {
    mix(mix(name_hash(name, 0) ^ client_hash(address.ip())) ^ u64::from(address.port()))
}

/// A bijection under which each bit of the input turns each bit of the output about half of the
/// time: the finalizer of splitmix64 (Steele, Lea and Flood, OOPSLA 2014).
pub fn mix(value: u64) -> u64 {
    let mut x = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Maps a hash evenly onto `0..size`, by its upper bits and without a division.
pub fn scale(hash: u64, size: usize) -> usize {
    ((u128::from(hash) * size as u128) >> 64) as usize
}
