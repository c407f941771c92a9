use ipnet::IpNet;
use lb_vrrp::net::{Address, Change, Link, Netlink};

use super::host::{Host, ip, on_a_wire, wait_for};

/// Waits for a notification.
fn await_change<T>(netlink: &mut Netlink, what: &str, matches: impl Fn(&Change) -> Option<T>) -> T {
    wait_for(what, || {
        let mut found = None;
        netlink.notifications(|change| found = found.take().or_else(|| matches(&change))).unwrap();
        found
    })
}

fn eth0(change: &Change) -> Option<&Link> {
    match change {
        Change::Link(link) if link.name == "eth0" => Some(link),
        _ => None,
    }
}

fn address(change: &Change, wanted: &str, is_added: bool) -> Option<Address> {
    match change {
        Change::Address { address, added, .. } if address.ip == wanted.parse::<IpNet>().unwrap() => {
            (*added == is_added).then_some(*address)
        }
        _ => None,
    }
}

#[test]
fn the_wire_and_the_switch_of_an_interface_are_followed() {
    on_a_wire(|peer: Host| {
        let netlink = &mut Netlink::open().unwrap();
        wait_for("carrier", || netlink.link("eth0").unwrap().filter(|link| link.up));
        let set = |words: &str| peer.enter(|| ip(words));
        set("link set eth0 down");
        await_change(netlink, "loss of carrier", |change| eth0(change).filter(|link| !link.up).cloned());
        set("link set eth0 up");
        await_change(netlink, "carrier", |change| eth0(change).filter(|link| link.up).cloned());
        ip("link set eth0 down");
        await_change(netlink, "link that is down", |change| eth0(change).filter(|link| !link.up).cloned());
        ip("link delete eth0");
        await_change(netlink, "end of the link", |change| match change {
            Change::LinkGone { name, .. } if name == "eth0" => Some(()),
            _ => None,
        });
    });
}

#[test]
fn an_interface_that_leaves_a_bridge_is_not_gone() {
    on_a_wire(|_| {
        ip("link add br0 type bridge");
        ip("link set eth0 master br0");
        let netlink = &mut Netlink::open().unwrap();
        ip("link set eth0 nomaster");
        ip("address add 10.0.0.9/24 dev eth0");
        let mut is_gone = false;
        let seen = wait_for("address", || {
            let mut seen = None;
            let each = |change: Change| {
                is_gone |= matches!(change, Change::LinkGone { .. });
                seen = seen.or_else(|| address(&change, "10.0.0.9/24", true));
            };
            netlink.notifications(each).unwrap();
            seen
        });
        assert!(!is_gone && !seen.ours);
    });
}

#[test]
fn addresses_that_come_and_go_are_followed() {
    on_a_wire(|_| {
        let netlink = &mut Netlink::open().unwrap();
        let index = netlink.link("eth0").unwrap().unwrap().index;
        for vip in ["10.0.0.100/24", "2001:db8::100/64"] {
            netlink.add_addresses(index, &[vip.parse().unwrap()]).unwrap();
            assert!(await_change(netlink, vip, |change| address(change, vip, true)).ours);
            ip(&format!("address del {vip} dev eth0"));
            assert!(await_change(netlink, vip, |change| address(change, vip, false)).ours);
        }
    });
}

#[test]
fn an_address_under_duplicate_detection_is_tentative_first() {
    on_a_wire(|_| {
        super::host::sysctl("ipv6/conf/eth0/accept_dad", "1");
        super::host::sysctl("ipv6/conf/all/accept_dad", "1");
        let netlink = &mut Netlink::open().unwrap();
        ip("address add 2001:db8::9/64 dev eth0");
        let index = netlink.link("eth0").unwrap().unwrap().index;
        let wanted: IpNet = "2001:db8::9/64".parse().unwrap();
        let now = netlink.addresses(index).unwrap().into_iter().find(|a| a.ip == wanted).unwrap();
        assert!(!now.is_usable(), "{now:?}");
        let usable = |change: &Change| address(change, "2001:db8::9/64", true).filter(Address::is_usable);
        assert!(!await_change(netlink, "usable address", usable).ours);
    });
}
