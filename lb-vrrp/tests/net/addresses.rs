use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use lb_vrrp::net::{Address, Netlink};

use super::host::{ip, on_a_wire, on_new_host, sysctl};

const OWN: &str = "10.0.0.2/16";

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn thousand() -> Vec<IpNet> {
    (0..1000u32).map(|n| IpNet::new(Ipv4Addr::from(0x0a00_0100 + n).into(), 16).unwrap()).collect()
}

fn eth0(netlink: &mut Netlink) -> u32 {
    netlink.link("eth0").unwrap().unwrap().index
}

fn ours(netlink: &mut Netlink, index: u32) -> Vec<IpNet> {
    netlink.addresses(index).unwrap().into_iter().filter(|a| a.ours).map(|a| a.ip).collect()
}

fn find(netlink: &mut Netlink, index: u32, ip: &str) -> Option<Address> {
    let ip: IpAddr = ip.parse().unwrap();
    netlink.addresses(index).unwrap().into_iter().find(|a| a.ip.addr() == ip)
}

#[test]
fn a_thousand_addresses_come_and_go() {
    on_a_wire(|_| {
        ip(&format!("address add {OWN} dev eth0"));
        let netlink = &mut Netlink::open().unwrap();
        let index = eth0(netlink);
        for _ in 0..2 {
            netlink.add_addresses(index, &thousand()).unwrap();
            assert_eq!(ours(netlink, index), thousand());
        }
        for _ in 0..2 {
            netlink.remove_addresses(index, &thousand()).unwrap();
            assert_eq!(ours(netlink, index), []);
        }
        assert!(find(netlink, index, "10.0.0.2").is_some(), "the host's own address is gone");
    });
}

#[test]
fn one_that_is_refused_does_not_stop_the_others() {
    on_a_wire(|_| {
        let netlink = &mut Netlink::open().unwrap();
        let index = eth0(netlink);
        // The kernel takes no multicast address (net/ipv6/addrconf.c, ipv6_add_addr).
        let wanted = nets(&["2001:db8::1/64", "ff02::5/64", "2001:db8::2/64"]);
        let error = netlink.add_addresses(index, &wanted).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("adding ff02::5/64 on eth0: "), "{text}");
        assert_eq!(ours(netlink, index).len(), 2);
    });
}

#[test]
fn addresses_of_a_dead_process_are_recognised() {
    on_a_wire(|_| {
        ip(&format!("address add {OWN} dev eth0"));
        let vips = nets(&["10.0.0.100/16", "2001:db8::100/64"]);
        let netlink = &mut Netlink::open().unwrap();
        let index = eth0(netlink);
        netlink.add_addresses(index, &vips).unwrap();
        let netlink = &mut Netlink::open().unwrap();
        let leftovers = ours(netlink, index);
        assert_eq!(leftovers, vips);
        netlink.remove_addresses(index, &leftovers).unwrap();
        assert_eq!(ours(netlink, index), []);
    });
}

#[test]
fn an_address_of_the_host_stays_where_it_is() {
    on_a_wire(|_| {
        ip(&format!("address add {OWN} dev eth0"));
        let vips = nets(&[OWN, "10.0.0.100/16"]);
        let netlink = &mut Netlink::open().unwrap();
        let index = eth0(netlink);
        netlink.add_addresses(index, &vips).unwrap();
        assert_eq!(ours(netlink, index), vips[1..]);
        netlink.remove_addresses(index, &vips).unwrap();
        assert!(find(netlink, index, "10.0.0.2").is_some());
        // Once it is gone, it is ours as any other.
        ip(&format!("address del {OWN} dev eth0"));
        netlink.add_addresses(index, &vips[..1]).unwrap();
        netlink.remove_addresses(index, &vips[..1]).unwrap();
        assert_eq!(netlink.addresses(index).unwrap().iter().filter(|a| a.ip.addr().is_ipv4()).count(), 0);
    });
}

#[test]
fn ipv6_addresses_can_be_used_at_once_and_are_no_source() {
    on_a_wire(|_| {
        sysctl("ipv6/conf/eth0/accept_dad", "1");
        let netlink = &mut Netlink::open().unwrap();
        let index = eth0(netlink);
        netlink.add_addresses(index, &nets(&["2001:db8::100/64"])).unwrap();
        let address = find(netlink, index, "2001:db8::100").unwrap();
        assert!(address.is_usable() && address.deprecated && address.ours);
    });
}

#[test]
fn without_the_interface_nothing_is_there_and_nothing_to_remove() {
    on_new_host(|| {
        let netlink = &mut Netlink::open().unwrap();
        assert_eq!(netlink.link("eth0").unwrap(), None);
        assert_eq!(netlink.addresses(77).unwrap(), []);
        netlink.remove_addresses(77, &nets(&["10.0.0.1/24"])).unwrap();
        let error = netlink.add_addresses(77, &nets(&["10.0.0.1/24"])).unwrap_err();
        assert!(error.is_gone());
        assert!(error.to_string().starts_with("adding 10.0.0.1/24 on interface 77: "), "{error}");
    });
}
