//! Who speaks VRRP on the network of a virtual router, and what of it reaches this host's programs.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;
use lb_core::config::VirtualRouter;
use lb_vrrp::net::{Netlink, Socket, Spec};
use lb_vrrp::packet::{Family, PROTOCOL, Received, split_ipv4};
use socket2::{Domain, Protocol, SockFilter, Type};

use crate::verbs::finding::{Finding, finding, problem, warning};

/// linux/if_ether.h.
const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;
/// Between two looks at the sockets.
const TURN: Duration = Duration::from_millis(10);
/// No longer than a person waits.
const LONGEST: Duration = Duration::from_secs(4);
const SHORTEST: Duration = Duration::from_millis(500);

/// An advert for a virtual router of ours, or one that has its number.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sighting {
    source: IpAddr,
    /// It lists an address of ours.
    is_ours: bool,
}

/// What was seen of one virtual router.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Before any filter.
    wire: Vec<Sighting>,
    /// As lb would hear it.
    let_in: Vec<Sighting>,
}

/// An ear on one virtual router: what comes by, and what comes in.
struct Ear<'r> {
    router: &'r VirtualRouter,
    family: Family,
    wire: socket2::Socket,
    inside: Socket,
    heard: Heard,
}

/// Listens on all of them for some of their intervals. `None`: the interface is not there.
pub fn listen(routers: &[&VirtualRouter]) -> io::Result<Vec<Option<Heard>>> {
    let mut netlink = Netlink::open()?;
    let mut ears = routers.iter().map(|router| Ear::open(&mut netlink, router)).collect::<io::Result<Vec<_>>>()?;
    let longest = routers.iter().map(|router| router.interval * 3 + TURN * 10).max().unwrap_or_default();
    for _ in 0..longest.clamp(SHORTEST, LONGEST).as_millis() / TURN.as_millis() {
        std::thread::sleep(TURN);
        ears.iter_mut().flatten().for_each(Ear::take);
    }
    Ok(ears.into_iter().map(|ear| ear.map(|ear| ear.heard)).collect())
}

impl<'r> Ear<'r> {
    fn open(netlink: &mut Netlink, router: &'r VirtualRouter) -> io::Result<Option<Self>> {
        let family = if router.is_v6() { Family::V6 } else { Family::V4 };
        let Some(link) = netlink.link(&router.interface).map_err(io::Error::other)? else { return Ok(None) };
        let inside = Socket::open(&Spec::of(&link, family, true)).map_err(io::Error::other)?;
        Ok(Some(Self { router, family, wire: wire(link.index, family)?, inside, heard: Heard::default() }))
    }

    fn take(&mut self) {
        let mut buffer = [0; 2048];
        while let Ok(length @ 1..) = (&self.wire).read(&mut buffer) {
            let packet = match self.family {
                Family::V4 => split_ipv4(&buffer[..length]).ok(),
                Family::V6 => split_ipv6(&buffer[..length]),
            };
            note(&mut self.heard.wire, packet.and_then(|packet| sighting(self.router, &packet)));
        }
        while let Ok(Some(packet)) = self.inside.receive(&mut buffer) {
            note(&mut self.heard.let_in, packet.ok().and_then(|packet| sighting(self.router, &packet)));
        }
    }
}

fn note(known: &mut Vec<Sighting>, sighting: Option<Sighting>) {
    known.extend(sighting.filter(|sighting| !known.contains(sighting)));
}

/// Packets of VRRP that arrive at an interface, from their IP header on (packet(7), SOCK_DGRAM).
fn wire(index: u32, family: Family) -> io::Result<socket2::Socket> {
    let (kind, protocol_at) = match family {
        Family::V4 => (ETH_P_IP, 9),
        Family::V6 => (ETH_P_IPV6, 6),
    };
    // Linux takes the type of the frame in the order of the network.
    let kind = i32::from(u16::to_be(kind));
    let socket = socket2::Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(kind)))?;
    socket.set_nonblocking(true)?;
    socket.attach_filter(&arriving(index, protocol_at))?;
    Ok(socket)
}

/// In classic BPF: of this interface, not going out, and VRRP.
fn arriving(index: u32, protocol_at: u32) -> [SockFilter; 8] {
    const LOAD_WORD: u16 = 0x20;
    const LOAD_BYTE: u16 = 0x30;
    const EQUALS: u16 = 0x15;
    const RETURN: u16 = 0x06;
    // linux/filter.h: SKF_AD_OFF, with SKF_AD_PKTTYPE and SKF_AD_IFINDEX.
    const ABOUT: u32 = 0xffff_f000;
    const OUTGOING: u32 = 4;
    [
        SockFilter::new(LOAD_WORD, 0, 0, ABOUT + 8),
        SockFilter::new(EQUALS, 0, 5, index),
        SockFilter::new(LOAD_WORD, 0, 0, ABOUT + 4),
        SockFilter::new(EQUALS, 3, 0, OUTGOING),
        SockFilter::new(LOAD_BYTE, 0, 0, protocol_at),
        SockFilter::new(EQUALS, 0, 1, u32::from(PROTOCOL)),
        SockFilter::new(RETURN, 0, 0, u32::from(u16::MAX)),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// RFC 8200 section 3; VRRP has no extension headers in front.
fn split_ipv6(packet: &[u8]) -> Option<Received<'_>> {
    let (header, payload) = packet.split_first_chunk::<40>()?;
    let address = |at: usize| {
        let octets: [u8; 16] = header[at..at + 16].try_into().unwrap_or_default();
        IpAddr::V6(Ipv6Addr::from(octets))
    };
    Some(Received { source: address(8), destination: address(24), ttl: header[7], payload })
}

/// Where it has the number of the virtual router.
fn sighting(router: &VirtualRouter, packet: &Received<'_>) -> Option<Sighting> {
    let [_, vrid, _, count, _, _, _, _, addresses @ ..] = packet.payload else { return None };
    if *vrid != router.vrid {
        return None;
    }
    let is_ours = |address: &IpAddr| router.addresses.iter().map(IpNet::addr).any(|ours| ours == *address);
    let is_ours = listed(addresses, usize::from(*count), router.is_v6()).iter().any(is_ours);
    Some(Sighting { source: packet.source, is_ours })
}

fn listed(bytes: &[u8], count: usize, v6: bool) -> Vec<IpAddr> {
    if v6 {
        let octets = |chunk: &[u8]| <[u8; 16]>::try_from(chunk).unwrap_or_default();
        return bytes.chunks_exact(16).take(count).map(|chunk| Ipv6Addr::from(octets(chunk)).into()).collect();
    }
    let octets = |chunk: &[u8]| <[u8; 4]>::try_from(chunk).unwrap_or_default();
    bytes.chunks_exact(4).take(count).map(|chunk| Ipv4Addr::from(octets(chunk)).into()).collect()
}

impl Heard {
    /// `is_running`: an lb serves here, so that silence may mean that it is the active one.
    pub fn findings(&self, router: &VirtualRouter, is_running: bool) -> Vec<Finding> {
        let what = format!("virtual router {}", router.name);
        let mut findings: Vec<_> = self
            .wire
            .iter()
            .filter(|seen| !seen.is_ours)
            .map(|seen| {
                let why =
                    format!("{} uses vrid {} on {} for other addresses", seen.source, router.vrid, router.interface);
                finding(what.clone(), Err(problem(why)))
                    .or_fix("a vrid that nobody else in this network has, on all nodes")
            })
            .collect();
        let peers: Vec<_> = self.wire.iter().filter(|seen| seen.is_ours).collect();
        let filtered: Vec<_> = peers.iter().filter(|seen| !self.let_in.contains(seen)).collect();
        for seen in &filtered {
            let why = format!(
                "adverts of {} arrive on {} and are filtered: both nodes would be active",
                seen.source, router.interface
            );
            let fix = format!(
                "let IP protocol 112 from {} in; where nftables drops it, the finding `adverts of` names the chain",
                seen.source
            );
            findings.push(finding(what.clone(), Err(problem(why))).or_fix(fix));
        }
        findings.extend(
            peers
                .iter()
                .filter(|seen| self.let_in.contains(seen))
                .map(|seen| finding(what.clone(), Ok(format!("{} is active, and is heard", seen.source)))),
        );
        if peers.is_empty() && !is_running {
            let why = "no other node is heard, as is right only while none of them runs";
            findings.push(
                finding(what, Err(warning(why)))
                    .or_fix("start lb on the other node, then ask again: `lb doctor` there names what filters it"),
            );
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lb_core::config;

    use super::*;

    fn router() -> VirtualRouter {
        let text = "vrrp: { r: { interface: eth0, vrid: 51, addresses: [203.0.113.10/24] } }\n\
                    frontends: { f: { listen: '0.0.0.0:80', routes: [{ respond: 200 }] } }";
        let config =
            config::load(text, Path::new("lb.yaml"), &|_| None).unwrap_or_else(|problems| panic!("{problems}")).config;
        VirtualRouter::clone(&config.vrrp[0])
    }

    fn advert(vrid: u8, address: [u8; 4]) -> Vec<u8> {
        [&[0x31, vrid, 100, 1, 0, 100, 0, 0][..], &address].concat()
    }

    fn seen(payload: &[u8]) -> Option<Sighting> {
        let [source, destination] = ["10.0.0.3", "224.0.0.18"].map(|ip| ip.parse().unwrap());
        sighting(&router(), &Received { source, destination, ttl: 255, payload })
    }

    fn lines(wire: &[&Sighting], let_in: &[&Sighting], is_running: bool) -> Vec<String> {
        let all = |seen: &[&Sighting]| seen.iter().map(|seen| (*seen).clone()).collect();
        let heard = Heard { wire: all(wire), let_in: all(let_in) };
        heard.findings(&router(), is_running).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_advert_is_ours_by_its_number_and_its_addresses() {
        assert!(seen(&advert(51, [203, 0, 113, 10])).unwrap().is_ours);
        assert!(!seen(&advert(51, [192, 0, 2, 1])).unwrap().is_ours);
        assert_eq!(seen(&advert(52, [203, 0, 113, 10])), None);
        assert_eq!(seen(&[0x31, 51]), None);
    }

    #[test]
    fn another_one_with_our_number_is_a_problem() {
        let stranger = seen(&advert(51, [192, 0, 2, 1])).unwrap();
        let lines = lines(&[&stranger], &[&stranger], true);
        assert!(lines[0].starts_with("PROBLEM") && lines[0].contains("10.0.0.3 uses vrid 51 on eth0"), "{lines:?}");
        assert_eq!(lines.len(), 1);
    }

    #[test]
    fn what_arrives_and_does_not_come_in_is_filtered() {
        let peer = seen(&advert(51, [203, 0, 113, 10])).unwrap();
        let filtered = lines(&[&peer], &[], false);
        assert!(
            filtered[0].contains("are filtered") && filtered[0].contains("let IP protocol 112 from 10.0.0.3 in"),
            "{filtered:?}"
        );
        let heard = lines(&[&peer], &[&peer], false);
        assert!(heard[0].starts_with("ok") && heard.len() == 1, "{heard:?}");
    }

    #[test]
    fn silence_is_odd_where_nothing_runs_here() {
        assert!(lines(&[], &[], false)[0].starts_with("warning"));
        assert!(lines(&[], &[], true).is_empty());
    }
}
