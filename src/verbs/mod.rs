//! One file per verb of the command line, except those that serve.

pub mod backend;
pub mod check;
pub mod config;
pub mod detach;
pub mod doctor;
pub mod explain;
mod finding;
pub mod flows;
mod host;
pub mod names;
pub mod peers;
pub mod reload;
pub mod shell;
pub mod status;
mod table;
pub mod vrrp;

pub use table::Table as Columns;
