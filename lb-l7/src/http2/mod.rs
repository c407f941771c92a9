//! HTTP/2 as the `h2` crate speaks it, joined to heads and bodies of ours (RFC 9113).

pub mod body;
pub mod fields;
pub mod head;
