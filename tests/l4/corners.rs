//! Real traffic's corners: path MTU, fragments, ping, TTL, full tables and used-up ports.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::harness::{Asker, Hook, Place, Service, Talk, VIP, Way, Web, first_word, may_run, packets, url, vip};
use crate::shared::eventually;

const PORT: u16 = 7000;

/// A download whose packets are too big for the link to the client: the router's complaint goes to the VIP
/// and must reach the backend that sent them.
fn download_over_a_narrow_link(way: Way, hook: Hook) {
    let service = Service::new(way, hook);
    let net = &service.net;
    let web = Web::start(&net.backends, 4);
    let _lb = service.start(&service.config(80, "", ""));
    net.narrow_client_link(1400);
    for (family, vip) in VIP.into_iter().enumerate() {
        let fetch = format!("curl -sS --max-time 20 {} | sha256sum", url(family, "/blob"));
        let got = net.client.command("sh").args(["-c", &fetch]).output().unwrap();
        assert_eq!(first_word(&String::from_utf8_lossy(&got.stdout)), web.blob_sha256(&net.lb), "{vip}");
    }
}

/// An upload whose packets are too big for a link behind lb: the router's complaint goes to lb, about a packet
/// that the client never sent like this.
fn upload_over_a_narrow_link(way: Way, place: Place, hook: Hook) {
    let service = Service::at(way, place, hook);
    let net = &service.net;
    let _servers = service.iperf3();
    // iperf3 has two connections, which must meet.
    let _lb = service.start(&service.config(5201, "", "scheduler: ip-hash"));
    match place {
        Place::Far => net.narrow_back_link(1400),
        Place::Behind => net.lb.ip("link set eth1 mtu 1400"),
        Place::Near => unreachable!("there is no link between"),
    }
    for vip in VIP {
        eventually("iperf3 uploads", || {
            net.client.try_run(&format!("timeout 10 iperf3 -c {vip} -n 8M")).status.success()
        });
    }
}

macro_rules! tests {
    ($($name:ident: $what:ident($($argument:expr),*);)*) => {$(
        #[test]
        fn $name() {
            if may_run() {
                $what($($argument),*);
            }
        }
    )*};
}

tests! {
    a_download_by_nat_finds_the_path_mtu_xdp: download_over_a_narrow_link(Way::Nat, Hook::Xdp);
    a_download_by_nat_finds_the_path_mtu_tc: download_over_a_narrow_link(Way::Nat, Hook::Tc);
    a_download_by_snat_finds_the_path_mtu: download_over_a_narrow_link(Way::Snat, Hook::Tc);
    a_download_by_dr_finds_the_path_mtu_xdp: download_over_a_narrow_link(Way::Dr, Hook::Xdp);
    a_download_by_dr_finds_the_path_mtu_tc: download_over_a_narrow_link(Way::Dr, Hook::Tc);
    a_download_by_tunnel_finds_the_path_mtu_xdp: download_over_a_narrow_link(Way::Tunnel, Hook::Xdp);
    a_download_by_tunnel_finds_the_path_mtu_tc: download_over_a_narrow_link(Way::Tunnel, Hook::Tc);
    an_upload_by_nat_is_told_of_lbs_narrow_link_xdp: upload_over_a_narrow_link(Way::Nat, Place::Behind, Hook::Xdp);
    an_upload_by_nat_is_told_of_lbs_narrow_link_tc: upload_over_a_narrow_link(Way::Nat, Place::Behind, Hook::Tc);
    an_upload_by_snat_finds_the_path_mtu_xdp: upload_over_a_narrow_link(Way::Snat, Place::Far, Hook::Xdp);
    an_upload_by_snat_finds_the_path_mtu_tc: upload_over_a_narrow_link(Way::Snat, Place::Far, Hook::Tc);
    an_upload_by_tunnel_finds_the_path_mtu_xdp: upload_over_a_narrow_link(Way::Tunnel, Place::Far, Hook::Xdp);
    an_upload_by_tunnel_finds_the_path_mtu_tc: upload_over_a_narrow_link(Way::Tunnel, Place::Far, Hook::Tc);
    a_closed_port_by_nat_is_told_to_the_client_xdp: closed_port(Way::Nat, Hook::Xdp);
    a_closed_port_by_snat_is_told_to_the_client_tc: closed_port(Way::Snat, Hook::Tc);
    long_answers_over_a_link_that_is_narrower_than_the_backends_xdp: long_answers(Hook::Xdp);
    long_answers_over_a_link_that_is_narrower_than_the_backends_tc: long_answers(Hook::Tc);
    datagrams_in_fragments_by_nat_xdp: fragments(Way::Nat, Hook::Xdp);
    datagrams_in_fragments_by_snat_tc: fragments(Way::Snat, Hook::Tc);
    datagrams_in_fragments_by_dr_tc: fragments(Way::Dr, Hook::Tc);
    datagrams_in_fragments_by_tunnel_xdp: fragments(Way::Tunnel, Hook::Xdp);
}

/// Both ways: the echo is as long.
fn fragments(way: Way, hook: Hook) {
    let service = Service::new(way, hook);
    if way == Way::Tunnel {
        // Fragments cannot be fragmented once more by lb; they are as long as the client's link is wide.
        service.net.client.ip("link set eth0 mtu 1400");
        service.net.narrow_client_link(1400);
    }
    let _echoes = service.echoes(PORT);
    let _lb = service.start(&service.config(PORT, "", ""));
    for to in [vip(0, PORT), vip(1, PORT)] {
        let asker = Asker::new(&service.net, to);
        asker.socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let backend = asker.ask(b"short");
        for length in [1400, 3000, 20_000, 3001] {
            let text = vec![b'x'; length];
            // The first one may be lost to the path MTU, either way.
            let answer = asker.try_ask(&text).or_else(|_| asker.try_ask(&text)).or_else(|_| asker.try_ask(&text));
            assert_eq!(answer.unwrap(), backend, "{length} bytes to {to}");
        }
    }
}

/// The backend may cut them, and so might the kernel of lb's host, if it forwarded what comes from its own addresses.
fn long_answers(hook: Hook) {
    let service = Service::new(Way::Nat, hook);
    let net = &service.net;
    net.client.ip("link set eth0 mtu 1400");
    net.narrow_client_link(1400);
    net.lb.ip("link set eth0 mtu 1400");
    let _echoes = service.echoes(PORT);
    let _lb = service.start(&service.config(PORT, "", ""));
    for to in [vip(0, PORT), vip(1, PORT)] {
        let asker = Asker::new(net, to);
        asker.socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let backend = asker.ask(b"short");
        // The longest first: it comes in fragments, which may be cut. Then its sender knows.
        for length in [5000, 1450] {
            let text = vec![b'x'; length];
            let mut answers = (0..3).map(|_| asker.try_ask(&text));
            assert_eq!(answers.find_map(Result::ok).as_ref(), Some(&backend), "{length} bytes to {to}");
        }
    }
}

/// What a host says about a datagram for a port where nobody listens, which lb had changed on its way.
fn closed_port(way: Way, hook: Hook) {
    let service = Service::new(way, hook);
    let _lb = service.start(&service.config(PORT, "", ""));
    for to in [vip(0, PORT), vip(1, PORT)] {
        let asker = Asker::new(&service.net, to);
        // The very first datagram may go while lb and backends still learn each other's addresses.
        let refused = |_| asker.try_ask(b"anybody").unwrap_err().kind() == ErrorKind::ConnectionRefused;
        assert!((0..3).any(refused), "{to}");
    }
}

#[test]
fn the_vip_answers_pings_from_the_data_plane() {
    if !may_run() {
        return;
    }
    for (way, hook) in [(Way::Dr, Hook::Xdp), (Way::Nat, Hook::Tc)] {
        let service = Service::new(way, hook);
        let _lb = service.start(&service.config(PORT, "", ""));
        // The host itself would not: the address is not one of its own any more.
        service.net.lb.ip("link set eth0 arp off");
        service.net.router.ip(&format!("neigh replace {} lladdr {} dev eth1", VIP[0], service.net.lb.mac("eth0")));
        service.net.router.ip(&format!("neigh replace {} lladdr {} dev eth1", VIP[1], service.net.lb.mac("eth0")));
        service.net.lb.ip(&format!("addr del {}/32 dev eth0\naddr del {}/128 dev eth0", VIP[0], VIP[1]));
        for vip in VIP {
            service.net.client.run(&format!("ping -c 2 -i 0.01 -W 5 {vip}"));
            service.net.client.run(&format!("ping -c 1 -s 1000 -W 5 {vip}"));
        }
    }
}

/// What traceroute does: one datagram that may go so far, and who complains.
fn last_hop(service: &Service, ttl: u32) -> Option<Ipv4Addr> {
    let listener = service.net.client.enter(|| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).unwrap());
    listener.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let probe = service.net.client.enter(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    probe.set_ttl(ttl).unwrap();
    probe.send_to(b"how far", vip(0, PORT)).unwrap();
    let mut packet = [0; 576];
    let n = std::io::Read::read(&mut &listener, &mut packet).ok()?;
    let time_exceeded = n > 20 && packet[20] == 11;
    time_exceeded.then(|| Ipv4Addr::new(packet[12], packet[13], packet[14], packet[15]))
}

#[test]
fn traceroute_sees_the_router_lb_and_the_backend() {
    if !may_run() {
        return;
    }
    for (way, hook) in [(Way::Nat, Hook::Xdp), (Way::Dr, Hook::Tc)] {
        let service = Service::new(way, hook);
        let _echoes = service.echoes(PORT);
        let _lb = service.start(&service.config(PORT, "", ""));
        assert_eq!(last_hop(&service, 1), Some(Ipv4Addr::new(198, 51, 100, 1)));
        let lb = last_hop(&service, 2).expect("lb complains");
        assert!(["203.0.113.2", VIP[0]].contains(&lb.to_string().as_str()), "{lb}");
        assert_eq!(last_hop(&service, 3), None, "it reaches its backend");
    }
}

#[test]
fn ports_for_replaced_clients_run_out_and_come_back() {
    if !may_run() {
        return;
    }
    let service = Service::new(Way::Snat, Hook::Tc);
    let _echoes = service.echoes(PORT);
    let ports = "snat_ports: 40000-40015, timeouts: { close: 100ms }";
    // Each CPU has a turn of its own, so that two backends would not get the same number.
    let pools = [0, 1].map(|family| format!("backends: [{}]", service.backend(family, 0)));
    let config = service.config_with(PORT, "", pools).replace("flows: 65536", &format!("flows: 65536, {ports}"));
    let lb = service.start(&config);
    let to = vip(0, PORT);
    let mut open: Vec<Talk> = (0..16).map(|_| Talk::open(&service.net, to)).collect();
    let exhausted = |lb: &crate::shared::Lb| lb.metric("lb_l4_drops_total", &[("reason", "snat_exhausted")]);
    assert_eq!(exhausted(&lb), 0.0, "sixteen for one backend");
    let refused = service.net.client.try_run(&format!("curl -s --max-time 1 telnet://{to}"));
    assert!(!refused.status.success());
    eventually("it is counted", || exhausted(&lb) > 0.0);
    open.iter_mut().for_each(|t| t.say("undisturbed"));
    open.drain(..8).for_each(Talk::reset);
    eventually("ports come back", || Talk::try_open(&service.net, to).is_ok());
    open.iter_mut().for_each(|t| t.say("undisturbed"));
}

#[test]
fn a_syn_flood_leaves_a_thousand_connections_alone() {
    if !may_run() {
        return;
    }
    let service = Service::new(Way::Nat, Hook::Xdp);
    let net = &service.net;
    let _echoes = service.echoes(PORT);
    let lb = service.start(&service.config(PORT, "", "").replace("flows: 65536", "flows: 8192"));
    let to = vip(0, PORT);
    let mut talks: Vec<Talk> = (0..1000).map(|_| Talk::open(net, to)).collect();
    // Answers to invented clients end at the router.
    net.router.ip("route add blackhole 198.18.0.0/15");
    const FLOOD: u32 = 40_000;
    flood(&service, to, FLOOD);
    talks.iter_mut().for_each(|t| t.say("still here"));
    let evicted = lb.metric("lb_l4_flow_evictions_total", &[("reason", "half_open")]);
    assert!(evicted > f64::from(FLOOD) / 4.0, "{evicted} evicted");
    assert!(lb.metric("lb_l4_flows", &[]) <= lb.metric("lb_l4_flows_capacity", &[]));
    Talk::open(net, to).say("and new ones are served");
}

/// One SYN each from as many invented clients.
fn flood(service: &Service, to: SocketAddr, count: u32) {
    let SocketAddr::V4(to) = to else { panic!("IPv4 only") };
    let socket = service.net.client.enter(|| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255))).unwrap());
    for n in 0..count {
        let from = Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + n % (1 << 17));
        socket.send_to(&packets::syn(from, to), &SocketAddr::from(to).into()).unwrap();
    }
}
