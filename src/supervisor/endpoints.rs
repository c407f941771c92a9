//! The two doors for those who look after lb: the admin socket and the metrics listener.
//!
//! A reload may move both. New ones are bound while the old ones still serve, so that a place that
//! cannot be had refuses the reload and costs nothing.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use lb_core::config::Config;

use super::Supervisor;
use crate::{admin, metrics};

/// Both stop serving when this is dropped.
pub struct Endpoints {
    admin: admin::Server,
    metrics: Option<metrics::Server>,
}

/// Bound and ready to serve.
pub struct BoundEndpoints {
    admin: admin::Bound,
    metrics: Option<metrics::Bound>,
}

/// What a new configuration changes; `None`: it stays as it is.
#[derive(Default)]
pub struct PreparedEndpoints {
    admin: Option<admin::Bound>,
    metrics: Option<Option<metrics::Bound>>,
}

impl BoundEndpoints {
    /// On the control runtime, or on a blocking thread of it.
    pub fn bind(config: &Config) -> Result<Self> {
        Ok(Self { admin: admin::Bound::bind(&config.admin.socket)?, metrics: bind_metrics(config, None)? })
    }

    pub fn serve(self, supervisor: &Arc<Supervisor>) -> Endpoints {
        Endpoints {
            admin: self.admin.serve(supervisor.clone()),
            metrics: self.metrics.map(|m| m.serve(supervisor.clone())),
        }
    }
}

impl PreparedEndpoints {
    /// Changes nothing that serves.
    pub fn prepare(old: &Config, new: &Config) -> Result<Self> {
        let mut prepared = Self::default();
        if old.admin != new.admin {
            prepared.admin = Some(admin::Bound::bind(&new.admin.socket)?);
        }
        if old.metrics != new.metrics {
            prepared.metrics = Some(bind_metrics(new, old.metrics.as_ref().map(|m| m.listen))?);
        }
        Ok(prepared)
    }

    pub fn commit(self, endpoints: &mut Endpoints, supervisor: &Arc<Supervisor>) {
        if let Some(bound) = self.admin {
            endpoints.admin = bound.serve(supervisor.clone());
        }
        if let Some(metrics) = self.metrics {
            endpoints.metrics = metrics.map(|m| m.serve(supervisor.clone()));
        }
    }
}

/// `ours` is where we serve them now.
fn bind_metrics(config: &Config, ours: Option<SocketAddr>) -> Result<Option<metrics::Bound>> {
    let Some(metrics) = &config.metrics else { return Ok(None) };
    let bound = metrics::Bound::bind(metrics.listen, ours);
    bound.map(Some).with_context(|| format!("cannot serve metrics on {}", metrics.listen))
}
