//! One datagram there, one back.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;

use super::{Doing, Found, fail, io_outcome};
use crate::config::UdpProbe;
use crate::health::target::Target;
use crate::health::{FailureReason, Outcome};

const LONGEST_DATAGRAM: usize = 65_535;

pub async fn probe(target: &Target, probe: &UdpProbe, doing: &Doing) -> Found {
    doing.now("waiting for the answer");
    let peer = target.address();
    let socket = connected(peer).await.map_err(failed)?;
    socket.send(&probe.send).await.map_err(failed)?;
    let mut answer = vec![0; LONGEST_DATAGRAM];
    let length = socket.recv(&mut answer).await.map_err(failed)?;
    answer.truncate(length);
    match &probe.expect {
        Some(expected) if !contains(&answer, expected) => {
            fail(FailureReason::Body, format!("an answer of {length} bytes without what is expected"))
        }
        _ => Ok(Outcome::success(format!("an answer of {length} bytes"))),
    }
}

/// A connected socket hears only this peer, and is told when its port is closed (ICMP).
async fn connected(peer: SocketAddr) -> std::io::Result<UdpSocket> {
    let local: SocketAddr =
        if peer.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(peer).await?;
    Ok(socket)
}

fn failed(error: std::io::Error) -> Outcome {
    io_outcome(FailureReason::Connect, "udp", &error)
}

pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || haystack.windows(needle.len()).any(|window| window == needle)
}
