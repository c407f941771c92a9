//! A connection that opens is enough.

use tokio::net::TcpStream;

use super::{Doing, Found, io_outcome};
use crate::health::target::Target;
use crate::health::{FailureReason, Outcome};

pub async fn probe(target: &Target, doing: &Doing) -> Found {
    connect(target, doing).await.map(|_| Outcome::success("connected"))
}

pub async fn connect(target: &Target, doing: &Doing) -> Result<TcpStream, Outcome> {
    doing.now("connecting");
    let connected = TcpStream::connect(target.address()).await;
    connected.map_err(|error| io_outcome(FailureReason::Connect, "connect", &error))
}
