//! A question each millisecond, by an absolute timer, and when its answer came.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{MsgFlags, SockaddrStorage, sendto};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};

/// How long the last answers may take.
const LAST: Duration = Duration::from_millis(300);

struct Answer {
    number: u64,
    nanoseconds: u64,
    name: u8,
}

pub fn run(to: SocketAddr, period: u64, out: &Path) -> anyhow::Result<()> {
    let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.set_read_timeout(Some(LAST))?;
    let stop = Arc::new(AtomicBool::new(false));
    let asked_to_stop = stop.clone();
    thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        asked_to_stop.store(true, Ordering::Relaxed);
    });
    let (receiving, until) = (socket.try_clone()?, stop.clone());
    let receiver = thread::spawn(move || receive(&receiving, &until));
    let sent = send(&socket, to, period, &stop)?;
    let answers = receiver.join().map_err(|_| anyhow::anyhow!("the receiver panicked"))?;
    write(out, &sent, &answers)?;
    Ok(())
}

/// When each question was sent.
fn send(socket: &UdpSocket, to: SocketAddr, period: u64, stop: &AtomicBool) -> anyhow::Result<Vec<u64>> {
    let mut sent = Vec::with_capacity(1 << 16);
    let to = SockaddrStorage::from(to);
    let mut next = now()?;
    while !stop.load(Ordering::Relaxed) {
        clock_nanosleep(CLOCK, ClockNanosleepFlags::TIMER_ABSTIME, &timespec(next))?;
        let number = sent.len() as u64;
        let at = now()?;
        sent.push(at);
        // What cannot be sent is lost. It never waits for room while the kernel asks who has the address.
        let _ = sendto(socket.as_raw_fd(), &number.to_le_bytes(), &to, MsgFlags::MSG_DONTWAIT);
        // After a pause of its own it does not catch up.
        next = (next + period).max(at);
    }
    Ok(sent)
}

fn receive(socket: &UdpSocket, until: &AtomicBool) -> Vec<Answer> {
    let mut answers = Vec::with_capacity(1 << 16);
    let mut buffer = [0; 64];
    loop {
        match socket.recv(&mut buffer) {
            Ok(9) => answers.extend(answer(&buffer)),
            Ok(_) => (),
            Err(_) if until.load(Ordering::Relaxed) => return answers,
            Err(_) => (),
        }
    }
}

fn answer(buffer: &[u8]) -> Option<Answer> {
    let (number, rest) = buffer.split_first_chunk::<8>()?;
    Some(Answer { number: u64::from_le_bytes(*number), nanoseconds: now().ok()?, name: *rest.first()? })
}

/// Sent, answered (0: never) and by whom, 17 bytes a question, little endian.
fn write(out: &Path, sent: &[u64], answers: &[Answer]) -> anyhow::Result<()> {
    let mut records: Vec<(u64, u64, u8)> = sent.iter().map(|&at| (at, 0, 0)).collect();
    for answer in answers {
        if let Some(record) = records.get_mut(answer.number as usize).filter(|record| record.1 == 0) {
            (record.1, record.2) = (answer.nanoseconds, answer.name);
        }
    }
    let mut file = BufWriter::new(File::create(out)?);
    for (sent, answered, name) in records {
        file.write_all(&sent.to_le_bytes())?;
        file.write_all(&answered.to_le_bytes())?;
        file.write_all(&[name])?;
    }
    file.flush()?;
    Ok(())
}

/// That of Python's time.monotonic_ns().
const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC;

fn now() -> nix::Result<u64> {
    let time = clock_gettime(CLOCK)?;
    Ok(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

fn timespec(nanoseconds: u64) -> TimeSpec {
    TimeSpec::from_duration(Duration::from_nanos(nanoseconds))
}
