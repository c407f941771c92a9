//! End-to-end tests: the built program, seen from outside, between real clients and servers on loopback.
//!
//! `harness` starts lb and its surroundings; every other module holds the tests of one subject.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "a test drives; it may read the clock")]

mod access_log;
mod clients;
mod harness;
mod health;
mod heavy;
mod http1;
mod http2;
mod metrics;
mod misbehaving;
mod reload;
mod resources;
mod routing;
mod schedulers;
mod slow;
mod smuggling;
mod steering;
mod stop;
mod streaming;
mod streams;
mod tls;
mod upstream;
mod websocket;
