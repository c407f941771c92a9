//! What `net` does to a kernel, in network namespaces of the test's own.
//!
//! Without root the tests skip; under LB_TEST_REQUIRE=1 they fail instead.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "a test drives; it may read the clock")]

mod addresses;
mod announcements;
mod barrier;
mod changes;
mod host;
mod sockets;
mod tap;
mod virtual_mac;
