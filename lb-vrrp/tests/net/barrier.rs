use std::net::IpAddr;
use std::process::Command;

use lb_vrrp::net::{Barrier, Netlink};

use super::host::{Host, ip, on_a_wire, run};

const VIPS: [&str; 2] = ["10.0.0.100", "2001:db8::100"];
const OWN: [&str; 2] = ["10.0.0.2", "2001:db8::2"];

fn with_vips() {
    for last in [2, 100] {
        ip(&format!("address add 10.0.0.{last}/24 dev eth0"));
        ip(&format!("address add 2001:db8::{last}/64 dev eth0 nodad"));
    }
}

fn addresses() -> Vec<IpAddr> {
    VIPS.iter().map(|vip| vip.parse().unwrap()).collect()
}

fn answers(peer: &Host, address: &str) -> bool {
    let mut ping = Command::new("ping");
    ping.args(["-c", "1", "-W", "0.2", address]);
    peer.enter(|| ping.output().unwrap().status.success())
}

fn peer_on(peer: &Host) {
    peer.enter(|| {
        ip("address add 10.0.0.3/24 dev eth0");
        ip("address add 2001:db8::3/64 dev eth0 nodad");
    });
}

#[test]
fn nothing_is_accepted_but_the_address_is_there() {
    on_a_wire(|peer| {
        peer_on(&peer);
        with_vips();
        let mac = Netlink::open().unwrap().link("eth0").unwrap().unwrap().mac.unwrap();
        let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
        let mut barrier = Barrier::open().unwrap();
        barrier.set(&addresses()).unwrap();
        for (vip, own) in VIPS.into_iter().zip(OWN) {
            assert!(!answers(&peer, vip), "{vip} answers");
            // ARP and neighbour discovery did.
            let entry = peer.enter(|| ip(&format!("neighbour show to {vip}")));
            assert!(entry.contains(&mac), "{entry}");
            assert!(answers(&peer, own), "{own} does not answer");
        }
        // A reload with other addresses.
        barrier.set(&addresses()[1..]).unwrap();
        assert!(answers(&peer, VIPS[0]) && !answers(&peer, VIPS[1]));
        drop(barrier);
        assert!(VIPS.iter().all(|vip| answers(&peer, vip)));
        assert_eq!(run("nft list ruleset"), "");
    });
}

#[test]
fn thousands_of_addresses_are_no_matter() {
    on_a_wire(|_| {
        let v4 = (0..2500).map(|n: u32| IpAddr::from((0x0a00_0000 + n).to_be_bytes()));
        let v6 = (0..2500).map(|n: u128| IpAddr::from((0x2001_0db8 << 96 | n).to_be_bytes()));
        let mut barrier = Barrier::open().unwrap();
        barrier.set(&v4.chain(v6).collect::<Vec<_>>()).unwrap();
        let ruleset = run("nft list ruleset");
        for listed in ["10.0.9.195", "2001:db8::9c3", "type ipv4_addr", "type ipv6_addr"] {
            assert!(ruleset.contains(listed), "{listed}");
        }
    });
}
