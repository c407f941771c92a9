//! What all tiers of lb share.
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`] | the file: parse, validate, diff, show |
//! | [`snapshot`] | one immutable view of everything that serves, made from a [`config::Config`] |
//! | [`pool`] | pools and backends, with the live state that survives a reload |
//! | [`scheduler`] | how a backend is chosen |
//! | [`changes`] | the bell that rings when a backend may have become available or unavailable |
//! | [`health`] | the rise/fall machine, the probes, and the task that runs them |
//! | [`script`] | a program of the operator's own, run without a shell |
//! | [`tls_client`] | TLS towards backends |
//! | [`peer`] | the link between the nodes of a file |
//! | [`pem`] | certificates and keys in files, for both sides of TLS |
//! | [`counters`] | counters that each worker writes for itself and a scrape adds up |
//! | [`labelled`] | such counts in reports |
//! | [`metrics`] | the table of metric names, and the collector that reads the counters |

pub mod changes;
pub mod config;
pub mod counters;
#[cfg(test)]
mod fixtures;
pub mod health;
pub mod labelled;
pub mod metrics;
pub mod peer;
pub mod pem;
pub mod pool;
pub mod scheduler;
pub mod script;
pub mod snapshot;
pub mod tls_client;
