//! Serves the admin API.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tracing::error;

use super::api;
use super::socket::{Socket, SocketFile};
use crate::supervisor::Supervisor;

/// A socket that is bound but answers nobody yet.
pub struct Bound {
    listener: UnixListener,
    file: SocketFile,
}

/// Stops, and removes its socket, when it is dropped.
pub struct Server {
    task: JoinHandle<()>,
    _file: SocketFile,
}

impl Bound {
    /// On the control runtime, or on a blocking thread of it.
    pub fn bind(path: &Path) -> Result<Self> {
        let Socket { listener, file } = Socket::bind(path)?;
        Ok(Self { listener: UnixListener::from_std(listener)?, file })
    }

    pub fn serve(self, supervisor: Arc<Supervisor>) -> Server {
        let Self { listener, file } = self;
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, api::router(supervisor)).await {
                error!(%error, "the admin socket does not answer any more");
            }
        });
        Server { task, _file: file }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}
