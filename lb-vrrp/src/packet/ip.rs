//! The IPv4 header, which a raw socket leaves in front. IPv6 gives source, destination and hop limit apart.

use std::net::Ipv4Addr;

use super::{PROTOCOL, PacketError, Received};

/// Splits what an IPv4 raw socket received. What lies behind the packet's own length (Ethernet pads short frames) is
/// cut off.
pub fn split_ipv4(datagram: &[u8]) -> Result<Received<'_>, PacketError> {
    let header = datagram.first_chunk::<20>().ok_or(PacketError::IpHeader)?;
    let header_length = usize::from(header[0] & 0x0f) * 4;
    let total_length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[0] >> 4 != 4 || header_length < header.len() {
        return Err(PacketError::IpHeader);
    }
    if header[9] != PROTOCOL {
        return Err(PacketError::Protocol { got: header[9] });
    }
    Ok(Received {
        source: Ipv4Addr::new(header[12], header[13], header[14], header[15]).into(),
        destination: Ipv4Addr::new(header[16], header[17], header[18], header[19]).into(),
        ttl: header[8],
        payload: datagram.get(header_length..total_length).ok_or(PacketError::IpHeader)?,
    })
}
