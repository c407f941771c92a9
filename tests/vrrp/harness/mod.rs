//! lb on one host, and on the other end of its wire whoever the test wants.

mod agent;
mod lan;
mod node;
mod packet;
mod process;
mod rival;
mod setup;
mod wire;

pub use agent::Agent;
pub use lan::{Lan, OWN, PEER};
pub use node::{Node, one, pair_config};
pub use packet::{Advert, Mac, Sum, checksum, octets};
pub use process::Process;
pub use rival::Rival;
pub use setup::{HIGHER, LOWER, Setup, VRID, mac_of};
pub use wire::{Frame, Wire};
