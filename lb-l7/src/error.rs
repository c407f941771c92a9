//! What can keep a configuration from being served.

use std::io;
use std::net::SocketAddr;

use lb_core::tls_client::TlsClientError;

use crate::access_log::AccessLogError;
use crate::route::UnknownPool;
use crate::tls::TlsError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("frontend `{frontend}`: cannot listen on {address}: {source}")]
    Listen { frontend: String, address: SocketAddr, source: io::Error },
    #[error("frontend `{frontend}`: {source}")]
    Tls { frontend: String, source: TlsError },
    #[error("pool `{pool}`: {source}")]
    PoolTls { pool: String, source: Box<TlsClientError> },
    #[error(transparent)]
    Route(#[from] UnknownPool),
    #[error(transparent)]
    AccessLog(#[from] AccessLogError),
    #[error("cannot start worker {worker}: {source}")]
    Worker { worker: usize, source: io::Error },
}
