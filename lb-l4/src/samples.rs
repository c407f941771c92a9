//! Packets as they pass: what XDP sends, no other tool sees.

use std::fmt::{self, Display};
use std::net::{IpAddr, Ipv6Addr};
use std::thread;
use std::time::{Duration, Instant};

use aya::maps::{Map, MapData, MapError, RingBuf};
use serde::{Deserialize, Serialize};

use crate::abi::{Counter, SAMPLE_BYTES, Sample};
use crate::error::Error;
use crate::flows::{Names, protocol};
use crate::maps::Maps;

/// How long packets are waited for.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);
/// More would be a capture, and is for other tools.
const MOST: usize = 10_000;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleLine {
    /// CLOCK_MONOTONIC.
    pub time_ns: u64,
    pub interface: u32,
    /// Bytes of the frame.
    pub length: u32,
    /// `tcp 198.51.100.7:1234 > 203.0.113.10:443`, as it came.
    pub packet: String,
    /// From a backend.
    pub reply: bool,
    /// `None`: no flow.
    pub frontend: Option<String>,
    pub backend: Option<String>,
    /// passed, forwarded, answered, dropped
    pub verdict: String,
    /// Why it was dropped, or answered in place of being forwarded.
    pub reason: Option<String>,
}

/// Asks the program for every packet until there are enough, and no longer than [`PATIENCE`].
#[expect(clippy::disallowed_methods, reason = "waits for packets, which are nobody's clock")]
pub fn take(maps: &Maps, data: MapData, names: &Names, frontend: u32, count: usize) -> Result<Vec<SampleLine>, Error> {
    let of = |source| Error::Map { name: "samples", source };
    let mut ring = RingBuf::try_from(Map::RingBuf(data)).map_err(of)?;
    // Somebody before may not have read all.
    while ring.next().is_some() {}
    let _sampling = Sampling::begin(maps, frontend);
    let (end, count) = (Instant::now() + PATIENCE, count.min(MOST));
    let mut lines = Vec::new();
    while lines.len() < count && Instant::now() < end {
        match ring.next() {
            Some(bytes) => lines.extend(parse(&bytes).map(|sample| line(&sample, names))),
            None => thread::sleep(LOOK),
        }
    }
    Ok(lines)
}

/// The program gives samples until this is dropped.
struct Sampling<'a>(&'a Maps);

impl<'a> Sampling<'a> {
    fn begin(maps: &'a Maps, frontend: u32) -> Self {
        maps.set_sampling(0, frontend);
        Self(maps)
    }
}

impl Drop for Sampling<'_> {
    fn drop(&mut self) {
        self.0.set_sampling(u32::MAX, u32::MAX);
    }
}

/// `samples` by its pin.
pub fn open(path: &std::path::Path) -> Result<MapData, MapError> {
    MapData::from_pin(path.join("samples"))
}

fn parse(bytes: &[u8]) -> Option<Sample> {
    let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let [verdict, reason, reply, captured] = bytes.get(20..24)?.try_into().ok()?;
    Some(Sample {
        time_ns: u64::from_ne_bytes(bytes.get(..8)?.try_into().ok()?),
        ifindex: word(8)?,
        dest: word(12)?,
        length: word(16)?,
        verdict,
        reason,
        reply,
        captured,
        bytes: bytes.get(24..24 + SAMPLE_BYTES)?.try_into().ok()?,
    })
}

fn line(sample: &Sample, names: &Names) -> SampleLine {
    let name = names.get(&sample.dest);
    let reason = Counter::DROPS.into_iter().find(|c| *c as u8 == sample.reason);
    SampleLine {
        time_ns: sample.time_ns,
        interface: sample.ifindex,
        length: sample.length,
        packet: describe(&sample.bytes[..usize::from(sample.captured).min(SAMPLE_BYTES)]),
        reply: sample.reply != 0,
        frontend: name.map(|(frontend, _)| frontend.to_string()),
        backend: name.map(|(_, backend)| backend.to_string()),
        verdict: ["passed", "forwarded", "answered", "dropped"][usize::from(sample.verdict).min(3)].to_owned(),
        reason: reason.map(|reason| reason.as_str().to_owned()),
    }
}

/// As much of a frame as can be told from its start.
fn describe(frame: &[u8]) -> String {
    network(frame).unwrap_or_else(|| format!("{} bytes", frame.len()))
}

fn network(frame: &[u8]) -> Option<String> {
    let mut at = 12;
    let mut kind = pair(frame, at)?;
    while matches!(kind, 0x8100 | 0x88a8) {
        at += 4;
        kind = pair(frame, at)?;
    }
    let packet = frame.get(at + 2..)?;
    match kind {
        0x0800 => {
            let header = usize::from(packet.first()? & 0xf) * 4;
            let address = |at: usize| Some(IpAddr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
            Some(transport(*packet.get(9)?, address(12)?, address(16)?, packet.get(header..)?))
        }
        0x86dd => {
            let address =
                |at: usize| Some(IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?)));
            Some(transport(*packet.get(6)?, address(8)?, address(24)?, packet.get(40..)?))
        }
        other => Some(format!("ethertype {other:#06x}")),
    }
}

fn transport(number: u8, from: IpAddr, to: IpAddr, segment: &[u8]) -> String {
    let name = protocol(number);
    match (pair(segment, 0), pair(segment, 2)) {
        (Some(sport), Some(dport)) if matches!(i32::from(number), libc::IPPROTO_TCP | libc::IPPROTO_UDP) => {
            let [from, to] = [(from, sport), (to, dport)].map(std::net::SocketAddr::from);
            format!("{name} {from} > {to}{}", flags(number, segment))
        }
        _ => format!("{name} {from} > {to}"),
    }
}

fn flags(number: u8, segment: &[u8]) -> String {
    if i32::from(number) != libc::IPPROTO_TCP {
        return String::new();
    }
    let bits = segment.get(13).copied().unwrap_or(0);
    let names = [(2, "SYN"), (16, "ACK"), (1, "FIN"), (4, "RST")].into_iter().filter(|(bit, _)| bits & bit != 0);
    names.map(|(_, name)| format!(" {name}")).collect()
}

fn pair(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

impl Display for SampleLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.time_ns as f64 / 1e9;
        write!(out, "{seconds:.6} {} {} bytes: {}", self.packet, self.length, self.verdict)?;
        if let Some(reason) = &self.reason {
            write!(out, " ({reason})")?;
        }
        let way = if self.reply { "from" } else { "to" };
        match (&self.frontend, &self.backend) {
            (Some(frontend), Some(backend)) => write!(out, ", frontend {frontend}, {way} {backend}"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_from_their_start() {
        let mut frame = vec![0; 12];
        frame.extend([0x81, 0, 0, 5, 0x08, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([0x04, 0xd2, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x12]);
        assert_eq!(describe(&frame), "tcp 10.0.0.1:1234 > 10.0.0.2:80 SYN ACK");
        assert_eq!(describe(&frame[..30]), "30 bytes");
        assert_eq!(describe(&[0; 14]), "ethertype 0x0000");
    }
}
