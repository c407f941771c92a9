//! The memory allocator of the process: mimalloc. The streams of HTTP/2 allocate in bursts, in which glibc's own
//! allocator leaves its fast paths: a twelfth of their time.

use std::ffi::c_long;

use libmimalloc_sys::{mi_option_set, mi_option_t};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc.h, to which the bindings give no name.
const PURGE_DELAY: mi_option_t = 15;
/// Milliseconds. By default it is 10, so that memory goes back to the kernel between two bursts, and comes again page
/// by page: up to a tenth of the time of a request.
const KEEP: c_long = 1000;

/// Has memory that is free kept for a second before the kernel gets it back.
pub fn set_up() {
    #[expect(unsafe_code, reason = "the bindings are to C")]
    // SAFETY: it writes one number into a table of the allocator, which reads it as one word.
    unsafe {
        mi_option_set(PURGE_DELAY, KEEP);
    }
}

#[cfg(test)]
mod tests {
    use libmimalloc_sys::mi_option_get;

    use super::*;

    #[expect(unsafe_code, reason = "the bindings are to C")]
    fn purge_delay() -> c_long {
        // SAFETY: it reads one number out of a table of the allocator.
        unsafe { mi_option_get(PURGE_DELAY) }
    }

    /// Another version of mimalloc may count its options otherwise: this one's default tells it from its neighbours.
    #[test]
    fn it_is_the_option_that_is_meant() {
        if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
            assert!([10, 1000].contains(&purge_delay()), "{}", purge_delay());
        }
        set_up();
        assert_eq!(purge_delay(), KEEP);
    }
}
