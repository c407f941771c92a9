//! What Prometheus sees: names, and a collector that reads the live counters at scrape time.
//!
//! Nothing is registered per frontend or backend, so what a reload removes vanishes from the next
//! scrape, and the hot path knows nothing of Prometheus.

mod collector;
mod family;
pub mod names;
mod scraped;

pub use collector::snapshot_collector;
pub use family::{Sample, alone, durations, family};
pub use names::{ALL, Kind, Metric};
pub use scraped::scraped;
