//! What an operator commands besides reloads: the state of a backend, fresh log files, explanations.

use std::sync::Arc;

use lb_core::config::AdminState;
use lb_core::pool::{Backend, Pool};
use lb_core::snapshot::Snapshot;
use lb_l7::{ExplainError, ExplainRequest, Explanation};
use tracing::info;

use super::start::Supervisor;
use super::status;
use crate::admin::messages::{BackendStatus, state_word};

impl Supervisor {
    /// `id` is `POOL/BACKEND`. Commanding what the file says removes the override.
    pub async fn command_backend(&self, id: &str, state: AdminState) -> Result<BackendStatus, String> {
        // Not beside a reload, which may be replacing this very backend.
        let stack = self.stack.lock().await;
        let snapshot = self.snapshot();
        let (pool, backend) = find(&snapshot, id).ok_or_else(|| unknown(&snapshot, id))?;
        let was = backend.admin_state();
        backend.live.set_admin_override((state != backend.config.state).then_some(state));
        // Requests that wait for a slot, or for a connection to this backend, look again.
        pool.live.availability_changed();
        // Whoever commands it relies on it once he has the answer, in layer 4 too.
        let forwarder = self.forwarder.clone();
        let _ = tokio::task::spawn_blocking(move || forwarder.health_changed()).await;
        if let Some(stack) = stack.as_ref() {
            stack.checker.force(backend);
        }
        if was != state {
            info!(backend = id, from = state_word(was), to = state_word(state), "commanded by an operator");
        }
        let backup = pool.backup.iter().any(|b| Arc::ptr_eq(b, backend));
        Ok(status::backend(pool, backend, backup, self.forwarder.report().as_ref()))
    }

    /// By the code that serves, and by what it serves now.
    pub fn explain(&self, request: &ExplainRequest) -> Result<Explanation, ExplainError> {
        lb_l7::explain(&self.plans.load(), request)
    }

    pub(super) fn spawn_reopen_logs(self: &Arc<Self>) {
        let supervisor = self.clone();
        tokio::spawn(async move {
            if let Some(stack) = supervisor.stack.lock().await.as_ref() {
                stack.tier.reopen_access_log();
                info!("access log reopened");
            }
        });
    }
}

fn find<'a>(snapshot: &'a Snapshot, id: &str) -> Option<(&'a Arc<Pool>, &'a Arc<Backend>)> {
    snapshot.backends().find(|(_, b)| b.id() == id)
}

fn unknown(snapshot: &Snapshot, id: &str) -> String {
    let names = snapshot.backends().map(|(_, b)| b.id());
    match nearest(id, names) {
        Some(name) => format!("there is no backend `{id}`: did you mean `{name}`?"),
        None => format!("there is no backend `{id}`; `lb status` lists them"),
    }
}

fn nearest(wanted: &str, names: impl Iterator<Item = String>) -> Option<String> {
    let scored = names.map(|name| (strsim::jaro_winkler(wanted, &name), name));
    let (score, name) = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (score > 0.75).then_some(name)
}
