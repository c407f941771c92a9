//! One's complement sums, updated in place (RFC 1624, equation 3).

/// Writes `new` at `at`, and corrects the checksums at `sums` for it. All of them cover bytes from an
/// even offset of the frame on, so a byte's parity in the frame is its parity in each sum.
pub fn patch(frame: &mut [u8], at: usize, new: &[u8], sums: &[usize]) {
    let old = sum(at, &frame[at..at + new.len()]);
    let change = u32::from(!old) + u32::from(sum(at, new));
    frame[at..at + new.len()].copy_from_slice(new);
    for &place in sums {
        let before = u16::from_be_bytes([frame[place], frame[place + 1]]);
        let after = !fold(u32::from(!before) + change);
        frame[place..place + 2].copy_from_slice(&after.to_be_bytes());
    }
}

/// Of bytes that begin at offset `at`.
pub fn sum(at: usize, bytes: &[u8]) -> u16 {
    let weight = |offset: usize| if offset.is_multiple_of(2) { 256 } else { 1 };
    fold(bytes.iter().enumerate().map(|(i, &byte)| u32::from(byte) * weight(at + i)).sum())
}

pub fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xFFFF) + (sum >> 16);
    ((sum & 0xFFFF) + (sum >> 16)) as u16
}

/// Of a whole ICMP message or header, whose checksum field is zero.
pub fn checksum(pseudo: &[u8], message: &[u8]) -> [u8; 2] {
    (!fold(u32::from(sum(0, pseudo)) + u32::from(sum(0, message)))).to_be_bytes()
}

/// RFC 8200, section 8.1.
pub fn pseudo6(src: &[u8; 16], dst: &[u8; 16], length: usize, next: u8) -> Vec<u8> {
    let length = (length as u32).to_be_bytes();
    [src.as_slice(), dst, &length, &[0, 0, 0, next]].concat()
}
