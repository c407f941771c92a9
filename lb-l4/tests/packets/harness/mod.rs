//! What the program runs in: a namespace, its maps, and the world that they describe.

pub mod bench;
pub mod compare;
pub mod net;
pub mod program;
pub mod values;
pub mod world;
