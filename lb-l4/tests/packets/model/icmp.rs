//! ICMP errors: whom the packet that they quote belongs to, and how it looked there.

use lb_l4::abi::{Addr, Counter, FlowKey, flow_flag, mode};

use super::answer::{at_least, error_about, told_mtu};
use super::checksum::patch;
use super::parse::{Fragment, TCP, UDP, addresses6, be16, mapped, walk};
use super::rewrite::{decrement_ttl, overhead, set_addresses};
use super::{Entry, Family, ICMP6, Model, Packet, Verdict, rewrite};

/// A packet within an error, or within such a packet.
struct Quoted {
    at: usize,
    l4: usize,
    src: Addr,
    dst: Addr,
    proto: u8,
}

impl Model {
    pub(super) fn icmp(&mut self, ingress: u32, packet: &Packet<'_>) -> Verdict {
        if packet.payload().len() < 8 {
            return Verdict::Pass;
        }
        match (packet.family, packet.payload()[0]) {
            (Family::V4, 8) | (Family::V6, 128) => self.echo(packet),
            (Family::V4, 3 | 11 | 12) | (Family::V6, 1..=4) => {
                self.icmp_error(ingress, packet).unwrap_or(Verdict::Pass)
            }
            _ => Verdict::Pass,
        }
    }

    /// `None`: of no flow.
    fn icmp_error(&mut self, ingress: u32, packet: &Packet<'_>) -> Option<Verdict> {
        let quoted = quoted(packet, packet.l4 + 8)?;
        match (packet.family, quoted.proto) {
            (_, TCP | UDP) => {
                // Whoever got the quoted packet sent the other direction of its flow.
                let key = turned(&quoted, packet)?;
                let entry = self.find(&key)?;
                Some(self.translated(ingress, packet, &key, &entry, &quoted))
            }
            (Family::V4, 4) | (Family::V6, 41) => self.tunnel_too_small(ingress, packet, &quoted),
            _ => None,
        }
    }

    /// To the backend that sent the quoted packet, or to the client that did.
    fn translated(
        &mut self,
        ingress: u32,
        packet: &Packet<'_>,
        key: &FlowKey,
        entry: &Entry,
        quoted: &Quoted,
    ) -> Verdict {
        let dest = self.config.dests[entry.dest as usize];
        if packet.ttl <= 1 {
            return Verdict::Drop(Counter::Ttl);
        }
        if dest.mode != mode::NAT {
            self.count(Counter::IcmpForwarded);
            return self.send(ingress, packet, Some(key), entry);
        }
        let mut frame = packet.frame.to_vec();
        translate(&mut frame, packet, entry, quoted);
        let hop = match self.hop(ingress, Some(key), entry) {
            Ok(hop) => hop,
            Err(Counter::PassedUp) => return self.pass_error_up(packet, entry, frame),
            Err(reason) => return Verdict::Drop(reason),
        };
        self.account(packet, entry);
        self.count(Counter::IcmpForwarded);
        decrement_ttl(&mut frame, packet);
        let ethernet = rewrite::ethernet(packet, &hop, ingress, [frame[packet.l3 - 2], frame[packet.l3 - 1]]);
        Verdict::Forward { ifindex: hop.ifindex, bytes: [ethernet, frame[packet.l3..].to_vec()].concat() }
    }

    fn pass_error_up(&mut self, packet: &Packet<'_>, entry: &Entry, frame: Vec<u8>) -> Verdict {
        self.account(packet, entry);
        self.count(Counter::IcmpForwarded);
        self.count(Counter::PassedUp);
        Verdict::PassRewritten(frame)
    }

    /// A router in the tunnel asks for smaller packets: the client has to be told.
    fn tunnel_too_small(&mut self, ingress: u32, packet: &Packet<'_>, outer: &Quoted) -> Option<Verdict> {
        let inner = quoted(packet, outer.l4)?;
        let key = FlowKey {
            src: inner.src,
            dst: inner.dst,
            sport: be16(packet.frame, inner.l4)?.into(),
            dport: be16(packet.frame, inner.l4 + 2)?.into(),
            proto: inner.proto,
            zero: [0; 3],
        };
        let entry = self.find(&key).filter(|entry| entry.flags & flow_flag::REPLY == 0)?;
        let dest = self.config.dests[entry.dest as usize];
        let is_ours = dest.mode == mode::TUNNEL && dest.addr == outer.dst && dest.tunnel_src == outer.src;
        if !is_ours || packet.dst != outer.src {
            return None;
        }
        let least = if packet.family == Family::V4 { 576 } else { 1280 };
        let mtu = told_mtu(packet).filter(|mtu| (least..=0xFFFF).contains(mtu))?;
        self.learn_path_mtu(entry.dest, mtu as u16);
        Some(self.tell_client(ingress, packet, &key, &inner, mtu - overhead(&dest) as u32))
    }

    fn tell_client(&mut self, ingress: u32, packet: &Packet<'_>, key: &FlowKey, inner: &Quoted, mtu: u32) -> Verdict {
        let route = (self.config.route)(key.src);
        self.ask(route, key.src, false);
        let Ok(hop) = self.resolve(ingress, route, None, mode::DR) else { return Verdict::Drop(Counter::NoRoute) };
        if self.lacks_room(packet, 1) {
            return Verdict::Drop(Counter::Headroom);
        }
        self.count(Counter::IcmpSent);
        let kind = if packet.family == Family::V4 { [3, 4] } else { [2, 0] };
        let quote = &packet.frame[inner.at..packet.end];
        let ends = (&key.dst.0, &key.src.0);
        let answer = error_about(packet, ends, kind, at_least(packet, mtu), quote);
        let ethernet = rewrite::ethernet(packet, &hop, ingress, [answer[packet.l3 - 2], answer[packet.l3 - 1]]);
        Verdict::Forward { ifindex: hop.ifindex, bytes: [ethernet, answer[packet.l3..].to_vec()].concat() }
    }
}

/// At least its IP header and eight bytes of transport must be there.
fn quoted(packet: &Packet<'_>, at: usize) -> Option<Quoted> {
    let bytes = packet.frame.get(at..packet.end)?;
    let quoted = match packet.family {
        Family::V4 => quoted4(bytes, at),
        Family::V6 => quoted6(packet, bytes, at),
    }?;
    (quoted.l4 + 8 <= packet.end).then_some(quoted)
}

fn quoted4(bytes: &[u8], at: usize) -> Option<Quoted> {
    let header = bytes.get(..20)?;
    let length = usize::from(header[0] & 0xF) * 4;
    let is_first = be16(header, 6)? & 0x1FFF == 0;
    (header[0] >> 4 == 4 && length >= 20 && is_first).then(|| Quoted {
        at,
        l4: at + length,
        src: mapped(&header[12..16]),
        dst: mapped(&header[16..20]),
        proto: header[9],
    })
}

fn quoted6(packet: &Packet<'_>, bytes: &[u8], at: usize) -> Option<Quoted> {
    let header = bytes.get(..40)?;
    if header[0] >> 4 != 6 {
        return None;
    }
    let (src, dst) = addresses6(header)?;
    let (proto, l4, fragment) = walk(packet.frame, at + 40, packet.end, header[6])?;
    (!matches!(fragment, Fragment::Later(_))).then_some(Quoted { at, l4, src, dst, proto })
}

/// The key of the opposite direction, if the error goes to the sender of what it quotes.
fn turned(quoted: &Quoted, packet: &Packet<'_>) -> Option<FlowKey> {
    let ports = [be16(packet.frame, quoted.l4)?, be16(packet.frame, quoted.l4 + 2)?];
    (quoted.src == packet.dst).then(|| FlowKey {
        src: quoted.dst,
        dst: quoted.src,
        sport: ports[1].into(),
        dport: ports[0].into(),
        proto: quoted.proto,
        zero: [0; 3],
    })
}

/// Outside: to the entry's new addresses. Inside: as the receiver sent it, which is the opposite of what
/// it gets. An error on its way to a backend keeps its sender: that is the router that met the packet.
fn translate(frame: &mut [u8], packet: &Packet<'_>, entry: &Entry, quoted: &Quoted) {
    let sum = packet.l4 + 2;
    let pseudo = (packet.proto == ICMP6).then_some(sum);
    let is_reply = entry.flags & flow_flag::REPLY != 0;
    let src = if is_reply { entry.new_src } else { packet.src };
    set_addresses(frame, packet, &src, &entry.new_dst, pseudo);

    let mut inside = frame[quoted.at..quoted.l4 + 4].to_vec();
    let ports = quoted.l4 - quoted.at;
    match packet.family {
        Family::V4 => {
            patch(&mut inside, 12, &entry.new_dst.0[12..], &[10]);
            patch(&mut inside, 16, &entry.new_src.0[12..], &[10]);
        }
        Family::V6 => {
            inside[8..24].copy_from_slice(&entry.new_dst.0);
            inside[24..40].copy_from_slice(&entry.new_src.0);
        }
    }
    inside[ports..ports + 2].copy_from_slice(&u16::from(entry.new_dport).to_be_bytes());
    inside[ports + 2..].copy_from_slice(&u16::from(entry.new_sport).to_be_bytes());
    patch(frame, quoted.at, &inside, &[sum]);
}
