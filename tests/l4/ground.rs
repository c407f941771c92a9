//! The hosts themselves, without lb: what the other tests take for granted.

use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use crate::harness::{Asker, CLIENT, Dns, Echo, Hook, Program, Talk, VIP, Web, ask_who, first_word, packets, url, vip};
use crate::net;
use crate::shared::PATIENCE;

#[test]
fn the_router_reaches_everybody() {
    let net = net!(Behind, Hook::Tc);
    for address in ["203.0.113.2", "2001:db8:2::2", VIP[0], VIP[1]] {
        net.client.reaches(address);
    }
}

#[test]
fn backends_behind_lb_are_routed_through_it() {
    let net = net!(Behind, Hook::Xdp);
    net.router.ip("route add 10.0.0.0/24 via 203.0.113.2\nroute add fd00::/64 via 2001:db8:2::2");
    for nth in 0..2 {
        for family in 0..2 {
            net.client.reaches(&net.backend(nth, family));
        }
    }
}

#[test]
fn near_and_far_backends_are_routed_past_lb() {
    for net in [net!(Near, Hook::Tc), net!(Far, Hook::Tc)] {
        for nth in 0..2 {
            for family in 0..2 {
                net.client.reaches(&net.backend(nth, family));
            }
        }
    }
}

#[test]
fn only_lb_answers_for_the_vip() {
    let net = net!(Near, Hook::Tc);
    net.real_servers(false);
    net.router.reaches(VIP[0]);
    let lb = net.lb.run("ip -br link show eth0");
    let mac = lb.split_whitespace().nth(2).unwrap().to_owned();
    let neighbour = net.router.run(&format!("ip neigh show {}", VIP[0]));
    assert!(neighbour.contains(&mac), "{neighbour} instead of {mac}");
}

/// Kernel forwarding in lb's place, by nftables.
#[test]
fn servers_and_clients_work() {
    let net = net!(Behind, Hook::Xdp);
    let web = Web::start(&net.backends, 10);
    let _dns = Dns::start(&net);
    let _echo = Echo::start(&net.backends[0], 7, &["10.0.0.11", "fd00::11"]);
    net.lb.run("nft add table inet t");
    net.lb.run("nft add chain inet t in { type nat hook prerouting priority 0 ; }");
    net.lb.run("nft add rule inet t in ip daddr 203.0.113.100 dnat ip to 10.0.0.11");
    net.lb.run("nft add rule inet t in ip6 daddr 2001:db8:2::100 dnat ip6 to fd00::11");
    for family in 0..2 {
        let page = net.client.run(&format!("curl -sS --max-time 5 {}", url(family, "/")));
        assert_eq!(page, format!("b1 {}", CLIENT[family]));
        assert_eq!(net.client.run(&ask_who(VIP[family])), "\"b1\"\n");
        let mut talk = Talk::open(&net, vip(family, 7));
        talk.say("hello");
        assert_eq!(talk.backend, "b1");
        assert_eq!(Asker::new(&net, vip(family, 7)).ask(&[b'x'; 3000]), "b1");
        let fetch = format!("curl -sS --max-time 30 {} | sha256sum", url(family, "/blob"));
        let got = net.client.command("sh").args(["-c", &fetch]).output().unwrap();
        assert_eq!(first_word(&String::from_utf8_lossy(&got.stdout)), web.blob_sha256(&net.lb));
    }
}

#[test]
fn far_backends_unwrap_what_comes_in_a_tunnel() {
    let net = net!(Far, Hook::Tc);
    net.real_servers(true);
    let _decap = Program::decap(&net.backends[0]);
    let _echo = Echo::start(&net.backends[0], 7, &VIP);
    let SocketAddr::V4(to) = vip(0, 7) else { unreachable!("the first VIP is IPv4") };
    let client = net.client.enter(|| UdpSocket::bind("198.51.100.7:5000").unwrap());
    let inner = packets::datagram("198.51.100.7:5000".parse().unwrap(), to, b"hello");
    let tunnel = net.lb.enter(|| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(4))).unwrap());
    let b1: SocketAddr = "10.0.0.11:0".parse().unwrap();
    tunnel.send_to(&inner, &b1.into()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = [0; 64];
    let (n, from) = client.recv_from(&mut answer).unwrap();
    assert_eq!((&answer[..n], from), (&b"b1 hello"[..], to.into()));
}
