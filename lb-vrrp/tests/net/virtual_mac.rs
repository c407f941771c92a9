use std::fs;
use std::net::IpAddr;

use lb_vrrp::net::{Ledger, Link, Netlink, Socket, Spec, VirtualMac, leftovers};
use lb_vrrp::packet::{Family, GROUP_V4, Mac, PROTOCOL};

use super::host::{Host, ip, on_a_wire, run, sysctl, wait_for};
use super::tap::{Tap, ethertype};

const VRID: u8 = 51;
const MAC: [Mac; 2] = [[0, 0, 0x5e, 0, 1, VRID], [0, 0, 0x5e, 0, 2, VRID]];
const PAYLOAD: &[u8] = b"an advert";

fn eth0(netlink: &mut Netlink) -> Link {
    netlink.link("eth0").unwrap().unwrap()
}

fn create(family: Family) -> (Netlink, VirtualMac) {
    let mut netlink = Netlink::open().unwrap();
    let parent = eth0(&mut netlink);
    let virtual_mac = VirtualMac::create(&mut netlink, &Ledger::default(), &parent, family, VRID).unwrap();
    (netlink, virtual_mac)
}

/// A node with addresses of its own, which may become active.
struct Node {
    netlink: Netlink,
    virtual_mac: VirtualMac,
    above: Socket,
    below: Socket,
    own: IpAddr,
}

impl Node {
    fn new(last: u8) -> Self {
        ip(&format!("address add 10.0.0.{last}/24 dev eth0"));
        let (mut netlink, virtual_mac) = create(Family::V4);
        let above = Socket::open(&virtual_mac.spec(Family::V4, true)).unwrap();
        let eth0 = eth0(&mut netlink);
        let below = Spec::of(&eth0, Family::V4, true);
        let below = Socket::open(&below).unwrap();
        Self { netlink, virtual_mac, above, below, own: format!("10.0.0.{last}").parse().unwrap() }
    }

    fn set_active(&mut self, is_active: bool) {
        self.virtual_mac.set_up(&mut self.netlink, is_active).unwrap();
    }
}

fn send(by: &Socket, from: IpAddr) {
    by.send(PAYLOAD, from, GROUP_V4.into()).unwrap();
}

fn hear(by: &Socket, from: IpAddr) {
    let mut buffer = [0; 256];
    let received = wait_for("advert", || by.receive(&mut buffer).unwrap().map(|received| received.map(|r| r.source)));
    assert_eq!(received, Ok(from));
}

fn hear_nothing(by: &Socket) {
    assert_eq!(by.receive(&mut [0; 256]).unwrap(), None);
}

fn read(key: &str) -> String {
    fs::read_to_string(format!("/proc/sys/net/{key}")).unwrap().trim().to_owned()
}

/// What the peer says of an address after it has asked.
fn neighbour(peer: &Host, address: &str) -> String {
    peer.enter(|| {
        run(&format!("ping -c 1 -w 5 {address}"));
        ip(&format!("neighbour show to {address}"))
    })
}

#[test]
fn adverts_leave_from_the_virtual_mac_and_from_the_address_below() {
    on_a_wire(|peer| {
        let tap = peer.enter(Tap::open);
        let mut node = Node::new(2);
        node.set_active(true);
        send(&node.above, node.own);
        let frame = tap.frame("advert", |frame| ethertype(frame) == 0x0800 && frame[23] == PROTOCOL);
        assert_eq!(frame[6..12], MAC[0]);
        assert_eq!(frame[26..30], [10, 0, 0, 2]);

        let (mut netlink, virtual_mac) = create(Family::V6);
        let index = eth0(&mut netlink).index;
        let own = wait_for("link-local address", || {
            let addresses = netlink.addresses(index).unwrap();
            addresses.into_iter().find(|a| a.is_link_local() && a.is_usable()).map(|a| a.ip.addr())
        });
        virtual_mac.set_up(&mut netlink, true).unwrap();
        assert_eq!(netlink.addresses(virtual_mac.index()).unwrap(), []);
        let socket = Socket::open(&virtual_mac.spec(Family::V6, true)).unwrap();
        socket.send(PAYLOAD, own, Family::V6.group()).unwrap();
        let frame = tap.frame("advert", |frame| ethertype(frame) == 0x86dd && frame[20] == PROTOCOL);
        assert_eq!(frame[6..12], MAC[1]);
        let IpAddr::V6(own) = own else { panic!("{own} is no IPv6 address") };
        assert_eq!(frame[22..38], own.octets());
    });
}

#[test]
fn the_virtual_mac_answers_for_the_virtual_addresses_only() {
    on_a_wire(|peer| {
        // As strict as a host may be.
        sysctl("ipv4/conf/all/rp_filter", "1");
        peer.enter(|| {
            ip("address add 10.0.0.3/24 dev eth0");
            ip("address add 2001:db8::3/64 dev eth0 nodad");
        });
        ip("address add 10.0.0.2/24 dev eth0");
        ip("address add 2001:db8::2/64 dev eth0 nodad");
        for (family, own, vips) in [
            (Family::V4, "10.0.0.2", ["10.0.0.100/24", "10.0.0.101/24"]),
            (Family::V6, "2001:db8::2", ["2001:db8::100/64", "2001:db8::101/64"]),
        ] {
            let (mut netlink, virtual_mac) = create(family);
            let vips = vips.map(|vip| vip.parse::<ipnet::IpNet>().unwrap());
            virtual_mac.set_up(&mut netlink, true).unwrap();
            virtual_mac.add_addresses(&mut netlink, &vips).unwrap();
            let expected = if family == Family::V4 { "00:00:5e:00:01:33" } else { "00:00:5e:00:02:33" };
            let entry = neighbour(&peer, own);
            assert!(!entry.contains(expected), "{entry}");
            // The first one away does not take the second one along.
            let entry = neighbour(&peer, &vips[0].addr().to_string());
            assert!(entry.contains(expected), "{entry}");
            netlink.remove_addresses(virtual_mac.index(), &vips[..1]).unwrap();
            let entry = neighbour(&peer, &vips[1].addr().to_string());
            assert!(entry.contains(expected), "{entry}");
        }
    });
}

#[test]
fn replies_do_not_bind_the_virtual_address_to_the_interface_below() {
    on_a_wire(|peer| {
        peer.enter(|| ip("address add 10.0.0.3/24 dev eth0"));
        ip("address add 10.0.0.2/24 dev eth0");
        let (mut netlink, virtual_mac) = create(Family::V4);
        virtual_mac.set_up(&mut netlink, true).unwrap();
        virtual_mac.add_addresses(&mut netlink, &["10.0.0.100/24".parse().unwrap()]).unwrap();
        let tap = peer.enter(Tap::open);
        // The node does not know the peer, and asks for it in order to answer.
        run("ip neighbour flush dev eth0");
        assert!(neighbour(&peer, "10.0.0.100").contains("00:00:5e:00:01:33"));
        let own = eth0(&mut netlink).mac.unwrap();
        while let Some(frame) = tap.next() {
            let claims_vip = ethertype(&frame) == 0x0806 && frame[28..32] == [10, 0, 0, 100];
            assert!(!(claims_vip && frame[22..28] == own), "{frame:x?}");
        }
    });
}

#[test]
fn the_routes_of_the_interface_below_are_preferred() {
    on_a_wire(|_| {
        let (mut netlink, virtual_mac) = create(Family::V4);
        virtual_mac.set_up(&mut netlink, true).unwrap();
        virtual_mac.add_addresses(&mut netlink, &["10.0.0.100/24".parse().unwrap()]).unwrap();
        ip("address add 10.0.0.2/24 dev eth0");
        let route = ip("route get 10.0.0.3");
        assert!(route.contains("dev eth0 src 10.0.0.2"), "{route}");
    });
}

#[test]
fn a_backup_hears_the_active_router_and_is_silent() {
    on_a_wire(|peer| {
        let tap = peer.enter(Tap::open);
        let backup = Node::new(2);
        let mut active = peer.enter(|| Node::new(3));
        peer.enter(|| active.set_active(true));
        send(&active.above, active.own);
        hear(&backup.below, active.own);
        hear_nothing(&backup.above);
        send(&backup.below, backup.own);
        hear(&active.below, backup.own);
        hear_nothing(&active.above);
        // Of what came from the other end of the wire, nothing was from the virtual MAC.
        let own = Netlink::open().unwrap().link("eth0").unwrap().unwrap().mac.unwrap();
        let is_advert = |frame: &[u8]| ethertype(frame) == 0x0800 && frame[23] == PROTOCOL && frame[29] == 2;
        let sources = std::iter::from_fn(|| tap.next()).filter(|frame| is_advert(frame));
        let sources: Vec<_> = sources.map(|frame| frame[6..12].to_vec()).collect();
        assert!(!sources.is_empty() && sources.iter().all(|source| *source == own), "{sources:x?}");
    });
}

#[test]
fn two_that_are_active_hear_each_other_once() {
    on_a_wire(|peer| {
        let mut ours = Node::new(2);
        let mut theirs = peer.enter(|| Node::new(3));
        ours.set_active(true);
        peer.enter(|| theirs.set_active(true));
        for (from, to) in [(&theirs, &ours), (&ours, &theirs)] {
            send(&from.above, from.own);
            hear(&to.above, from.own);
            hear_nothing(&to.below);
            // Without a virtual MAC on their side.
            send(&from.below, from.own);
            hear(&to.below, from.own);
            hear_nothing(&to.above);
        }
        // Both again after one gave up.
        ours.set_active(false);
        send(&theirs.above, theirs.own);
        hear(&ours.below, theirs.own);
    });
}

#[test]
fn what_a_dead_process_left_is_found_and_replaced() {
    on_a_wire(|_| {
        let (mut netlink, first) = create(Family::V4);
        first.add_addresses(&mut netlink, &["10.0.0.100/24".parse().unwrap()]).unwrap();
        let found = leftovers(&mut netlink).unwrap();
        assert_eq!(found.iter().map(|link| &*link.name).collect::<Vec<_>>(), ["lb51.eth0"]);
        let parent = eth0(&mut netlink);
        let second = VirtualMac::create(&mut netlink, &Ledger::default(), &parent, Family::V4, VRID).unwrap();
        assert_eq!(netlink.addresses(second.index()).unwrap(), []);
        second.remove(&mut netlink).unwrap();
        assert_eq!(leftovers(&mut netlink).unwrap(), []);
    });
}

#[test]
fn somebody_elses_interface_of_that_name_stays() {
    on_a_wire(|_| {
        ip("link add lb51.eth0 type bridge");
        let mut netlink = Netlink::open().unwrap();
        let parent = eth0(&mut netlink);
        let error = VirtualMac::create(&mut netlink, &Ledger::default(), &parent, Family::V4, VRID).unwrap_err();
        assert!(error.to_string().starts_with("creating a macvlan on lb51.eth0: File exists"), "{error}");
        assert!(netlink.link("lb51.eth0").unwrap().is_some());
    });
}

#[test]
fn what_was_set_is_put_back() {
    on_a_wire(|_| {
        let keys = ["arp_ignore", "arp_announce"].map(|name| format!("ipv4/conf/eth0/{name}"));
        sysctl(&keys[1], "1");
        let values = || keys.each_ref().map(|key| read(key));
        let before = values();
        let (mut netlink, virtual_mac) = create(Family::V4);
        assert_eq!(values(), ["1", "2"]);
        virtual_mac.remove(&mut netlink).unwrap();
        assert_eq!(values(), before);
        // Unless somebody else has a different opinion by then.
        let (mut netlink, virtual_mac) = create(Family::V4);
        sysctl(&keys[0], "2");
        virtual_mac.remove(&mut netlink).unwrap();
        assert_eq!(values(), ["2", "1"]);
    });
}

#[test]
fn a_long_name_is_replaced_by_a_number() {
    on_a_wire(|_| {
        ip("link set eth0 down");
        ip("link set eth0 name enp0s31f6np1");
        let mut netlink = Netlink::open().unwrap();
        let parent = netlink.link("enp0s31f6np1").unwrap().unwrap();
        let virtual_mac = VirtualMac::create(&mut netlink, &Ledger::default(), &parent, Family::V6, 255).unwrap();
        assert_eq!(virtual_mac.name(), format!("lb255v6.{}", parent.index));
    });
}
