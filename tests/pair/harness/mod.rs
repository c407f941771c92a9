//! What the tests stand on beside `crate::hosts`: the two nodes and what is around them.

mod held;
mod net;
mod node;

pub use held::Held;
pub use net::{Net, SITE, dr, nat};
pub use node::{Looks, Node, Pair};
