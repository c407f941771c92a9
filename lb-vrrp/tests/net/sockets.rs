use std::net::{IpAddr, Ipv6Addr};

use lb_vrrp::net::{Link, Netlink, Socket, Spec};
use lb_vrrp::packet::{Family, GROUP_V4, GROUP_V6, PROTOCOL, PacketError, Received};

use super::host::{ip, on_a_wire, wait_for};
use super::tap::{Tap, ethertype};

const PAYLOAD: &[u8] = b"an advert, as far as the kernel knows";

fn open(family: Family, multicast: bool) -> Socket {
    let link = Netlink::open().unwrap().link("eth0").unwrap().unwrap();
    Socket::open(&Spec { disguised: true, ..Spec::of(&link, family, multicast) }).unwrap()
}

fn with_addresses(last: u8) {
    ip(&format!("address add 10.0.0.{last}/24 dev eth0"));
    ip(&format!("address add 2001:db8::{last}/64 dev eth0 nodad"));
}

fn link_local() -> IpAddr {
    let netlink = &mut Netlink::open().unwrap();
    let index = netlink.link("eth0").unwrap().unwrap().index;
    wait_for("link-local address", || {
        let addresses = netlink.addresses(index).unwrap();
        addresses.into_iter().find(|a| a.is_link_local() && a.is_usable()).map(|a| a.ip.addr())
    })
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Checks the next packet.
fn hear(socket: &Socket, source: IpAddr, destination: IpAddr) {
    let mut buffer = [0; 2048];
    wait_for("packet", || {
        let received = socket.receive(&mut buffer).unwrap()?;
        assert_eq!(received, Ok(Received { source, destination, ttl: 255, payload: PAYLOAD }));
        Some(())
    });
}

fn hear_nothing(socket: &Socket) {
    assert_eq!(socket.receive(&mut [0; 2048]).unwrap(), None);
}

#[test]
fn adverts_to_the_group_and_to_a_peer_are_heard() {
    on_a_wire(|peer| {
        with_addresses(2);
        peer.enter(|| with_addresses(3));
        let [own6, _] = [link_local(), peer.enter(link_local)];
        for (family, source, group, unicast) in [
            (Family::V4, address("10.0.0.2"), IpAddr::from(GROUP_V4), address("10.0.0.3")),
            (Family::V6, own6, GROUP_V6.into(), address("2001:db8::3")),
        ] {
            let ours = open(family, true);
            let theirs = peer.enter(|| open(family, true));
            ours.send(PAYLOAD, source, group).unwrap();
            hear(&theirs, source, group);
            ours.send(PAYLOAD, source, unicast).unwrap();
            hear(&theirs, source, unicast);
            // Ours did not come back.
            hear_nothing(&ours);
        }
    });
}

#[test]
fn without_the_group_only_unicast_is_heard() {
    on_a_wire(|peer| {
        with_addresses(2);
        peer.enter(|| with_addresses(3));
        let (source, unicast) = (address("10.0.0.2"), address("10.0.0.3"));
        let ours = open(Family::V4, false);
        // Somebody else on the host joins the group.
        let (theirs, _other) = peer.enter(|| (open(Family::V4, false), open(Family::V4, true)));
        ours.send(PAYLOAD, source, GROUP_V4.into()).unwrap();
        ours.send(PAYLOAD, source, unicast).unwrap();
        hear(&theirs, source, unicast);
        hear_nothing(&theirs);
    });
}

#[test]
fn an_advert_leaves_as_network_control_with_full_ttl() {
    on_a_wire(|peer| {
        with_addresses(2);
        let tap = peer.enter(Tap::open);
        open(Family::V4, true).send(PAYLOAD, address("10.0.0.2"), GROUP_V4.into()).unwrap();
        let is_v4 = |frame: &[u8]| ethertype(frame) == 0x0800 && frame[14 + 9] == PROTOCOL;
        let frame = tap.frame("advert over IPv4", is_v4);
        assert_eq!(frame[..6], [1, 0, 0x5e, 0, 0, 0x12]);
        assert_eq!((frame[15], frame[14 + 8]), (0xc0, 255), "type of service, TTL");
        assert_eq!(frame[14 + 20..], *PAYLOAD);

        open(Family::V6, true).send(PAYLOAD, link_local(), GROUP_V6.into()).unwrap();
        let is_v6 = |frame: &[u8]| ethertype(frame) == 0x86dd && frame[14 + 6] == PROTOCOL;
        let frame = tap.frame("advert over IPv6", is_v6);
        assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 0x12]);
        assert_eq!((frame[14] & 0x0f, frame[15] >> 4, frame[14 + 7]), (0x0c, 0, 255), "traffic class, hop limit");
        assert_eq!(frame[14 + 40..], *PAYLOAD);
    });
}

#[test]
fn an_advert_from_another_mac_differs_in_nothing_else() {
    on_a_wire(|peer| {
        const OTHER: [u8; 6] = [0, 0, 0x5e, 0, 1, 51];
        with_addresses(2);
        for (family, source) in [(Family::V4, address("10.0.0.2")), (Family::V6, link_local())] {
            let theirs = peer.enter(|| open(family, true));
            let tap = peer.enter(Tap::open);
            let socket = open(family, true);
            socket.send(PAYLOAD, source, family.group()).unwrap();
            socket.send_disguised(PAYLOAD, source, OTHER).unwrap();
            hear(&theirs, source, family.group());
            hear(&theirs, source, family.group());
            let is_advert = |frame: &[u8]| frame.ends_with(PAYLOAD);
            let plain = tap.frame("advert", is_advert);
            let mut expected = plain.clone();
            expected[6..12].copy_from_slice(&OTHER);
            assert_eq!(headers(tap.frame("advert", is_advert), family), headers(expected, family));
        }
    });
}

/// Without what the kernel numbers: the identification of an IPv4 packet and the checksum over it, the flow label.
fn headers(mut frame: Vec<u8>, family: Family) -> Vec<u8> {
    match family {
        Family::V4 => [18, 19, 24, 25].into_iter().for_each(|at| frame[at] = 0),
        Family::V6 => [16, 17].into_iter().for_each(|at| frame[at] = 0),
    }
    if family == Family::V6 {
        frame[15] &= 0xf0;
    }
    frame
}

/// While somebody configures the interface anew. Of IPv6, unicast takes the route that goes with the addresses.
#[test]
fn adverts_go_on_from_an_address_that_is_missing() {
    on_a_wire(|peer| {
        with_addresses(2);
        peer.enter(|| with_addresses(3));
        let [own6, _] = [link_local(), peer.enter(link_local)];
        let sockets = [Family::V4, Family::V6].map(|family| (open(family, true), peer.enter(|| open(family, true))));
        ip("address flush dev eth0");
        let own4 = address("10.0.0.2");
        for ((ours, theirs), source, to) in [
            (&sockets[0], own4, IpAddr::from(GROUP_V4)),
            (&sockets[0], own4, address("10.0.0.3")),
            (&sockets[1], own6, GROUP_V6.into()),
        ] {
            ours.send(PAYLOAD, source, to).unwrap();
            hear(theirs, source, to);
        }
    });
}

#[test]
fn a_source_of_the_other_family_is_refused() {
    on_a_wire(|_| {
        with_addresses(2);
        let socket = open(Family::V4, true);
        assert!(socket.send(PAYLOAD, Ipv6Addr::LOCALHOST.into(), GROUP_V4.into()).is_err());
    });
}

#[test]
fn a_packet_longer_than_the_buffer_is_no_packet() {
    on_a_wire(|peer| {
        with_addresses(2);
        peer.enter(|| with_addresses(3));
        let theirs = peer.enter(|| open(Family::V4, false));
        open(Family::V4, false).send(PAYLOAD, address("10.0.0.2"), address("10.0.0.3")).unwrap();
        let received = wait_for("packet", || theirs.receive(&mut [0; 32]).unwrap().map(|received| received.map(drop)));
        assert_eq!(received, Err(PacketError::IpHeader));
    });
}

#[test]
fn without_the_interface_there_is_no_socket() {
    on_a_wire(|_| {
        let eth0 = Netlink::open().unwrap().link("eth0").unwrap().unwrap();
        let gone = Link { name: "eth7".into(), index: 77, ..eth0 };
        let spec = Spec::of(&gone, Family::V4, false);
        let error = Socket::open(&spec).unwrap_err();
        assert!(error.is_gone());
        assert!(error.to_string().starts_with("opening a socket for VRRP on eth7: "), "{error}");
    });
}
