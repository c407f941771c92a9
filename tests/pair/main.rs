//! End-to-end tests of a pair: two nodes with one file, a client, three backends, each a host of its own
//! (network namespaces), and the built program on both nodes.
//!
//! `hosts` and `harness` build them; every other module holds the tests of one subject. The thread of a test
//! stands on the client's host. Without root the tests skip; under LB_TEST_REQUIRE=1 they fail instead.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "a test drives; it may read the clock")]

mod doctor;
mod failover;
mod harness;
mod lossy;
mod split;
mod standby;
mod virtual_mac;

#[path = "../harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "this target uses a part of it")]
mod hosts;

use hosts::shared;
