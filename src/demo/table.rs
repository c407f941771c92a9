//! What goes on, as a table or as one line.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use super::client::Client;
use crate::admin::messages::{BackendStatus, Status, health_word, state_word};
use crate::verbs::Columns;

/// Remembers the last look, for rates.
pub struct Table {
    client: Arc<Client>,
    /// Requests by backend.
    before: HashMap<String, u64>,
    before_at: Duration,
}

impl Table {
    pub fn new(client: Arc<Client>) -> Self {
        Self { client, before: HashMap::new(), before_at: Duration::ZERO }
    }

    /// At most 80 columns wide, since a wrapped line could not be erased.
    pub fn drawn(&mut self, status: &Status, now: Duration) -> String {
        let mut columns =
            Columns::new(["BACKEND", "HEALTH", "STATE", ">WEIGHT", ">ACTIVE", ">REQUESTS", ">PER SECOND"]);
        let rates = self.rates(status, now);
        for (id, backend) in backends(status) {
            columns.row([
                id.chars().take(24).collect(),
                health_word(backend.health).to_owned(),
                state_word(backend.state).to_owned(),
                backend.weight.to_string(),
                backend.requests_active.to_string(),
                backend.requests_total.to_string(),
                format!("{:.1}", rates.get(&id).unwrap_or(&0.0)),
            ]);
        }
        let seconds = now.as_secs();
        format!("\n{columns}{seconds} s, generation {}; {}\n", status.config.generation, self.client.summary())
    }

    pub fn line(&mut self, status: &Status, now: Duration) -> String {
        let rates = self.rates(status, now);
        let mut line = format!("{:>4} s", now.as_secs());
        for (id, backend) in backends(status) {
            let rate = rates.get(&id).unwrap_or(&0.0);
            // Writing to a string cannot fail.
            let _ = write!(line, "  {id} {} {rate:.1}/s", health_word(backend.health));
        }
        format!("{line}  ({})\n", self.client.summary())
    }

    /// Requests per second since the last look.
    fn rates(&mut self, status: &Status, now: Duration) -> HashMap<String, f64> {
        let seconds = now.saturating_sub(self.before_at).as_secs_f64().max(0.001);
        let totals: HashMap<_, _> = backends(status).map(|(id, b)| (id, b.requests_total)).collect();
        let before = std::mem::replace(&mut self.before, totals);
        self.before_at = now;
        let rate =
            |id: &String, total: &u64| total.saturating_sub(before.get(id).copied().unwrap_or(0)) as f64 / seconds;
        self.before.iter().map(|(id, total)| (id.clone(), rate(id, total))).collect()
    }
}

fn backends(status: &Status) -> impl Iterator<Item = (String, &BackendStatus)> {
    status.pools.iter().flat_map(|p| p.backends.iter().map(move |b| (format!("{}/{}", p.name, b.name), b)))
}
