//! What the tests stand on beside `crate::hosts`: the hosts of layer 4, and lb among them.

mod below;
mod net;
pub mod packets;
mod programs;
mod servers;
mod service;

pub use crate::hosts::{
    Asker, Chatter, Echo, Running, Space, Switch, Talk, UNTIL_THE_TEST_ENDS, Web, first_word, may_run,
};
pub use below::{Below, LEGS};
pub use net::{CLIENT, Hook, Net, Place, VIP, real_server};
pub use programs::Program;
pub use servers::{Dns, ask_who};
pub use service::{Service, Way, url, vip};
