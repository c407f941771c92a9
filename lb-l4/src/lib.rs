//! Layer 4: a packet forwarder in the kernel, and what drives it.
//!
//! | module | what it does |
//! |---|---|
//! | [`abi`] | the structs that the program (bpf/types.h) and we share |
//! | [`hash`] | the hashes that both compute |
//! | [`object`] | the two compiled objects |

pub mod abi;
pub mod hash;
pub mod object;
mod pod;
