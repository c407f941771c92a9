//! Returns so long after an advert of the other node, which sends them at even distances.

use std::io::Read;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use socket2::{Domain, Protocol, Socket, Type};

/// RFC 9568 section 5.1.1.4.
const VRRP: i32 = 112;
/// Adverts come every second at least.
const PATIENCE: Duration = Duration::from_secs(3);

pub fn run(phase: Duration) -> anyhow::Result<()> {
    let mut socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(VRRP)))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.read(&mut [0; 1500]).context("no advert came")?;
    thread::sleep(phase);
    Ok(())
}
