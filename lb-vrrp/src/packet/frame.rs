//! A whole advert to the group, as an Ethernet frame: from a MAC address that no interface has yet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smallvec::SmallVec;

use super::announce::{Frame, Mac};
use super::checksum::Checksum;
use super::{GROUP_V4, GROUP_V6, PROTOCOL, TOS, TTL};

/// RFC 1112 section 6.4 and RFC 2464 section 7: of [`GROUP_V4`] and [`GROUP_V6`].
const GROUP_MAC_V4: Mac = [0x01, 0x00, 0x5e, 0, 0, 0x12];
const GROUP_MAC_V6: Mac = [0x33, 0x33, 0, 0, 0, 0x12];

/// With the message behind the IP header as the codec has made it for the group.
pub fn advert_frame(from: Mac, source: IpAddr, message: &[u8]) -> Frame {
    let mut frame = Frame::new();
    match source {
        IpAddr::V4(source) => {
            frame.extend_from_slice(&GROUP_MAC_V4);
            frame.extend_from_slice(&from);
            frame.extend_from_slice(&[0x08, 0x00]);
            frame.extend(ipv4_header(source, message.len()));
        }
        IpAddr::V6(source) => {
            frame.extend_from_slice(&GROUP_MAC_V6);
            frame.extend_from_slice(&from);
            frame.extend_from_slice(&[0x86, 0xdd]);
            frame.extend(ipv6_header(source, message.len()));
        }
    }
    frame.extend_from_slice(message);
    frame
}

fn ipv4_header(source: Ipv4Addr, payload: usize) -> SmallVec<[u8; 40]> {
    const HEADER: usize = 20;
    const DO_NOT_FRAGMENT: [u8; 2] = [0x40, 0];
    let [high, low] = ((HEADER + payload) as u16).to_be_bytes();
    let mut header = SmallVec::from_slice(&[0x45, TOS, high, low, 0, 0]);
    header.extend_from_slice(&DO_NOT_FRAGMENT);
    header.extend_from_slice(&[TTL, PROTOCOL, 0, 0]);
    header.extend_from_slice(&source.octets());
    header.extend_from_slice(&GROUP_V4.octets());
    let sum = Checksum::default().add(&header).finish();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}

fn ipv6_header(source: Ipv6Addr, payload: usize) -> SmallVec<[u8; 40]> {
    let [high, low] = (payload as u16).to_be_bytes();
    let mut header = SmallVec::from_slice(&[0x60 | TOS >> 4, TOS << 4, 0, 0, high, low, PROTOCOL, TTL]);
    header.extend_from_slice(&source.octets());
    header.extend_from_slice(&GROUP_V6.octets());
    header
}
