//! Sees and makes frames on the other end of a wire.

use std::io::Read;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::host::wait_for;

/// Hears every frame on a host, and its own ones.
pub struct Tap(Socket);

impl Tap {
    pub fn open() -> Self {
        let every = i32::from((libc::ETH_P_ALL as u16).to_be());
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(every))).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        Self(socket)
    }

    /// The next frame that the test looks for.
    pub fn frame(&self, what: &str, is_it: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        wait_for(what, || self.next().filter(|frame| is_it(frame)))
    }

    /// The next one of all, if there is one.
    pub fn next(&self) -> Option<Vec<u8>> {
        let mut buffer = [0; 2048];
        let length = (&self.0).read(&mut buffer).ok()?;
        Some(buffer[..length].to_vec())
    }
}

/// Sends whole frames by `eth0`.
pub struct Sender(lb_vrrp::net::Announcer);

impl Sender {
    pub fn open() -> Self {
        let eth0 = lb_vrrp::net::Netlink::open().unwrap().link("eth0").unwrap().unwrap();
        Self(lb_vrrp::net::Announcer::open(eth0.index).unwrap())
    }

    pub fn send(&self, frame: &[u8]) {
        assert_eq!(self.0.send(&[frame.into()]).unwrap(), 1);
    }
}

pub fn ethertype(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[12], frame[13]])
}
