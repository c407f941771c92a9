//! Clients that never stop talking while something happens to lb.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};

use super::{Asker, Space, Talk};

/// Several open connections, each with a word and its echo in turn, and several streams of numbered datagrams.
pub struct Chatter {
    stop: Arc<AtomicBool>,
    talks: JoinHandle<Talked>,
    streams: Vec<Stream>,
}

/// What became of it.
#[derive(Debug)]
pub struct Report {
    pub words: u64,
    /// Between a word and its echo.
    pub longest_wait: Duration,
    pub datagrams: u64,
    pub lost: u64,
}

struct Talked {
    words: u64,
    longest_wait: Duration,
}

struct Stream {
    sender: JoinHandle<u64>,
    receiver: JoinHandle<u64>,
}

/// Datagrams leave one by one in this distance.
const PACE: Duration = Duration::from_millis(2);
const CONNECTIONS: usize = 10;
const STREAMS: usize = 2;
/// For the last echo after the last datagram.
const LAST: Duration = Duration::from_secs(1);

impl Chatter {
    pub const FLOWS: usize = CONNECTIONS + STREAMS;

    /// Over the echo servers behind a VIP.
    pub fn start(from: &impl AsRef<Space>, to: SocketAddr) -> Chatter {
        let stop = Arc::new(AtomicBool::new(false));
        let talks = (0..CONNECTIONS).map(|_| Talk::open(from, to)).collect();
        let until = stop.clone();
        let talks = thread::spawn(move || talk(talks, &until));
        let streams = (0..STREAMS).map(|_| Stream::start(Asker::new(from, to), &stop)).collect();
        Chatter { stop, talks, streams }
    }

    /// A datagram that is lost, an echo of another backend and a broken connection end the test.
    pub fn finish(self, what: &str) -> Report {
        self.stop.store(true, Ordering::SeqCst);
        let talked = self.talks.join().unwrap();
        let (mut sent, mut received) = (0, 0);
        for stream in self.streams {
            sent += stream.sender.join().unwrap();
            received += stream.receiver.join().unwrap();
        }
        // More come back than were sent where two nodes forward for a moment, as a handover may have it.
        let lost = sent.saturating_sub(received);
        let report = Report { words: talked.words, longest_wait: talked.longest_wait, datagrams: sent, lost };
        eprintln!("{what}: {report:?}");
        assert!(report.words > 0 && report.datagrams > 0);
        report
    }

    /// The same where nobody may have noticed: a pause of 50 ms would have lost 25 datagrams of each stream.
    pub fn finish_undisturbed(self, what: &str) {
        let report = self.finish(what);
        assert_eq!(report.lost, 0, "datagrams lost: {what}");
        assert!(report.longest_wait < Duration::from_secs(1), "a connection paused: {what}");
    }
}

impl Stream {
    fn start(asker: Asker, stop: &Arc<AtomicBool>) -> Stream {
        let backend = asker.ask(b"who");
        let socket = asker.socket;
        socket.set_read_timeout(Some(LAST)).unwrap();
        patient(&socket);
        let (sending, until) = (socket.try_clone().unwrap(), stop.clone());
        let sender = thread::spawn(move || send_numbers(&sending, &until));
        let receiver = thread::spawn(move || receive_echoes(&socket, &backend));
        Stream { sender, receiver }
    }
}

/// Loses nothing itself while the machine has no time for whoever reads it.
pub fn patient(socket: &impl AsFd) {
    setsockopt(socket, RcvBufForce, &(8 << 20)).unwrap();
}

fn send_numbers(socket: &UdpSocket, until: &AtomicBool) -> u64 {
    let mut sent = 0u64;
    while !until.load(Ordering::SeqCst) {
        socket.send(&sent.to_be_bytes()).unwrap();
        sent += 1;
        thread::sleep(PACE);
    }
    sent
}

/// Until nothing comes any more.
fn receive_echoes(socket: &UdpSocket, backend: &str) -> u64 {
    let mut received = 0;
    let mut buffer = [0; 64];
    while let Ok(n) = socket.recv(&mut buffer) {
        assert!(buffer[..n].starts_with(backend.as_bytes()), "another backend than {backend} answers a stream");
        received += 1;
    }
    received
}

fn talk(mut talks: Vec<Talk>, until: &AtomicBool) -> Talked {
    let mut talked = Talked { words: 0, longest_wait: Duration::ZERO };
    while !until.load(Ordering::SeqCst) {
        for talk in &mut talks {
            let begun = Instant::now();
            talk.say(&format!("word {}", talked.words));
            talked.words += 1;
            talked.longest_wait = talked.longest_wait.max(begun.elapsed());
        }
        thread::sleep(PACE);
    }
    talked
}
