//! Layer 4: a packet forwarder in the kernel, and what drives it.
//!
//! | module | what it does |
//! |---|---|
//! | [`abi`] | the structs that the program (bpf/types.h) and we share |
//! | [`hash`] | the hashes that both compute |
//! | [`object`] | the compiled objects |
//! | [`desired`], [`rings`] | what the maps should hold, from a snapshot (pure) |
//! | [`ids`], [`regions`], [`plan`] | who has which place, and the writes from here to there (pure) |
//! | [`memory`], [`maps`], [`pod`] | the maps, mapped and typed |
//! | [`directory`], [`loader`], [`links`], [`bpf`] | what is pinned, loaded and attached |
//! | [`attach`] | which interfaces and hooks, and why (pure) |
//! | [`macs`] | whom frames are for (pure) |
//! | [`neighbours`] | whom of those that packets go to the kernel is asked for (pure) |
//! | [`netlink`], [`ethtool`], [`host`] | what the kernel says about its network |
//! | [`clock`] | the data plane's time |
//! | [`control`] | all of it together, for one data plane |
//! | [`watch`], [`sweep`] | what goes on beside: neighbours, links, flows that age |
//! | [`sync`] | flows that the nodes of a file tell each other |
//! | [`report`], [`mod@collector`], [`flows`], [`samples`], [`explain`] | what people and Prometheus see |
//! | [`kernel`], [`refusal`], [`mod@trial`] | what the kernel lets in, and why not |
//! | [`tier`], [`error`] | what the supervisor sees |

pub mod abi;
pub mod attach;
mod bpf;
pub mod clock;
pub mod collector;
pub mod control;
pub mod desired;
pub mod directory;
pub mod error;
pub mod ethtool;
pub mod explain;
pub mod flows;
pub mod hash;
pub mod host;
pub mod ids;
pub mod kernel;
pub mod links;
pub mod loader;
pub mod macs;
pub mod maps;
pub mod memory;
pub mod neighbours;
pub mod netlink;
pub mod object;
pub mod plan;
mod pod;
pub mod refusal;
pub mod regions;
pub mod report;
pub mod rings;
pub mod samples;
pub mod sweep;
pub mod sync;
pub mod tier;
pub mod trial;
pub mod watch;

pub use collector::collector;
pub use error::Error;
pub use report::{Report, interfaces};
pub use tier::{Options, Prepared, Tier, detach};
pub use trial::trial;
