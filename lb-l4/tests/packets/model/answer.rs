//! What the forwarder says itself: ICMP errors, echo replies, resets.

use lb_l4::abi::{Counter, Port, VipKey};

use super::checksum::{checksum, patch, pseudo6};
use super::parse::{Fragment, be16, flags};
use super::{Family, Hook, ICMP, ICMP6, Model, Packet, TCP, Verdict};

const TTL: u8 = 64;
/// How much of a packet an error quotes: all headers and some more (RFC 1812, section 4.3.2.3; RFC 4443,
/// section 2.4).
const QUOTE4: usize = 128;
const QUOTE6: usize = 224;

impl Model {
    pub(super) fn time_exceeded(&mut self, packet: &Packet<'_>) -> Verdict {
        let kind = if packet.family == Family::V4 { [11, 0] } else { [3, 0] };
        self.error(packet, kind, 0, Counter::Ttl)
    }

    pub(super) fn too_big(&mut self, packet: &Packet<'_>, mtu: usize) -> Verdict {
        let kind = if packet.family == Family::V4 { [3, 4] } else { [2, 0] };
        self.error(packet, kind, at_least(packet, mtu as u32), Counter::TooBig)
    }

    fn error(&mut self, packet: &Packet<'_>, kind: [u8; 2], value: u32, reason: Counter) -> Verdict {
        // RFC 1122, section 3.2.2: never about an error, nor, in IPv4, about a later fragment.
        let is_later = packet.family == Family::V4 && matches!(packet.fragment, Fragment::Later(_));
        let is_due = !is_later && !matches!(packet.proto, ICMP | ICMP6);
        if !is_due || !self.may_answer() || self.cannot_answer(packet) {
            return Verdict::Drop(reason);
        }
        self.count(reason);
        self.count(Counter::IcmpSent);
        let quoted = &packet.frame[packet.l3..packet.end];
        Verdict::Answer(error_about(packet, (&packet.dst.0, &packet.src.0), kind, value, quoted))
    }

    /// RFC 9293, section 3.10.7.1: the reset that a closed port sends.
    pub(super) fn reset(&mut self, packet: &Packet<'_>) -> Verdict {
        if !self.may_answer() || self.cannot_answer(packet) {
            return Verdict::Drop(Counter::BackendDown);
        }
        self.count(Counter::BackendDown);
        self.count(Counter::ResetSent);
        let tcp = packet.payload();
        let [sequence, acknowledged] = [4, 8].map(|at| [tcp[at], tcp[at + 1], tcp[at + 2], tcp[at + 3]]);
        let (seq, ack, set) = match tcp[13] & flags::ACK {
            0 => (
                [0; 4],
                (u32::from_be_bytes(sequence).wrapping_add(sequence_length(tcp))).to_be_bytes(),
                flags::RST | flags::ACK,
            ),
            _ => (acknowledged, [0; 4], flags::RST),
        };
        let head = [&tcp[2..4], &tcp[0..2], &seq, &ack, &[0x50, set, 0, 0]].concat();
        let mut segment = [head, vec![0; 4]].concat();
        let sum = checksum(&pseudo(packet, segment.len(), TCP), &segment);
        segment[16..18].copy_from_slice(&sum);
        Verdict::Answer(back(packet, (&packet.dst.0, &packet.src.0), TCP, &segment))
    }

    /// RFC 4443, section 2.4 (f): so many in a tick.
    fn may_answer(&mut self) -> bool {
        self.begin_tick();
        self.state.answers += 1;
        let limit = self.config.settings.answers;
        limit == 0 || self.state.answers <= limit
    }

    /// tc cannot put another packet in the place of one with a tag in the frame, or with long headers.
    fn cannot_answer(&self, packet: &Packet<'_>) -> bool {
        self.lacks_room(packet, 1) || (self.config.hook == Hook::Tc && packet.l4 >= 128)
    }

    pub(super) fn echo(&mut self, packet: &Packet<'_>) -> Verdict {
        let vip = VipKey { addr: packet.dst, port: Port::default(), proto: packet.proto, zero: [0; 5] };
        if !self.config.vips.contains_key(&vip) {
            return Verdict::Pass;
        }
        self.count(Counter::Echo);
        let (l3, l4) = (packet.l3, packet.l4);
        let mut frame = packet.frame.to_vec();
        swap(&mut frame, 0, 6, 6);
        if packet.family == Family::V4 {
            swap(&mut frame, l3 + 12, l3 + 16, 4);
            patch(&mut frame, l3 + 8, &[TTL], &[l3 + 10]);
            patch(&mut frame, l4, &[0], &[l4 + 2]);
        } else {
            swap(&mut frame, l3 + 8, l3 + 24, 16);
            frame[l3 + 7] = TTL;
            patch(&mut frame, l4, &[129], &[l4 + 2]);
        }
        // RFC 1624, section 3: where all of the message is zero, minus zero is the right one.
        if frame[l4 + 2..l4 + 4] == [0, 0] {
            frame[l4 + 2..l4 + 4].fill(0xFF);
        }
        Verdict::Answer(frame)
    }
}

/// An ICMP error, sent back to where `packet` came from.
pub(super) fn error_about(
    packet: &Packet<'_>,
    ends: (&[u8; 16], &[u8; 16]),
    [kind, code]: [u8; 2],
    value: u32,
    quoted: &[u8],
) -> Vec<u8> {
    let (limit, proto) = if packet.family == Family::V4 { (QUOTE4, ICMP) } else { (QUOTE6, ICMP6) };
    let head = [[kind, code, 0, 0], value.to_be_bytes()].concat();
    let mut message = [head.as_slice(), &quoted[..quoted.len().min(limit)]].concat();
    let pseudo = if packet.family == Family::V4 { Vec::new() } else { pseudo6(ends.0, ends.1, message.len(), ICMP6) };
    let sum = checksum(&pseudo, &message);
    message[2..4].copy_from_slice(&sum);
    back(packet, ends, proto, &message)
}

/// A packet from `src` to `dst`, in a frame back to where `packet` came from, with its tags.
fn back(packet: &Packet<'_>, (src, dst): (&[u8; 16], &[u8; 16]), proto: u8, payload: &[u8]) -> Vec<u8> {
    let frame = packet.frame;
    let header = if packet.family == Family::V4 {
        let [high, low] = (20 + payload.len() as u16).to_be_bytes();
        let mut header = [&[0x45, 0, high, low, 0, 0, 0x40, 0, TTL, proto, 0, 0], &src[12..], &dst[12..]].concat();
        let sum = checksum(&[], &header);
        header[10..12].copy_from_slice(&sum);
        header
    } else {
        let [high, low] = (payload.len() as u16).to_be_bytes();
        [&[0x60, 0, 0, 0, high, low, proto, TTL], src.as_slice(), dst].concat()
    };
    [&frame[6..12], &frame[..6], &frame[12..packet.l3], &header, payload].concat()
}

/// Of an answer to `packet`.
fn pseudo(packet: &Packet<'_>, length: usize, proto: u8) -> Vec<u8> {
    match packet.family {
        Family::V4 => {
            let [high, low] = (length as u16).to_be_bytes();
            [&packet.dst.0[12..], &packet.src.0[12..], &[0, proto, high, low]].concat()
        }
        Family::V6 => pseudo6(&packet.dst.0, &packet.src.0, length, proto),
    }
}

/// What a segment counts in sequence numbers.
fn sequence_length(tcp: &[u8]) -> u32 {
    let data = tcp.len() - usize::from(tcp[12] >> 4) * 4;
    data as u32 + u32::from(tcp[13] & flags::SYN != 0) + u32::from(tcp[13] & flags::FIN != 0)
}

fn swap(frame: &mut [u8], a: usize, b: usize, length: usize) {
    for i in 0..length {
        frame.swap(a + i, b + i);
    }
}

/// What may be told: IPv6 never goes below 1,280 (RFC 8201, section 4).
pub(super) fn at_least(packet: &Packet<'_>, mtu: u32) -> u32 {
    if packet.family == Family::V6 { mtu.max(1280) } else { mtu }
}

/// The next-hop MTU that an error tells (RFC 1191, section 4; RFC 4443, section 3.2).
pub(super) fn told_mtu(packet: &Packet<'_>) -> Option<u32> {
    let message = packet.payload();
    match (packet.family, message[0], message[1]) {
        (Family::V4, 3, 4) => be16(message, 6).map(u32::from),
        (Family::V6, 2, _) => Some(u32::from_be_bytes([message[4], message[5], message[6], message[7]])),
        _ => None,
    }
}
