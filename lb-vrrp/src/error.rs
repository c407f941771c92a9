//! Why the virtual routers cannot run, and what would let them.

use std::io;
use std::sync::Arc;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "VRRP needs the capabilities CAP_NET_RAW and CAP_NET_ADMIN: run lb as root, or give them to its unit (AmbientCapabilities=)"
    )]
    NotAllowed(#[source] io::Error),
    #[error("another lb drives the virtual routers of this network namespace")]
    Locked,
    #[error("cannot start the thread of the virtual routers")]
    Thread(#[source] io::Error),
    #[error("cannot ask the kernel about its network")]
    Kernel(#[source] io::Error),
    #[error("virtual router `{router}`: cannot read the secret")]
    Secret { router: Arc<str>, source: io::Error },
    #[error("there is no virtual router `{0}`")]
    NoRouter(String),
    #[error("there is no virtual router")]
    NoRouters,
    #[error("the thread of the virtual routers does not answer")]
    NoAnswer,
}
