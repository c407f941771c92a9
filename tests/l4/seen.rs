//! What lb shows of layer 4: metrics, `lb status`, `lb flows`, `lb explain`.

use serde_json::Value;

use crate::harness::{Asker, Echo, Hook, Service, Talk, Way, may_run, vip};
use crate::shared::{Lb, eventually};

const PORT: u16 = 7000;

fn stage(way: Way, hook: Hook, pool: &str) -> (Service, [Echo; 2], Lb) {
    let service = Service::new(way, hook);
    let echoes = service.echoes(PORT);
    let lb = service.start(&service.config(PORT, "", pool));
    (service, echoes, lb)
}

fn json(lb: &Lb, arguments: &[&str]) -> Value {
    serde_json::from_str(&lb.cli_ok(&[arguments, &["--json"]].concat())).unwrap()
}

#[test]
fn metrics_count_what_was_sent() {
    if !may_run() {
        return;
    }
    let (service, _echoes, lb) = stage(Way::Nat, Hook::Xdp, "");
    let asker = Asker::new(&service.net, vip(0, PORT));
    let backend = asker.ask(&[b'x'; 100]);
    for _ in 0..9 {
        asker.ask(&[b'x'; 100]);
    }
    let frontend = |name: &str, more: &[(&str, &str)]| lb.metric(name, &[&[("frontend", "udp4")], more].concat());
    let one = |name: &str, more: &[(&str, &str)]| {
        lb.metric(name, &[&[("pool", "v4"), ("backend", backend.as_str())], more].concat())
    };
    let (to_backend, to_client) = ([("direction", "in")], [("direction", "out")]);
    assert_eq!(frontend("lb_frontend_packets_total", &to_backend), 10.0);
    assert_eq!(frontend("lb_frontend_packets_total", &to_client), 10.0);
    // Headers of IPv4 and UDP come with the text; the echo is longer by the backend's name and a space.
    assert_eq!(frontend("lb_frontend_bytes_total", &to_backend), 1280.0);
    assert_eq!(frontend("lb_frontend_bytes_total", &to_client), 1310.0);
    assert_eq!(frontend("lb_frontend_flows_total", &[]), 1.0);
    assert_eq!(frontend("lb_frontend_flows_active", &[]), 1.0);
    assert_eq!(one("lb_backend_packets_total", &to_client), 10.0, "seen from a backend, what it gets is out");
    assert_eq!(one("lb_backend_forwarded_bytes_total", &to_backend), 1310.0);
    assert_eq!(one("lb_backend_flows_total", &[]), 1.0);
    assert_eq!(lb.metric("lb_frontend_packets_total", &[("frontend", "tcp4")]), 0.0, "of others nothing is told");
    eventually("the table is counted", || lb.metric("lb_l4_flows", &[]) == 2.0);
    eventually("by state", || lb.metric("lb_l4_flows_by_state", &[("state", "udp")]) == 1.0);
    assert_eq!(lb.metric("lb_l4_flows_capacity", &[]), 131_072.0);
}

#[test]
fn drops_are_counted_by_reason() {
    if !may_run() {
        return;
    }
    let (service, _echoes, lb) = stage(Way::Dr, Hook::Tc, "");
    let net = &service.net;
    let drops = |lb: &Lb, reason| lb.metric("lb_l4_drops_total", &[("reason", reason)]);
    assert_eq!(drops(&lb, "ttl") + drops(&lb, "no_backend") + drops(&lb, "no_flow"), 0.0);
    let asker = Asker::new(net, vip(0, PORT));
    asker.socket.set_ttl(2).unwrap();
    asker.socket.send(b"too far").unwrap();
    eventually("ttl", || drops(&lb, "ttl") == 1.0 && lb.metric("lb_l4_events_total", &[("event", "icmp_sent")]) == 1.0);
    net.client.run("ping -c 3 -i 0.01 -W 5 203.0.113.100");
    assert_eq!(lb.metric("lb_l4_events_total", &[("event", "echo")]), 3.0);
    for id in ["v6/b1", "v6/b2"] {
        lb.cli_ok(&["backend", "drain", id]);
    }
    Asker::new(net, vip(1, PORT)).socket.send(b"anybody").unwrap();
    eventually("no backend", || drops(&lb, "no_backend") == 1.0);
}

#[test]
fn flows_are_listed_filtered_and_counted() {
    if !may_run() {
        return;
    }
    let (service, _echoes, lb) = stage(Way::Snat, Hook::Tc, "");
    let net = &service.net;
    let mut talks: Vec<Talk> = (0..4).map(|_| Talk::open(net, vip(0, PORT))).collect();
    talks.iter_mut().for_each(|t| t.say("established"));
    let asker = Asker::new(net, vip(1, PORT));
    let answered_by = asker.ask(b"hello");
    let all = json(&lb, &["flows"]);
    assert_eq!(all["total"], 5, "{all}");
    let flows = all["flows"].as_array().unwrap();
    for talk in &talks {
        let flow = flows.iter().find(|f| f["client"] == talk.local().to_string()).expect("each is listed");
        assert_eq!((&flow["backend"], &flow["frontend"]), (&talk.backend.as_str().into(), &"tcp4".into()));
        assert_eq!((&flow["state"], &flow["vip"]), (&"established".into(), &vip(0, PORT).to_string().into()));
        assert!(flow["snat"].as_str().unwrap().starts_with("203.0.113.2:"), "{flow}");
    }
    assert_eq!(json(&lb, &["flows", "--frontend", "udp6"])["total"], 1);
    assert_eq!(json(&lb, &["flows", "--state", "established"])["total"], 4);
    assert_eq!(json(&lb, &["flows", "--frontend", "udp6", "--backend", &answered_by])["total"], 1);
    let of_b1 = talks.iter().filter(|t| t.backend == "b1").count();
    assert_eq!(all["by_backend"]["tcp4 b1"], of_b1);
    assert_eq!(all["by_state"]["established"], 4);
    assert_eq!(json(&lb, &["flows", "--limit", "2"])["flows"].as_array().unwrap().len(), 2);
    let by_state = lb.cli_ok(&["flows", "--by-state"]);
    assert!(by_state.lines().any(|l| l.split_whitespace().eq(["established", "4"])), "{by_state}");
    let by_backend = lb.cli_ok(&["flows", "--by-backend"]);
    assert!(by_backend.lines().any(|l| l.split_whitespace().take(2).eq(["tcp4", "b1"])), "{by_backend}");
    let stranger = lb.cli(&["flows", "--frontend", "tcp5"]);
    assert_eq!(stranger.status.code(), Some(1), "{}", String::from_utf8_lossy(&stranger.stderr));
    let text = lb.cli_ok(&["flows"]);
    assert!(text.contains(&talks[0].local().to_string()) && text.contains("5 flows"), "{text}");
    talks.drain(..).for_each(Talk::reset);
    eventually("they are closed", || json(&lb, &["flows", "--state", "closed"])["total"] == 4);
}

#[test]
fn packets_are_sampled() {
    if !may_run() {
        return;
    }
    let (service, _echoes, lb) = stage(Way::Dr, Hook::Xdp, "");
    let asker = Asker::new(&service.net, vip(0, PORT));
    let backend = asker.ask(b"before");
    let samples = std::thread::scope(|scope| {
        let sampling = scope.spawn(|| json(&lb, &["flows", "--sample", "3", "--frontend", "udp4"]));
        while !sampling.is_finished() {
            asker.ask(b"look");
        }
        sampling.join().unwrap()
    });
    let samples = samples.as_array().unwrap();
    assert_eq!(samples.len(), 3);
    let client = asker.socket.local_addr().unwrap().port();
    for sample in samples {
        let packet = sample["packet"].as_str().unwrap();
        assert!(packet.contains(&format!(":{client} ")) && packet.contains("203.0.113.100:7000"), "{packet}");
        assert_eq!((&sample["verdict"], &sample["backend"]), (&"forwarded".into(), &backend.as_str().into()));
    }
}

#[test]
fn explain_tells_the_backend_that_a_flow_has_or_would_get() {
    if !may_run() {
        return;
    }
    let (service, _echoes, lb) = stage(Way::Tunnel, Hook::Tc, "scheduler: maglev");
    let net = &service.net;
    let mut ports = 40_000..;
    for family in 0..2 {
        let to = vip(family, PORT);
        for port in ports.by_ref().take(6) {
            let from = std::net::SocketAddr::new(crate::harness::CLIENT[family].parse().unwrap(), port).to_string();
            let question = ["explain", &from, &to.to_string()];
            let before = json(&lb, &question);
            let mut talk = Talk::open_from(net, port, to);
            talk.say("established");
            assert_eq!(before["backend"], talk.backend.as_str(), "what was foretold: {before}");
            let after = json(&lb, &question);
            assert_eq!(after["backend"], talk.backend.as_str());
            assert!(after["why"].to_string().contains("established"), "{after}");
        }
    }
    let nobody = lb.cli(&["explain", "198.51.100.7:1", "203.0.113.100:9"]);
    assert!(!nobody.status.success());
    let said = String::from_utf8_lossy(&nobody.stderr).into_owned();
    assert!(said.contains("no layer-4 frontend"), "{said}");
}

#[test]
fn status_shows_frontends_interfaces_and_the_table() {
    if !may_run() {
        return;
    }
    let (service, _echoes, lb) = stage(Way::Nat, Hook::Tc, "");
    let asker = Asker::new(&service.net, vip(0, PORT));
    asker.ask(b"hello");
    let layer4 = &lb.status()["layer4"];
    let hooks: Vec<(&Value, &Value)> =
        layer4["interfaces"].as_array().unwrap().iter().map(|i| (&i["name"], &i["hook"])).collect();
    assert_eq!(hooks, [(&"eth0".into(), &"tc".into()), (&"eth1".into(), &"tc".into())]);
    let frontends = layer4["frontends"].as_array().unwrap();
    let udp4 = frontends.iter().find(|f| f["name"] == "udp4").unwrap();
    assert_eq!((&udp4["traffic"]["packets_in"], &udp4["traffic"]["packets_out"]), (&1.into(), &1.into()));
    let text = lb.cli_ok(&["status"]);
    for part in ["udp4", "tcp6", "eth1", "tc"] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}
