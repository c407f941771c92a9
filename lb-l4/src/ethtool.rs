//! Features of network interfaces, by the ioctl of ethtool(8).

#![expect(unsafe_code, reason = "one ioctl that no crate here has")]

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

const GET_DRIVER: u32 = 0x03;
const GET_TX_CHECKSUM: u32 = 0x16;
const GET_STRINGS: u32 = 0x1b;
const GET_FLAGS: u32 = 0x25;
const GET_GRO: u32 = 0x2b;
const GET_SET_SIZE: u32 = 0x37;
const GET_FEATURES: u32 = 0x3a;
const FLAG_RX_VLAN: u32 = 1 << 8;

/// The names of features are a set of strings, of which there are about 60.
const FEATURE_NAMES: u32 = 4;
const MOST_FEATURES: usize = 256;
const NAME_BYTES: usize = 32;
const HARDWARE_GRO: &str = "rx-gro-hw";

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct Driver {
    command: u32,
    name: [u8; NAME_BYTES],
    others: [u8; 160],
}

/// `struct ethtool_sset_info` for one set.
#[repr(C)]
struct SetSize {
    command: u32,
    reserved: u32,
    sets: u64,
    count: u32,
}

/// `struct ethtool_gstrings`.
#[repr(C)]
struct Strings {
    command: u32,
    set: u32,
    count: u32,
    names: [[u8; NAME_BYTES]; MOST_FEATURES],
}

/// `struct ethtool_gfeatures`, each block of which stands for 32 features.
#[repr(C)]
struct Blocks {
    command: u32,
    count: u32,
    blocks: [Block; MOST_FEATURES / 32],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Block {
    available: u32,
    requested: u32,
    active: u32,
    never_changed: u32,
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
    /// Segments of TCP arrive many at a time, as one packet; XDP would have the device stop that.
    pub aggregates: bool,
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
            aggregates: self.is_given_aggregates(interface),
        })
    }

    /// By the host of a virtual machine, whose other guests and network stack make them and take them. A card puts
    /// together what came over a wire packet by packet: there XDP is worth more. LRO is no such thing: the kernel
    /// turns it off where it forwards.
    fn is_given_aggregates(&self, interface: &str) -> bool {
        self.driver(interface).is_ok_and(|name| name == "virtio_net")
            && self.has_feature(interface, HARDWARE_GRO).unwrap_or(false)
    }

    fn driver(&self, interface: &str) -> io::Result<String> {
        let mut driver = Driver { command: GET_DRIVER, name: [0; NAME_BYTES], others: [0; 160] };
        self.ask(interface, &mut driver)?;
        Ok(text(&driver.name))
    }

    /// Is it there, and turned on?
    fn has_feature(&self, interface: &str, name: &str) -> io::Result<bool> {
        let mut size = SetSize { command: GET_SET_SIZE, reserved: 0, sets: 1 << FEATURE_NAMES, count: 0 };
        self.ask(interface, &mut size)?;
        if size.count as usize > MOST_FEATURES {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let mut strings = Box::new(Strings {
            command: GET_STRINGS,
            set: FEATURE_NAMES,
            count: 0,
            names: [[0; NAME_BYTES]; MOST_FEATURES],
        });
        self.ask(interface, &mut *strings)?;
        let Some(place) = strings.names.iter().position(|known| text(known) == name) else { return Ok(false) };
        let count = (MOST_FEATURES / 32) as u32;
        let mut state = Blocks { command: GET_FEATURES, count, blocks: [Block::default(); MOST_FEATURES / 32] };
        self.ask(interface, &mut state)?;
        Ok(state.blocks[place / 32].active & 1 << (place % 32) != 0)
    }

    fn get(&self, interface: &str, command: u32) -> io::Result<u32> {
        let mut value = Value { command, data: 0 };
        self.ask(interface, &mut value)?;
        Ok(value.data)
    }

    /// `question` begins with its command, and holds the answer afterwards.
    fn ask<Question>(&self, interface: &str, question: &mut Question) -> io::Result<()> {
        // SAFETY: all-zero bytes make an `ifreq`.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        if interface.len() >= request.ifr_name.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        request.ifr_name.iter_mut().zip(interface.bytes()).for_each(|(to, from)| *to = from as libc::c_char);
        request.ifr_ifru.ifru_data = (&raw mut *question).cast();
        // SAFETY: the request and the question that it points to live until the call returns, and the kernel
        // writes no more for each command than the struct above that is named after it.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_have_names() {
        let ethtool = Ethtool::open().unwrap();
        assert!(ethtool.has_feature("lo", "loopback").unwrap(), "what makes lo what it is");
        assert!(!ethtool.has_feature("lo", HARDWARE_GRO).unwrap());
        assert!(!ethtool.has_feature("lo", "no-such-feature").unwrap());
        assert!(!ethtool.features("lo").unwrap().aggregates);
    }
}
