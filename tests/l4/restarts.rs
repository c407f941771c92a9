//! lb stops, dies, comes back and is replaced, and no packet notices.

use nix::sys::signal::Signal;

use crate::harness::{Asker, Chatter, Echo, Hook, Service, Talk, UNTIL_THE_TEST_ENDS, Way, may_run, vip};
use crate::shared::{Lb, eventually};

const PORT: u16 = 7000;

fn stage(way: Way, hook: Hook) -> (Service, [Echo; 2], String, Lb) {
    let service = Service::new(way, hook);
    let echoes = service.echoes(PORT);
    let config = service.config(PORT, "", "");
    let lb = service.start(&config);
    (service, echoes, config, lb)
}

/// Two families of clients talk while lb ends by `signal`, is away, and comes back.
fn survives(way: Way, hook: Hook, signal: Signal) {
    let (service, _echoes, config, mut lb) = stage(way, hook);
    let chatters = [0, 1].map(|family| Chatter::start(&service.net, vip(family, PORT)));
    lb.signal(signal);
    lb.wait_for_exit();
    let while_away = [0, 1].map(|family| Talk::open(&service.net, vip(family, PORT)));
    let again = service.start(&config);
    again.cli_ok(&["reload"]);
    for mut talk in while_away {
        talk.say("begun while lb was away");
    }
    for chatter in chatters {
        chatter.finish_undisturbed(signal.as_str());
    }
}

macro_rules! survives {
    ($($name:ident: $way:ident $hook:ident $signal:ident,)*) => {$(
        #[test]
        fn $name() {
            if may_run() {
                survives(Way::$way, Hook::$hook, Signal::$signal);
            }
        }
    )*};
}

survives! {
    nat_goes_on_when_lb_stops_xdp: Nat Xdp SIGTERM,
    nat_goes_on_when_lb_is_killed_tc: Nat Tc SIGKILL,
    dr_goes_on_when_lb_is_killed_xdp: Dr Xdp SIGKILL,
    tunnel_goes_on_when_lb_stops_tc: Tunnel Tc SIGTERM,
}

#[test]
fn a_newer_program_takes_over() {
    if !may_run() {
        return;
    }
    let (service, _echoes, config, lb) = stage(Way::Nat, Hook::Xdp);
    let chatter = Chatter::start(&service.net, vip(0, PORT));
    drop(lb);
    // Another file with another inode, as a package's upgrade leaves it.
    let dir = tempfile::tempdir().unwrap();
    let newer = dir.path().join("lb-new").display().to_string();
    let copy = format!("cp \"$1\" {newer} && shift && exec {newer} \"$@\"");
    let wrapper: Vec<&str> = UNTIL_THE_TEST_ENDS.into_iter().chain(["sh", "-c", &copy, "sh"]).collect();
    let newer = Lb::start_as(tempfile::tempdir().unwrap(), &config, &[], &wrapper);
    newer.cli_ok(&["status"]);
    chatter.finish_undisturbed("upgrade");
}

/// The file was edited while lb was away: what it says still holds for new flows, and old ones go on.
#[test]
fn a_file_that_changed_in_between_holds_for_new_flows() {
    if !may_run() {
        return;
    }
    let (service, _echoes, config, mut lb) = stage(Way::Nat, Hook::Tc);
    let mut talks: Vec<Talk> = (0..8).map(|_| Talk::open(&service.net, vip(0, PORT))).collect();
    lb.signal(Signal::SIGKILL);
    lb.wait_for_exit();
    let b1 = format!("address: \"{}\"", service.net.backend(0, 0));
    let drained = config.replace(&b1, &format!("{b1}, state: drain"));
    assert_ne!(drained, config);
    let _again = service.start(&drained);
    talks.iter_mut().for_each(|t| t.say("still here"));
    assert!((0..6).all(|_| Talk::open(&service.net, vip(0, PORT)).backend == "b2"));
}

#[test]
fn layer_4_comes_and_goes_by_reloads() {
    if !may_run() {
        return;
    }
    let service = Service::new(Way::Nat, Hook::Xdp);
    let _echoes = service.echoes(PORT);
    let site =
        ["frontends:\n  site: { listen: 127.0.0.1:80, pool: site }", "pools:\n  site: { backends: [127.0.0.1:1] }"];
    let none = format!("{}\n{}\n", site[0], site[1]);
    let some = service.config(PORT, "", "").replace("frontends:", site[0]).replace("pools:", site[1]);
    let mut lb = service.start(&none);
    assert_eq!(pinned(), Vec::<String>::new());
    lb.reload(&some);
    Talk::open(&service.net, vip(0, PORT)).say("it forwards");
    lb.reload(&none);
    assert_eq!(pinned(), Vec::<String>::new());
    assert!(Talk::try_open(&service.net, vip(0, PORT)).is_err());
}

/// One hook takes over from the other while both see packets.
fn changes_hooks(way: Way) {
    if !may_run() {
        return;
    }
    let (service, _echoes, by_xdp, mut lb) = stage(way, Hook::Xdp);
    // A veth that receives by NAPI for XDP alone loses what is in its ring when that goes (veth_napi_del).
    for interface in service.net.lb.interfaces() {
        service.net.lb.run(&format!("ethtool -K {interface} gro on"));
    }
    let by_tc = by_xdp.replace("attach: xdp", "attach: tc");
    let chatters = [0, 1].map(|family| Chatter::start(&service.net, vip(family, PORT)));
    for config in [&by_tc, &by_xdp, &by_tc, &by_xdp] {
        lb.reload(config);
        for family in [0, 1] {
            Talk::open(&service.net, vip(family, PORT)).say("a new flow");
        }
    }
    for chatter in chatters {
        chatter.finish_undisturbed("reloads with another hook");
    }
}

#[test]
fn nat_goes_on_when_the_hook_changes() {
    changes_hooks(Way::Nat);
}

#[test]
fn dr_goes_on_when_the_hook_changes() {
    changes_hooks(Way::Dr);
}

#[test]
fn another_size_of_the_table_takes_a_restart_and_new_flows() {
    if !may_run() {
        return;
    }
    let (service, _echoes, config, mut lb) = stage(Way::Dr, Hook::Tc);
    let larger = config.replace("flows: 65536", "flows: 131072");
    let refused = lb.try_reload(&larger);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned() + &String::from_utf8_lossy(&refused.stdout);
    assert!(!refused.status.success() && said.contains("flows"), "{said}");
    drop(lb);
    let _larger = service.start(&larger);
    Talk::open(&service.net, vip(1, PORT)).say("it forwards");
}

#[test]
fn detach_leaves_nothing() {
    if !may_run() {
        return;
    }
    let (service, _echoes, _, lb) = stage(Way::Nat, Hook::Xdp);
    assert!(!pinned().is_empty());
    let refused = lb.cli(&["detach"]);
    assert!(!refused.status.success(), "not while lb runs");
    let asker = Asker::new(&service.net, vip(0, PORT));
    asker.ask(b"hello");
    drop(lb);
    asker.ask(b"without lb");
    detach();
    assert_eq!(pinned(), Vec::<String>::new());
    eventually("no interface has it", || !service.net.lb.run("ip link show").contains("xdp"));
    asker.socket.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
    asker.try_ask(b"nobody").unwrap_err();
    detach();
}

/// By an operator's hand, without a running lb.
fn detach() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_lb")).arg("detach").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What is on the bpf file system of lb's host, without what the kernel puts there by itself.
fn pinned() -> Vec<String> {
    let names = std::fs::read_dir("/sys/fs/bpf").unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.ends_with(".debug")).collect()
}

/// A thousand frontends with ten backends each, the first of which is talked to.
fn thousand(weight: u32) -> String {
    let mut frontends = String::from("l4: { attach: xdp }\nfrontends:\n");
    let mut pools = String::from("pools:\n");
    for n in 0..1000 {
        let port = PORT + n;
        for protocol in ["", "/udp"].iter().take(if n == 0 { 2 } else { 1 }) {
            let name = protocol.trim_start_matches('/');
            frontends +=
                &format!("  f{n}{name}: {{ mode: nat, listen: \"203.0.113.100:{port}{protocol}\", pool: p{n} }}\n");
        }
        let backend = |nth: u32| format!("{{ address: 10.0.0.{}, weight: {weight} }}, ", 11 + nth);
        // Of the first pool all must be there.
        let count = if n == 0 { 2 } else { 10 };
        pools += &format!("  p{n}: {{ backends: [{}] }}\n", (0..count).map(backend).collect::<String>());
    }
    frontends + &pools
}

#[test]
fn a_thousand_frontends_with_ten_backends_reload_without_a_lost_packet() {
    if !may_run() {
        return;
    }
    let service = Service::new(Way::Nat, Hook::Xdp);
    let _echoes = service.echoes(PORT);
    let mut lb = service.start(&thousand(1));
    let chatter = Chatter::start(&service.net, vip(0, PORT));
    for weight in [2, 3] {
        // How long it takes is for `benches/l4` to say, of a release build.
        lb.reload(&thousand(weight));
    }
    chatter.finish_undisturbed("reload of a thousand frontends");
}
