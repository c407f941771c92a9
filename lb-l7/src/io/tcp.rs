//! A TCP connection that joins the runtime's reactor when it first has to wait. A short one brings its request along,
//! is answered and closed, and never does: two system calls less.

use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::{self, Shutdown};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::deadline::Deadlines;

#[derive(Debug)]
pub enum Tcp {
    Fresh(Fresh),
    Watched(TcpStream),
    /// The reactor did not take it.
    Lost,
}

/// A socket as it was accepted.
#[derive(Debug)]
pub struct Fresh {
    stream: net::TcpStream,
    /// The last read got all there was.
    drained: bool,
    clock: Rc<Deadlines>,
    since_ms: u64,
}

impl Tcp {
    /// `stream` does not block.
    pub fn fresh(stream: net::TcpStream, clock: &Rc<Deadlines>) -> Self {
        Tcp::Fresh(Fresh { stream, drained: false, clock: clock.clone(), since_ms: clock.now_ms() })
    }

    /// Ready when something has come. Of a fresh socket this is first known after the next sweep of the deadlines:
    /// nearly all are closed by then.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Tcp::Fresh(fresh) if !fresh.is_older_than_a_sweep() => Poll::Pending,
            _ => self.watched().map_or(Poll::Ready(()), |tcp| tcp.poll_read_ready(cx).map(drop)),
        }
    }

    /// Does `work` when the socket is readable; it says `WouldBlock` when that was not so.
    pub fn poll_with_readable<T>(
        &mut self,
        cx: &mut Context<'_>,
        work: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        poll_with(self.watched()?, Interest::READABLE, |tcp| tcp.poll_read_ready(cx), work)
    }

    /// Does `work` when the socket takes bytes; it says `WouldBlock` when that was not so.
    pub fn poll_with_writable<T>(
        &mut self,
        cx: &mut Context<'_>,
        work: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        poll_with(self.watched()?, Interest::WRITABLE, |tcp| tcp.poll_write_ready(cx), work)
    }

    /// The other side has closed, or something from it waits to be read.
    pub fn has_news(&self) -> bool {
        match self {
            Tcp::Fresh(fresh) => unless_blocked(fresh.stream.peek(&mut [0])).is_some(),
            Tcp::Watched(tcp) => unless_blocked(peek(tcp)).is_some(),
            Tcp::Lost => true,
        }
    }

    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Tcp::Fresh(fresh) => Some(fresh.stream.as_fd()),
            Tcp::Watched(tcp) => Some(tcp.as_fd()),
            Tcp::Lost => None,
        }
    }

    fn watched(&mut self) -> io::Result<&mut TcpStream> {
        if let Tcp::Fresh(_) = self
            && let Tcp::Fresh(fresh) = std::mem::replace(self, Tcp::Lost)
        {
            *self = Tcp::Watched(TcpStream::from_std(fresh.stream)?);
        }
        match self {
            Tcp::Watched(tcp) => Ok(tcp),
            Tcp::Fresh(_) | Tcp::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Fresh {
    fn is_older_than_a_sweep(&self) -> bool {
        self.clock.now_ms() > self.since_ms
    }

    fn read(&mut self, buf: &mut ReadBuf<'_>) -> Option<io::Result<()>> {
        if self.drained {
            return None;
        }
        let room = buf.initialize_unfilled();
        let wanted = room.len();
        let result = unless_blocked(self.stream.read(room))?;
        Some(result.map(|received| {
            self.drained = received < wanted;
            buf.advance(received);
        }))
    }
}

/// Asks the kernel only where the runtime has seen something come: a body that was spliced leaves the socket empty
/// without its knowing.
fn peek(tcp: &TcpStream) -> io::Result<usize> {
    tcp.try_io(Interest::READABLE, || SockRef::from(tcp).peek(&mut [MaybeUninit::uninit()]))
}

/// Does `work` whenever the runtime calls the socket ready, until it does not block.
fn poll_with<T>(
    tcp: &TcpStream,
    interest: Interest,
    mut poll_ready: impl FnMut(&TcpStream) -> Poll<io::Result<()>>,
    mut work: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
) -> Poll<io::Result<T>> {
    loop {
        ready!(poll_ready(tcp))?;
        if let Some(result) = unless_blocked(tcp.try_io(interest, || work(tcp.as_fd()))) {
            return Poll::Ready(result);
        }
    }
}

fn unless_blocked<T>(result: io::Result<T>) -> Option<io::Result<T>> {
    if matches!(&result, Err(e) if e.kind() == io::ErrorKind::WouldBlock) { None } else { Some(result) }
}

impl From<TcpStream> for Tcp {
    fn from(stream: TcpStream) -> Self {
        Tcp::Watched(stream)
    }
}

/// A watched socket goes through the runtime's own `poll_read` and `poll_write`: they know that a short one has emptied
/// (or filled) the socket, and spare the call that would only say so.
impl AsyncRead for Tcp {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Tcp::Fresh(fresh) = &mut *self
            && let Some(result) = fresh.read(buf)
        {
            return Poll::Ready(result);
        }
        Pin::new(self.watched()?).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Tcp::Fresh(fresh) = &mut *self
            && let Some(result) = unless_blocked(fresh.stream.write(bytes))
        {
            return Poll::Ready(result);
        }
        Pin::new(self.watched()?).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Tcp::Fresh(fresh) = &mut *self
            && let Some(result) = unless_blocked(fresh.stream.write_vectored(parts))
        {
            return Poll::Ready(result);
        }
        Pin::new(self.watched()?).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Tcp::Fresh(fresh) => Poll::Ready(fresh.stream.shutdown(Shutdown::Write)),
            _ => Pin::new(self.watched()?).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A fresh socket, its other end, and their clock.
    fn pair() -> (Tcp, net::TcpStream, Rc<Deadlines>) {
        let listener = net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let far = net::TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        let (near, _) = listener.accept().expect("a connection");
        near.set_nonblocking(true).expect("an option");
        let clock = Rc::new(Deadlines::default());
        (Tcp::fresh(near, &clock), far, clock)
    }

    fn in_a_runtime(work: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime").block_on(work);
    }

    #[test]
    fn a_request_that_is_there_is_answered_without_the_reactor() {
        let (mut near, mut far, _clock) = pair();
        far.write_all(b"ask").expect("sent");
        in_a_runtime(async {
            let mut asked = [0; 16];
            assert_eq!(near.read(&mut asked).await.expect("a request"), 3);
            near.write_all(b"answer").await.expect("sent");
            near.shutdown().await.expect("an end");
        });
        assert!(matches!(near, Tcp::Fresh(_)));
        let mut answer = String::new();
        far.read_to_string(&mut answer).expect("an answer");
        assert_eq!(answer, "answer");
    }

    #[test]
    fn one_that_has_to_wait_is_woken() {
        let (mut near, mut far, _clock) = pair();
        in_a_runtime(async {
            let asking = async {
                tokio::task::yield_now().await;
                far.write_all(b"ask").expect("sent");
            };
            let mut asked = [0; 3];
            let (read, ()) = tokio::join!(near.read_exact(&mut asked), asking);
            assert_eq!((read.expect("a request"), &asked), (3, b"ask"));
        });
        assert!(matches!(near, Tcp::Watched(_)));
    }

    #[test]
    fn that_the_other_side_left_is_seen_after_a_sweep() {
        let (mut near, far, clock) = pair();
        drop(far);
        in_a_runtime(async {
            let soon = poll_fn(|cx| Poll::Ready(near.poll_readable(cx))).await;
            assert!(soon.is_pending() && near.has_news());
            clock.sweep(50);
            poll_fn(|cx| near.poll_readable(cx)).await;
        });
    }
}
