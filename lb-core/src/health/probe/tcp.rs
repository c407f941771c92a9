//! A connection that opens is enough.

use tokio::net::TcpStream;

use super::{Found, io_outcome};
use crate::health::target::Target;
use crate::health::{FailureReason, Outcome};

pub async fn probe(target: &Target) -> Found {
    connect(target).await.map(|_| Outcome::success("connected"))
}

pub async fn connect(target: &Target) -> Result<TcpStream, Outcome> {
    let connected = TcpStream::connect(target.address()).await;
    connected.map_err(|error| io_outcome(FailureReason::Connect, "connect", &error))
}
