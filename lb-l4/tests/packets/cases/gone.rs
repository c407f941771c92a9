//! Backends that drain, go down, are removed, or whose slot is another's now.

use lb_l4::abi::Counter::{BackendDown, NoBackend, NoFlow, Rebound, ResetSent};
use lb_l4::abi::{dest_state, flow_state};

use super::{Case, DATA, FIN_ACK, SYN_ACK, answer, answer_udp, client, server, state, syn, tcp, udp, vip};
use crate::harness::bench::Bench;
use crate::harness::bench::Expect::{Answer, Drop, To};
use crate::harness::net::{BACKENDS, CLIENTS};
use crate::harness::world::port;
use crate::model::{TCP, UDP, flags};

pub const CASES: &[Case] = &[
    ("drain: keeps what it has", |t, v6| {
        establish(t, v6, port::NAT_REBIND);
        set(t, v6, port::NAT_REBIND, TCP, &[0], dest_state::DRAIN);
        assert_eq!(t.send(&tcp(v6, port::NAT_REBIND, DATA), To(BACKENDS)).dst(), server(v6, 11).into());
        t.reply(&answer(v6, 11, DATA), To(CLIENTS));
    }),
    ("drain: takes nothing new", |t, v6| {
        set(t, v6, port::NAT_REBIND, TCP, &[0], dest_state::DRAIN);
        for sport in 1..5 {
            let packet = syn(v6, port::NAT_REBIND).with(|p| p.set_sport(sport));
            assert_eq!(t.send(&packet, To(BACKENDS)).dst(), server(v6, 12).into());
        }
    }),
    ("drain: a port used again is scheduled anew", |t, v6| {
        establish(t, v6, port::NAT_REBIND);
        set(t, v6, port::NAT_REBIND, TCP, &[0], dest_state::DRAIN);
        assert_eq!(t.send(&syn(v6, port::NAT_REBIND), To(BACKENDS)).dst(), server(v6, 12).into());
        t.reply(&answer(v6, 12, SYN_ACK), To(CLIENTS));
    }),
    ("drain: a half open flow begins anew", |t, v6| {
        t.send(&syn(v6, port::NAT_REBIND), To(BACKENDS));
        set(t, v6, port::NAT_REBIND, TCP, &[0], dest_state::DRAIN);
        assert_eq!(t.send(&syn(v6, port::NAT_REBIND), To(BACKENDS)).dst(), server(v6, 12).into());
    }),
    ("drain: datagrams go on", |t, v6| {
        t.send(&udp(v6, port::NAT_REBIND), To(BACKENDS));
        set(t, v6, port::NAT_REBIND, UDP, &[0], dest_state::DRAIN);
        assert_eq!(t.send(&udp(v6, port::NAT_REBIND), To(BACKENDS)).dst(), server(v6, 11).into());
    }),
    ("all drain: nothing new anywhere", |t, v6| {
        set(t, v6, port::NAT_REBIND, TCP, &[0, 1], dest_state::DRAIN);
        t.send(&syn(v6, port::NAT_REBIND), Drop(NoBackend));
    }),
    ("down, rebind: tcp goes to another one, in the middle as it is", |t, v6| {
        establish(t, v6, port::NAT_REBIND);
        set(t, v6, port::NAT_REBIND, TCP, &[0], dest_state::DOWN);
        assert_eq!(t.send(&tcp(v6, port::NAT_REBIND, DATA), To(BACKENDS)).dst(), server(v6, 12).into());
        assert_eq!(state(t, v6, port::NAT_REBIND, TCP), flow_state::SYN_RECV);
        t.send(&tcp(v6, port::NAT_REBIND, DATA), To(BACKENDS));
        assert_eq!(state(t, v6, port::NAT_REBIND, TCP), flow_state::ESTABLISHED);
        assert_eq!(t.counter(Rebound), 1);
    }),
    ("down, rebind: udp goes to another one", |t, v6| {
        t.send(&udp(v6, port::NAT_REBIND), To(BACKENDS));
        set(t, v6, port::NAT_REBIND, UDP, &[0], dest_state::DOWN);
        assert_eq!(t.send(&udp(v6, port::NAT_REBIND), To(BACKENDS)).dst(), server(v6, 12).into());
        t.reply(&answer_udp(v6, 12), To(CLIENTS));
    }),
    ("down, rebind: a SYN begins anew, a FIN ends elsewhere, a RST is dropped", |t, v6| {
        for (flags, after) in [(flags::SYN, flow_state::SYN), (FIN_ACK, flow_state::FIN), (flags::RST, 0)] {
            establish(t, v6, port::NAT_REBIND);
            let at = t.dests(port::NAT_REBIND, v6, TCP);
            let mine = t.model.state.flows.values().find(|e| e.flags & 1 == 0).map(|e| e.dest as usize);
            t.configure(|config| {
                at.iter().for_each(|&i| {
                    config.dests[i].state = if Some(i) == mine { dest_state::DOWN } else { dest_state::READY };
                })
            });
            let expect = if after == 0 { Drop(NoFlow) } else { To(BACKENDS) };
            t.send(&tcp(v6, port::NAT_REBIND, flags), expect);
            assert_eq!(state(t, v6, port::NAT_REBIND, TCP), after);
            t.reset();
        }
    }),
    ("down, rebind: what the old backend still sends goes to the client", |t, v6| {
        establish(t, v6, port::NAT_REBIND);
        set(t, v6, port::NAT_REBIND, TCP, &[0], dest_state::DOWN);
        t.reply(&answer(v6, 11, DATA), To(CLIENTS));
    }),
    ("down, rebind, and nobody else: dropped", |t, v6| {
        establish(t, v6, port::NAT);
        set(t, v6, port::NAT, TCP, &[0], dest_state::DOWN);
        t.send(&tcp(v6, port::NAT, DATA), Drop(NoBackend));
        t.send(&syn(v6, port::NAT), Drop(NoBackend));
    }),
    ("down, reset: the client is told", |t, v6| {
        establish(t, v6, port::NAT_RESET);
        set(t, v6, port::NAT_RESET, TCP, &[0], dest_state::DOWN);
        let left = t.send(&tcp(v6, port::NAT_RESET, DATA).data(10), Answer);
        assert_eq!((left.src(), left.dst()), (vip(v6, port::NAT_RESET).into(), client(v6).into()));
        assert_eq!(left.0[left.0.len() - 7], flags::RST);
        assert_eq!((t.counter(ResetSent), t.counter(BackendDown)), (1, 1));
        t.send(&tcp(v6, port::NAT_RESET, DATA), Drop(NoFlow));
    }),
    ("down, reset: a segment without ACK is answered with one", |t, v6| {
        for (flags, length) in [(flags::FIN, 0), (0, 10), (flags::FIN | flags::PSH, 7)] {
            t.reset();
            establish(t, v6, port::NAT_RESET);
            set(t, v6, port::NAT_RESET, TCP, &[0], dest_state::DOWN);
            let left = t.send(&tcp(v6, port::NAT_RESET, flags).data(length), Answer);
            let tcp = &left.0[left.0.len() - 20..];
            assert_eq!(tcp[13], flags::RST | flags::ACK);
            let counted = length as u32 + u32::from(flags & flags::FIN != 0);
            assert_eq!(tcp[8..12], (0x1000_u32 + counted).to_be_bytes());
        }
    }),
    ("down, reset: with options, and from a long packet", |t, v6| {
        establish(t, v6, port::DR_RESET);
        set(t, v6, port::DR_RESET, TCP, &[0, 1], dest_state::DOWN);
        let packet = tcp(v6, port::DR_RESET, DATA).data(1300).tcp_options(&[8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1]);
        t.send(&packet.with(|p| p.options = vec![7, 7, 4, 0, 0, 0, 0, 0]), Answer);
    }),
    ("down, reset: a RST is not answered", |t, v6| {
        establish(t, v6, port::NAT_RESET);
        set(t, v6, port::NAT_RESET, TCP, &[0], dest_state::DOWN);
        t.send(&tcp(v6, port::NAT_RESET, flags::RST), Drop(BackendDown));
    }),
    ("down, reset: a SYN is scheduled anew", |t, v6| {
        establish(t, v6, port::NAT_RESET);
        set(t, v6, port::NAT_RESET, TCP, &[0], dest_state::DOWN);
        assert_eq!(t.send(&syn(v6, port::NAT_RESET), To(BACKENDS)).dst(), server(v6, 12).into());
    }),
    ("down, reset: a datagram is lost, the next one goes elsewhere", |t, v6| {
        t.send(&udp(v6, port::NAT_RESET), To(BACKENDS));
        set(t, v6, port::NAT_RESET, UDP, &[0], dest_state::DOWN);
        t.send(&udp(v6, port::NAT_RESET), Drop(BackendDown));
        assert_eq!(t.send(&udp(v6, port::NAT_RESET), To(BACKENDS)).dst(), server(v6, 12).into());
    }),
    ("down, keep: nothing changes", |t, v6| {
        establish(t, v6, port::NAT_KEEP);
        set(t, v6, port::NAT_KEEP, TCP, &[0], dest_state::DOWN);
        assert_eq!(t.send(&tcp(v6, port::NAT_KEEP, DATA), To(BACKENDS)).dst(), server(v6, 11).into());
        t.reply(&answer(v6, 11, DATA), To(CLIENTS));
        t.send(&syn(v6, port::NAT_KEEP), To(BACKENDS));
    }),
    ("down, keep: takes nothing new, not even on a port used again", |t, v6| {
        establish(t, v6, port::NAT_KEEP);
        t.send(&tcp(v6, port::NAT_KEEP, flags::RST), To(BACKENDS));
        set(t, v6, port::NAT_KEEP, TCP, &[0], dest_state::DOWN);
        assert_eq!(t.send(&syn(v6, port::NAT_KEEP), To(BACKENDS)).dst(), server(v6, 12).into());
    }),
    ("removed, keep: the flow goes on", |t, v6| {
        establish(t, v6, port::NAT_KEEP);
        set(t, v6, port::NAT_KEEP, TCP, &[0], dest_state::UNUSED);
        assert_eq!(t.send(&tcp(v6, port::NAT_KEEP, DATA), To(BACKENDS)).dst(), server(v6, 11).into());
    }),
    ("removed, rebind and reset: as when down", |t, v6| {
        establish(t, v6, port::NAT_REBIND);
        set(t, v6, port::NAT_REBIND, TCP, &[0], dest_state::UNUSED);
        assert_eq!(t.send(&tcp(v6, port::NAT_REBIND, DATA), To(BACKENDS)).dst(), server(v6, 12).into());
        t.reset();
        establish(t, v6, port::NAT_RESET);
        set(t, v6, port::NAT_RESET, TCP, &[0], dest_state::UNUSED);
        t.send(&tcp(v6, port::NAT_RESET, DATA), Answer);
    }),
    ("the slot is another backend's now: the flow is scheduled anew", |t, v6| {
        for port in [port::NAT_KEEP, port::NAT_RESET, port::NAT_REBIND] {
            t.reset();
            establish(t, v6, port);
            let dest = t.dests(port, v6, TCP)[0];
            t.configure(|config| config.dests[dest].incarnation += 1);
            t.send(&tcp(v6, port, DATA), To(BACKENDS));
            assert_eq!(t.counter(Rebound), 1);
        }
    }),
    ("the frontend is gone with its backend: dropped, then not ours", |t, v6| {
        establish(t, v6, port::NAT_REBIND);
        set(t, v6, port::NAT_REBIND, TCP, &[0], dest_state::UNUSED);
        let frontend = crate::harness::world::frontend(port::NAT_REBIND, v6, TCP);
        t.configure(|config| config.vips.retain(|_, id| *id != frontend));
        t.send(&tcp(v6, port::NAT_REBIND, DATA), Drop(BackendDown));
        t.send(&tcp(v6, port::NAT_REBIND, DATA), crate::harness::bench::Expect::Pass);
    }),
    ("the frontend is gone, its backend is not: the flow goes on", |t, v6| {
        establish(t, v6, port::NAT_REBIND);
        let frontend = crate::harness::world::frontend(port::NAT_REBIND, v6, TCP);
        t.configure(|config| config.vips.retain(|_, id| *id != frontend));
        t.send(&tcp(v6, port::NAT_REBIND, DATA), To(BACKENDS));
    }),
    ("up again: the flow that nobody touched meanwhile goes on", |t, v6| {
        establish(t, v6, port::NAT_REBIND);
        set(t, v6, port::NAT_REBIND, TCP, &[0], dest_state::DOWN);
        set(t, v6, port::NAT_REBIND, TCP, &[0], dest_state::READY);
        assert_eq!(t.send(&tcp(v6, port::NAT_REBIND, DATA), To(BACKENDS)).dst(), server(v6, 11).into());
    }),
    ("one hop left on a flow that is rebound is answered", |t, v6| {
        establish(t, v6, port::NAT_REBIND);
        set(t, v6, port::NAT_REBIND, TCP, &[0], dest_state::DOWN);
        t.send(&tcp(v6, port::NAT_REBIND, DATA).with(|p| p.ttl = 1), Answer);
    }),
];

/// A connection to the first backend, open on both sides (dr: on the client's).
fn establish(t: &mut Bench, v6: bool, port: u16) {
    t.send(&syn(v6, port), To(BACKENDS));
    if port != port::DR_RESET {
        t.reply(&answer(v6, 11, SYN_ACK), To(CLIENTS));
    }
    t.send(&tcp(v6, port, flags::ACK), To(BACKENDS));
}

/// Destinations of a frontend, by their place in it.
fn set(t: &mut Bench, v6: bool, port: u16, proto: u8, which: &[usize], state: u8) {
    let dests = t.dests(port, v6, proto);
    t.configure(|config| which.iter().for_each(|&n| config.dests[dests[n]].state = state));
}
