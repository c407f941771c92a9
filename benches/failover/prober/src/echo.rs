//! Answers each datagram with itself and the name of who answers.

use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

pub fn run(on: SocketAddr, name: u8) -> anyhow::Result<()> {
    let socket = bind(on)?;
    let mut buffer = [0; 64];
    loop {
        // Errors are ICMP's, of earlier answers.
        let Ok((n, from)) = socket.recv_from(&mut buffer[..63]) else { continue };
        buffer[n] = name;
        let _ = socket.send_to(&buffer[..=n], from);
    }
}

/// Transparent: what came in before the address went is still answered from that address.
fn bind(on: SocketAddr) -> anyhow::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(on), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_freebind_v4(true)?;
    socket.set_ip_transparent_v4(true)?;
    socket.bind(&on.into())?;
    Ok(socket.into())
}
