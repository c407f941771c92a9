//! The internet checksum (RFC 1071), in the machine's byte order throughout, as the program computes it.

use anyhow::{Context, Result, ensure};

/// Folded to 16 bits, not yet complemented.
pub fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks(2).map(|pair| u16::from_ne_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    fold(words.map(u32::from).sum())
}

pub fn fold(sum: u32) -> u32 {
    let once = (sum & 0xFFFF) + (sum >> 16);
    (once & 0xFFFF) + (once >> 16)
}

/// Of addresses, protocol and length (RFC 9293, 3.1).
pub fn pseudo_header(addresses: &[u8], protocol: u8, length: usize) -> u32 {
    fold(sum(addresses) + sum(&[0, protocol]) + sum(&(length as u16).to_be_bytes()))
}

/// That a frame's checksums are right.
pub fn verify(frame: &[u8]) -> Result<()> {
    verify_packet(&frame[14..]).with_context(|| format!("in {frame:02x?}"))
}

/// Of IPv4 or IPv6 with neither options nor extension headers, and of what they encapsulate.
fn verify_packet(packet: &[u8]) -> Result<()> {
    let (addresses, protocol, header, length) = match packet[0] >> 4 {
        4 => {
            ensure!(sum(&packet[..20]) == 0xFFFF, "wrong checksum in the IPv4 header");
            (&packet[12..20], packet[9], 20, usize::from(u16::from_be_bytes([packet[2], packet[3]])))
        }
        _ => (&packet[8..40], packet[6], 40, 40 + usize::from(u16::from_be_bytes([packet[4], packet[5]]))),
    };
    let segment = &packet[header..length.min(packet.len())];
    if [4, 41].contains(&protocol) {
        return verify_packet(segment);
    }
    let total = fold(pseudo_header(addresses, protocol, segment.len()) + sum(segment));
    ensure!(total == 0xFFFF, "wrong checksum of protocol {protocol}");
    Ok(())
}
