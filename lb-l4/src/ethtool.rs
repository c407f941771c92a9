//! Features of network interfaces, by the ioctl of ethtool(8).

#![expect(unsafe_code, reason = "one ioctl that no crate here has")]

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

const GET_TX_CHECKSUM: u32 = 0x16;
const GET_FLAGS: u32 = 0x25;
const GET_GRO: u32 = 0x2b;
const FLAG_RX_VLAN: u32 = 1 << 8;

/// The part of `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// Any socket will do.
pub struct Ethtool(UdpSocket);

/// What matters to XDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// Packets leave with a checksum that the hardware was to finish.
    pub tx_checksum: bool,
    /// On a veth: it receives by NAPI, as XDP's packets need it.
    pub gro: bool,
    /// The hardware takes VLAN tags out of packets.
    pub rx_vlan: bool,
}

impl Ethtool {
    pub fn open() -> io::Result<Self> {
        UdpSocket::bind("127.0.0.1:0").or_else(|_| UdpSocket::bind("[::]:0")).map(Self)
    }

    pub fn features(&self, interface: &str) -> io::Result<Features> {
        Ok(Features {
            tx_checksum: self.get(interface, GET_TX_CHECKSUM)? != 0,
            gro: self.get(interface, GET_GRO)? != 0,
            rx_vlan: self.get(interface, GET_FLAGS)? & FLAG_RX_VLAN != 0,
        })
    }

    fn get(&self, interface: &str, command: u32) -> io::Result<u32> {
        let mut value = Value { command, data: 0 };
        // SAFETY: all-zero bytes make an `ifreq`.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        if interface.len() >= request.ifr_name.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        request.ifr_name.iter_mut().zip(interface.bytes()).for_each(|(to, from)| *to = from as libc::c_char);
        request.ifr_ifru.ifru_data = (&raw mut value).cast();
        // SAFETY: the request and the value that it points to live until the call returns, and the kernel
        // writes no more than a `struct ethtool_value` for these commands.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
        if result == 0 { Ok(value.data) } else { Err(io::Error::last_os_error()) }
    }
}
