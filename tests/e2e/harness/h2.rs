//! Frames of HTTP/2 (RFC 9113) by hand, for what no proper client does.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// `:status: 200` of HPACK's static table, as a whole header block (RFC 7541, appendix A).
pub const STATUS_200: &[u8] = &[0x88];

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Debug, Clone)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

pub struct H2 {
    stream: TcpStream,
}

impl H2 {
    /// Sends the preface and empty settings.
    pub fn connect(to: SocketAddr) -> H2 {
        H2::connect_with(to, &[])
    }

    /// The server's side of a connection.
    pub fn accept(stream: TcpStream, settings: &[(u16, u32)]) -> H2 {
        let mut h2 = H2 { stream };
        let mut preface = [0; PREFACE.len()];
        h2.read(&mut preface);
        let _ = h2.send(SETTINGS, 0, 0, &settings_payload(settings));
        h2
    }

    /// The stream of the next request, of whose body nothing may have come; `None` at the end of the connection.
    pub fn request(&mut self) -> Option<u32> {
        std::iter::from_fn(|| self.frame()).find(|frame| frame.kind == HEADERS).map(|frame| frame.stream)
    }

    /// 200 with that body.
    pub fn answer(&mut self, stream: u32, body: &[u8]) {
        let _ = self.send(HEADERS, END_HEADERS, stream, STATUS_200);
        let _ = self.send(DATA, END_STREAM, stream, body);
    }

    /// With settings of its own.
    pub fn connect_with(to: SocketAddr, settings: &[(u16, u32)]) -> H2 {
        let mut h2 = H2::silent(to);
        h2.write(PREFACE).unwrap();
        h2.send(SETTINGS, 0, 0, &settings_payload(settings)).unwrap();
        h2
    }

    /// Sends nothing yet.
    pub fn silent(to: SocketAddr) -> H2 {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        H2 { stream }
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        self.write(&frame(kind, flags, stream, payload))
    }

    /// A whole GET request.
    pub fn get(&mut self, stream: u32, path: &str) -> io::Result<()> {
        self.send(HEADERS, END_STREAM | END_HEADERS, stream, &request_block("GET", path, &[]))
    }

    /// `None` at the end of the connection. Settings and pings of the peer are answered on the way.
    pub fn frame(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.read(&mut head)?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.read(&mut payload)?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        let frame = Frame { kind: head[3], flags: head[4], stream, payload };
        if matches!(frame.kind, SETTINGS | PING) && frame.flags & ACK == 0 {
            let answer = if frame.kind == PING { frame.payload.clone() } else { Vec::new() };
            let _ = self.send(frame.kind, ACK, 0, &answer);
        }
        Some(frame)
    }

    /// Skips to the next frame of a kind; fails the test when the connection ends before.
    pub fn expect(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.frame().unwrap_or_else(|| panic!("the connection ended before a frame of kind {kind}"));
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// Every frame until the end of the connection.
    pub fn rest(&mut self) -> Vec<Frame> {
        std::iter::from_fn(|| self.frame()).collect()
    }

    fn read(&mut self, buffer: &mut [u8]) -> Option<()> {
        match self.stream.read_exact(buffer) {
            Ok(()) => Some(()),
            Err(e) if matches!(e.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => None,
            Err(e) => panic!("reading a frame: {e}"),
        }
    }
}

fn settings_payload(settings: &[(u16, u32)]) -> Vec<u8> {
    settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect()
}

/// A frame as it is sent.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

impl Frame {
    /// Of GOAWAY or RST_STREAM.
    pub fn error_code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    /// The value of one setting in a SETTINGS frame.
    pub fn setting(&self, id: u16) -> Option<u32> {
        let number = |c: &[u8]| u32::from_be_bytes(c[2..6].try_into().unwrap());
        self.payload.chunks(6).find(|c| c[..2] == id.to_be_bytes()).map(number)
    }
}

/// A header block without compression (RFC 7541, 6.2.2), so that it can hold what no encoder would write.
pub fn request_block(method: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [(":method", method), (":scheme", "http"), (":authority", "test"), (":path", path)] {
        push_literal(&mut block, name, value);
    }
    for (name, value) in fields {
        push_literal(&mut block, name, value);
    }
    block
}

fn push_literal(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    for text in [name, value] {
        push_length(block, text.len());
        block.extend(text.as_bytes());
    }
}

/// An integer with a prefix of seven bits (RFC 7541, 5.1).
fn push_length(block: &mut Vec<u8>, length: usize) {
    if length < 127 {
        return block.push(length as u8);
    }
    block.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        block.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    block.push(rest as u8);
}
