//! VRRP from outside: lb on one host, and on the other end of the wire whatever a peer may get wrong, or a real peer.
//!
//! | module | what it holds |
//! |---|---|
//! | `harness` | the hosts, hand-made packets, what is seen on the wire |
//! | `drops` | packets that lb has to drop, count, and forget |
//! | `networkd` | systemd-networkd reconfigures the interface of the active node |
//! | `nodes` | two lb nodes, and what happens to them |
//! | `reconfigured` | somebody else configures the interface under an active node |
//! | `rules` | what lb makes of good packets |
//! | `interop` | keepalived and FRR as the other node |
//! | `sends` | what lb itself puts on the wire, byte by byte |
//! | `virtual_mac` | a MAC address of its own, and addresses that accept nothing |
//! | `vrf` | an interface that has routes of its own |
//!
//! Without root the tests skip; under LB_TEST_REQUIRE=1 they fail instead.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "a test drives; it may read the clock")]

mod drops;
mod harness;
mod interop;
mod networkd;
mod nodes;
mod reconfigured;
mod rules;
mod sends;
mod virtual_mac;
mod vrf;

#[path = "../harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "this target uses a part of it")]
mod hosts;

use hosts::shared;
