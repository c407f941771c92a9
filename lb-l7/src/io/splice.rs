//! Long bodies from one socket to the other through a pipe, without a copy into this process (splice(2)).

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl};

use super::deadline::Timer;
use super::send_limit::SendLimit;
use super::transport::Transport;
use crate::body::{Patience, PumpError, SourceError};

/// The kernel's own choice is 64 KiB. A user may set up to 1 MiB (pipe(7)).
const PIPE_BYTES: i32 = 256 * 1024;
/// Pipes that a worker has at all, two descriptors each; beyond, long bodies are copied.
const MAX_PIPES: usize = 64;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { free: Vec::new(), made: 0 }) };
}

struct Pool {
    free: Vec<Rc<Ends>>,
    made: usize,
}

#[derive(Debug)]
struct Ends {
    output: OwnedFd,
    input: OwnedFd,
}

/// One end of a direct way for a body.
#[derive(Debug)]
pub struct Direct<'a> {
    pub transport: &'a Transport,
    /// Of a source: bytes of the body that are still to come. Of a sink: bytes that have left.
    pub count: &'a mut u64,
}

/// Bytes between two sockets. It is lent, and given back once it is empty.
#[derive(Debug)]
pub struct Pipe {
    ends: Rc<Ends>,
    held: usize,
}

impl Pipe {
    /// `None` when all are taken, or the process is out of descriptors.
    pub fn lend() -> Option<Self> {
        let ends = POOL.with_borrow_mut(|pool| {
            if pool.free.is_empty() && pool.made < MAX_PIPES {
                pool.free.push(Rc::new(Ends::new().ok()?));
                pool.made += 1;
            }
            pool.free.pop()
        })?;
        Some(Self { ends, held: 0 })
    }

    fn poll_fill(&mut self, from: &Transport, most: u64, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(PIPE_BYTES as usize);
        let ends = &self.ends;
        let received = ready!(from.poll_with_readable(cx, |socket| splice(socket, &ends.input, most)))?;
        self.held += received;
        Poll::Ready(Ok(received))
    }

    fn poll_empty(&mut self, to: &Transport, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let (ends, held) = (&self.ends, self.held);
        let sent = ready!(to.poll_with_writable(cx, |socket| splice(&ends.output, socket, held)))?;
        self.held -= sent;
        Poll::Ready(Ok(sent))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // At the end of a thread the pool may be gone before its last pipes.
        let _ = POOL.try_with(|pool| match self.held {
            0 => pool.borrow_mut().free.push(self.ends.clone()),
            _ => pool.borrow_mut().made -= 1,
        });
    }
}

impl Ends {
    fn new() -> io::Result<Self> {
        let (output, input) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        // A user who has many pipes gets small ones, which work as well.
        let _ = fcntl(&input, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
        Ok(Self { output, input })
    }
}

fn splice(from: impl AsFd, to: impl AsFd, length: usize) -> io::Result<usize> {
    let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
    Ok(nix::fcntl::splice(from, None, to, None, length, flags)?)
}

/// Moves the rest of a body, whose length is known. The pipe is filled when it is empty only, so that a refusal says
/// that the socket is, and a slow side slows the other. Counts the bytes into `moved`. After a timeout of the source
/// nothing is lost.
pub async fn run(
    from: Direct<'_>,
    to: Direct<'_>,
    mut pipe: Pipe,
    timer: &Timer,
    patience: Patience,
    moved: &Cell<u64>,
) -> Result<(), PumpError> {
    let taking = SendLimit { timer, idle: patience.sink };
    while *from.count > 0 {
        let receiving = poll_fn(|cx| pipe.poll_fill(from.transport, *from.count, cx));
        let received = timer.within(patience.source, receiving).await.map_err(|_| PumpError::SourceTimeout)?;
        let received = received.map_err(|error| PumpError::Source(SourceError::Io(error)))? as u64;
        if received == 0 {
            return Err(PumpError::Source(SourceError::Truncated));
        }
        *from.count -= received;
        moved.set(moved.get() + received);
        while pipe.held > 0 {
            let mut watch = taking.watch();
            let sending = poll_fn(|cx| {
                let sending = pipe.poll_empty(to.transport, cx);
                watch.check(cx, sending, || to.transport.acknowledged())
            });
            *to.count += sending.await.map_err(PumpError::Sink)? as u64;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::io::deadline::Deadlines;
    use crate::io::tcp::Tcp;

    const LENGTH: u64 = 3_000_001;
    const PATIENCE: Patience = Patience { source: Duration::from_secs(60), sink: Duration::from_secs(60) };

    /// Our side of a connection, and the other one.
    fn pair(clock: &Rc<Deadlines>) -> (Transport, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let far = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        let (near, _) = listener.accept().expect("a connection");
        near.set_nonblocking(true).expect("an option");
        (Transport::plain(Tcp::fresh(near, clock)), far)
    }

    /// Sends `bytes` of a body of [`LENGTH`]; tells what came of it, what is missing, and what has arrived.
    fn passed(bytes: Vec<u8>) -> (Result<(), PumpError>, u64, Vec<u8>) {
        let clock = Rc::new(Deadlines::default());
        let ((from, mut source), (to, mut sink)) = (pair(&clock), pair(&clock));
        let sending = thread::spawn(move || source.write_all(&bytes));
        let receiving = thread::spawn(move || {
            let mut all = Vec::new();
            sink.read_to_end(&mut all).map(|_| all)
        });
        let (mut left, mut sent, moved, timer) = (LENGTH, 0, Cell::new(0), clock.timer());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        let result = runtime.block_on(async {
            let from = Direct { transport: &from, count: &mut left };
            let to = Direct { transport: &to, count: &mut sent };
            run(from, to, Pipe::lend().expect("a pipe"), &timer, PATIENCE, &moved).await
        });
        drop((from, to));
        sending.join().expect("no panic").expect("sent");
        let all = receiving.join().expect("no panic").expect("received");
        assert_eq!((sent, moved.get()), (all.len() as u64, LENGTH - left));
        (result, left, all)
    }

    fn body(length: u64) -> Vec<u8> {
        (0..length).map(|n| (n % 251) as u8).collect()
    }

    #[test]
    fn a_body_arrives_whole_and_the_pipe_is_used_again() {
        for _ in 0..2 {
            let (result, left, all) = passed(body(LENGTH));
            assert!(matches!(result, Ok(())) && left == 0 && all == body(LENGTH));
        }
        assert_eq!(POOL.with_borrow(|pool| (pool.free.len(), pool.made)), (1, 1));
    }

    #[test]
    fn one_that_ends_early_is_noticed() {
        let (result, left, all) = passed(body(1_000_000));
        assert!(matches!(result, Err(PumpError::Source(SourceError::Truncated))), "{result:?}");
        assert_eq!((left, all.len()), (LENGTH - 1_000_000, 1_000_000));
    }
}
