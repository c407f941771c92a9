//! Layer 4: a packet forwarder in the kernel, and what drives it.
//!
//! | module | what it does |
//! |---|---|
//! | [`abi`] | the structs that the program (bpf/types.h) and we share |
//! | [`object`] | the two compiled objects |

pub mod abi;
pub mod object;
