//! End-to-end tests of layer 4: client, router, lb and backends as hosts of their own (network namespaces),
//! the built program, and real programs that speak through it.
//!
//! `hosts` and `harness` build them; every other module holds the tests of one subject. The thread of a test
//! stands on lb's host. Without root the tests skip; under LB_TEST_REQUIRE=1 they fail instead.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "a test drives; it may read the clock")]

mod attach;
mod below;
mod corners;
mod floods;
mod forwards;
mod ground;
mod harness;
mod neighbours;
mod real_servers;
mod restarts;
mod seen;
mod sticks;

#[path = "../harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "this target uses a part of it")]
mod hosts;

use hosts::shared;
