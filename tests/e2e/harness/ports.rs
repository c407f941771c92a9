//! Ports that stay free until lb listens on them.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A port on 127.0.0.1, held by a socket that never listens: the kernel gives it to nobody else, while lb,
/// which sets SO_REUSEADDR and SO_REUSEPORT, can bind it.
pub struct Port {
    pub addr: SocketAddr,
    _hold: Socket,
}

impl Port {
    pub fn reserve() -> Port {
        let hold = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        hold.set_reuse_address(true).unwrap();
        hold.set_reuse_port(true).unwrap();
        hold.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let addr = hold.local_addr().unwrap().as_socket().unwrap();
        Port { addr, _hold: hold }
    }
}
