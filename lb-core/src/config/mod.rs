//! The configuration file.

mod model;

pub use model::*;
