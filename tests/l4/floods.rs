//! A segment on which everybody gets every frame: what is for another node is left to it.

use std::io::ErrorKind;
use std::time::Duration;

use crate::harness::{Asker, Hook, Service, Talk, Way, vip};
use crate::hosts::Host;
use crate::shared::Lb;

const PORT: u16 = 7000;
const DATAGRAMS: usize = 50;

macro_rules! each {
    ($($name:ident: $way:ident $hook:ident,)*) => {
        mod a_standby_forwards_nothing_that_is_for_the_active_node {
            $(#[test]
            fn $name() {
                if $crate::harness::may_run() {
                    super::a_standby_forwards_nothing(super::Way::$way, super::Hook::$hook);
                }
            })*
        }
    };
}

each! { nat_xdp: Nat Xdp, nat_tc: Nat Tc, dr_xdp: Dr Xdp, dr_tc: Dr Tc, }

fn a_standby_forwards_nothing(way: Way, hook: Hook) {
    let service = Service::new(way, hook);
    let standby = Host::new("standby");
    service.net.plug_in_standby(&standby.space);
    let _echoes = service.echoes(PORT);
    let config = service.config(PORT, "", "");
    let lb = service.start(&config);
    let other = start_on(&standby, &config);
    service.net.flood();
    let before = standby.space.received("eth0");
    for family in 0..2 {
        each_datagram_is_answered_once(&service, family);
        let mut talk = Talk::open(&service.net, vip(family, PORT));
        (0..20).for_each(|_| talk.say("a word"));
    }
    assert!(standby.space.received("eth0") > before + 4 * DATAGRAMS as u64 / 2, "it has seen all of it");
    assert!(forwarded(&lb) >= 2.0 * DATAGRAMS as f64);
    assert_eq!(standby.space.enter(|| forwarded(&other)), 0.0);
}

fn forwarded(lb: &Lb) -> f64 {
    lb.metric("lb_frontend_packets_total", &[])
}

fn start_on(host: &Host, config: &str) -> Lb {
    let wrapper = host.wrapper(&[]);
    let words: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let mut lb = Lb::spawn(tempfile::tempdir().unwrap(), config, &[], &words);
    host.space.enter(|| lb.wait_until_it_serves(lb.addr("metrics")));
    lb
}

fn each_datagram_is_answered_once(service: &Service, family: usize) {
    let asker = Asker::new(&service.net, vip(family, PORT));
    for n in 0..DATAGRAMS {
        asker.ask(format!("question {n}").as_bytes());
    }
    asker.socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let more = asker.socket.recv(&mut [0; 64]).map_err(|e| e.kind());
    assert_eq!(more, Err(ErrorKind::WouldBlock), "a datagram was doubled");
}
