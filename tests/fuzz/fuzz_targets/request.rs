//! A client's bytes, as they are, against a whole connection in memory.
#![no_main]

use lb_l7::fuzz::Target;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static TARGET: Target = Target::default();
}

fuzz_target!(|input: &[u8]| {
    let output = TARGET.with(|target| target.exchange(input));
    let is_http2 = output.starts_with(&[0, 0]);
    assert!(output.is_empty() || output.starts_with(b"HTTP/1.1 ") || is_http2, "{:?}", String::from_utf8_lossy(&output));
});
