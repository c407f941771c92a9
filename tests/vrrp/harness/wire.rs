//! The peer's end of the wire: frames in both directions.

use std::io::Read;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use lb_vrrp::net::Announcer;
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, Socket, Type};

use super::packet::STRANGER;
use super::{Advert, Lan, Mac, mac_of};

/// A frame of lb's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    Advert {
        from: Mac,
        to: Mac,
        tos: u8,
        ttl: u8,
        source: IpAddr,
        destination: IpAddr,
        message: Vec<u8>,
    },
    /// Gratuitous: about its sender. Whole, without padding.
    Arp(Vec<u8>),
    /// Whole.
    NeighbourAdvertisement(Vec<u8>),
}

/// Hears all frames of lb's that have to do with VRRP, and sends frames.
pub struct Wire {
    sender: Announcer,
    frames: Arc<Mutex<Vec<Frame>>>,
    stop: Arc<AtomicBool>,
    listener: Option<thread::JoinHandle<()>>,
}

impl Wire {
    pub fn open(lan: &Lan) -> Wire {
        let (sender, socket) = lan.peer.enter(|| {
            let sender = Announcer::open(if_nametoindex("eth0").unwrap()).unwrap();
            (sender, listening())
        });
        let (frames, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (heard, until) = (frames.clone(), stop.clone());
        let own = mac_of(&lan.peer);
        let listener = thread::spawn(move || listen(&socket, own, &heard, &until));
        Wire { sender, frames, stop, listener: Some(listener) }
    }

    pub fn send(&self, advert: &Advert) {
        self.send_frame(&advert.frame());
    }

    pub fn send_frame(&self, frame: &[u8]) {
        assert_eq!(self.sender.send(&[frame.into()]).unwrap(), 1);
    }

    /// What was heard so far; from now on the list is empty.
    pub fn take(&self) -> Vec<Frame> {
        std::mem::take(&mut self.frames.lock().unwrap())
    }

    /// What was heard so far.
    pub fn heard(&self) -> Vec<Frame> {
        self.frames.lock().unwrap().clone()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = self.listener.take().unwrap().join();
    }
}

fn listening() -> Socket {
    let every = i32::from(0x0003_u16.to_be());
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(every))).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    socket
}

fn listen(mut socket: &Socket, own: Mac, heard: &Mutex<Vec<Frame>>, until: &AtomicBool) {
    let mut buffer = [0; 2048];
    while !until.load(Ordering::SeqCst) {
        let Ok(length) = socket.read(&mut buffer) else { continue };
        let frame = &buffer[..length];
        if length >= 42 && frame[6..12] != own && frame[6..12] != STRANGER {
            heard.lock().unwrap().extend(parse(frame));
        }
    }
}

fn parse(frame: &[u8]) -> Option<Frame> {
    match (frame[12], frame[13]) {
        (8, 6) if frame[28..32] == frame[38..42] => Some(Frame::Arp(frame[..42].to_vec())),
        (8, 0) if frame[23] == 112 => {
            let length = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
            Some(Frame::Advert {
                from: frame[6..12].try_into().unwrap(),
                to: frame[..6].try_into().unwrap(),
                tos: frame[15],
                ttl: frame[22],
                source: <[u8; 4]>::try_from(&frame[26..30]).unwrap().into(),
                destination: <[u8; 4]>::try_from(&frame[30..34]).unwrap().into(),
                message: frame[34..14 + length].to_vec(),
            })
        }
        (0x86, 0xdd) if frame[20] == 112 => Some(Frame::Advert {
            from: frame[6..12].try_into().unwrap(),
            to: frame[..6].try_into().unwrap(),
            tos: frame[14] << 4 | frame[15] >> 4,
            ttl: frame[21],
            source: <[u8; 16]>::try_from(&frame[22..38]).unwrap().into(),
            destination: <[u8; 16]>::try_from(&frame[38..54]).unwrap().into(),
            message: frame[54..].to_vec(),
        }),
        (0x86, 0xdd) if frame[20] == 58 && frame[54] == 136 => Some(Frame::NeighbourAdvertisement(frame.to_vec())),
        _ => None,
    }
}

impl Frame {
    pub fn is_advert(&self) -> bool {
        matches!(self, Frame::Advert { .. })
    }

    /// Of an advert.
    pub fn priority(&self) -> Option<u8> {
        if let Frame::Advert { message, .. } = self { message.get(2).copied() } else { None }
    }

    /// Whether it announces an address without having been asked.
    pub fn announces(&self, address: &str) -> bool {
        let address = super::packet::octets(address.parse().unwrap());
        match self {
            Frame::Arp(frame) => frame[28..32] == address,
            Frame::NeighbourAdvertisement(frame) => frame[62..78] == address && frame[..2] == [0x33, 0x33],
            Frame::Advert { .. } => false,
        }
    }
}
