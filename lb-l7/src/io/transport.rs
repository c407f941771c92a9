//! A byte stream to a client or a backend, in clear text or under TLS.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::tcp::Tcp;

/// Both directions can be used at once by one task; no method blocks or waits.
#[derive(Debug)]
pub enum Transport {
    Plain(RefCell<Tcp>),
    Tls(Box<RefCell<Tls>>),
    /// Both ends in one process, for the fuzzer.
    #[cfg(feature = "fuzz")]
    Memory(RefCell<tokio::io::DuplexStream>),
}

#[derive(Debug)]
pub enum Tls {
    Server(tokio_rustls::server::TlsStream<Tcp>),
    Client(tokio_rustls::client::TlsStream<Tcp>),
}

impl Transport {
    pub fn plain(stream: Tcp) -> Self {
        Transport::Plain(RefCell::new(stream))
    }

    pub fn server_tls(stream: tokio_rustls::server::TlsStream<Tcp>) -> Self {
        Transport::Tls(Box::new(RefCell::new(Tls::Server(stream))))
    }

    pub fn client_tls(stream: tokio_rustls::client::TlsStream<Tcp>) -> Self {
        Transport::Tls(Box::new(RefCell::new(Tls::Client(stream))))
    }

    pub fn is_tls(&self) -> bool {
        matches!(self, Transport::Tls(_))
    }

    /// A socket whose bytes are the message itself.
    pub fn is_plain(&self) -> bool {
        matches!(self, Transport::Plain(_))
    }

    /// `Ok(0)` is the end of the stream.
    pub fn poll_read(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(into);
        match self {
            Transport::Plain(tcp) => ready!(Pin::new(&mut *tcp.borrow_mut()).poll_read(cx, &mut buf))?,
            Transport::Tls(tls) => {
                ready!(tls.borrow_mut().as_read().poll_read(cx, &mut buf)).or_else(end_without_notify)?;
            }
            #[cfg(feature = "fuzz")]
            Transport::Memory(pipe) => ready!(Pin::new(&mut *pipe.borrow_mut()).poll_read(cx, &mut buf))?,
        }
        Poll::Ready(Ok(buf.filled().len()))
    }

    /// Ready when something has come from the network; costs no system call.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Transport::Plain(tcp) => tcp.borrow_mut().poll_readable(cx),
            Transport::Tls(tls) => tls.borrow_mut().tcp_mut().poll_readable(cx),
            #[cfg(feature = "fuzz")]
            Transport::Memory(_) => Poll::Pending,
        }
    }

    /// Something happened to an idle connection: its peer closed it, or spoke out of turn.
    pub fn has_news(&self) -> bool {
        match self {
            Transport::Plain(tcp) => tcp.borrow().has_news(),
            Transport::Tls(tls) => tls.borrow().tcp().has_news(),
            #[cfg(feature = "fuzz")]
            Transport::Memory(_) => false,
        }
    }

    pub fn poll_write(&self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match (self, parts) {
            // `send` is cheaper than `writev`.
            (Transport::Plain(tcp), [only]) => Pin::new(&mut *tcp.borrow_mut()).poll_write(cx, only),
            (Transport::Plain(tcp), _) => Pin::new(&mut *tcp.borrow_mut()).poll_write_vectored(cx, parts),
            (Transport::Tls(tls), _) => tls.borrow_mut().as_write().poll_write_vectored(cx, parts),
            #[cfg(feature = "fuzz")]
            (Transport::Memory(pipe), _) => Pin::new(&mut *pipe.borrow_mut()).poll_write_vectored(cx, parts),
        }
    }

    /// See [`Tcp::poll_with_readable`]; only in clear text.
    pub fn poll_with_readable<T>(
        &self,
        cx: &mut Context<'_>,
        work: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        match self {
            Transport::Plain(tcp) => tcp.borrow_mut().poll_with_readable(cx, work),
            _ => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
        }
    }

    /// See [`Tcp::poll_with_writable`]; only in clear text.
    pub fn poll_with_writable<T>(
        &self,
        cx: &mut Context<'_>,
        work: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        match self {
            Transport::Plain(tcp) => tcp.borrow_mut().poll_with_writable(cx, work),
            _ => Poll::Ready(Err(io::ErrorKind::Unsupported.into())),
        }
    }

    /// Bytes that the other side's kernel has taken so far.
    pub fn acknowledged(&self) -> u64 {
        self.tcp_info().map_or(0, |info| info.tcpi_bytes_acked)
    }

    /// The same while more wait to be sent, else 0.
    pub fn acknowledged_of_backlog(&self) -> u64 {
        self.tcp_info().filter(|info| info.tcpi_notsent_bytes > 0).map_or(0, |info| info.tcpi_bytes_acked)
    }

    fn tcp_info(&self) -> Option<libc::tcp_info> {
        match self {
            Transport::Plain(tcp) => crate::socket::tcp_info(&tcp.borrow().descriptor()?).ok(),
            Transport::Tls(tls) => crate::socket::tcp_info(&tls.borrow().tcp().descriptor()?).ok(),
            #[cfg(feature = "fuzz")]
            Transport::Memory(_) => None,
        }
    }

    /// TLS keeps encrypted bytes back until the socket takes them.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Transport::Plain(_) => Poll::Ready(Ok(())),
            Transport::Tls(tls) => tls.borrow_mut().as_write().poll_flush(cx),
            #[cfg(feature = "fuzz")]
            Transport::Memory(_) => Poll::Ready(Ok(())),
        }
    }

    /// Ends the sending direction: close_notify where there is TLS, then FIN.
    pub async fn shutdown(&self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_shutdown(cx)).await
    }

    fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Transport::Plain(tcp) => Pin::new(&mut *tcp.borrow_mut()).poll_shutdown(cx),
            Transport::Tls(tls) => tls.borrow_mut().as_write().poll_shutdown(cx),
            #[cfg(feature = "fuzz")]
            Transport::Memory(pipe) => Pin::new(&mut *pipe.borrow_mut()).poll_shutdown(cx),
        }
    }

    /// Makes the coming close a reset.
    pub fn reset_on_close(&self) {
        if let Transport::Plain(tcp) = self
            && let Some(descriptor) = tcp.borrow().descriptor()
        {
            let _ = socket2::SockRef::from(&descriptor).set_linger(Some(std::time::Duration::ZERO));
        }
    }

    /// Writes all of it.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = std::future::poll_fn(|cx| self.poll_write(cx, &[IoSlice::new(bytes)])).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[written..];
        }
        std::future::poll_fn(|cx| self.poll_flush(cx)).await
    }
}

/// Many peers close TCP without a close_notify. HTTP frames its messages, so a body cut short is
/// noticed all the same (RFC 9112 section 9.8).
fn end_without_notify(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::UnexpectedEof { Ok(()) } else { Err(error) }
}

impl Tls {
    fn as_read(&mut self) -> Pin<&mut (dyn AsyncRead + Unpin)> {
        match self {
            Tls::Server(stream) => Pin::new(stream),
            Tls::Client(stream) => Pin::new(stream),
        }
    }

    fn as_write(&mut self) -> Pin<&mut (dyn AsyncWrite + Unpin)> {
        match self {
            Tls::Server(stream) => Pin::new(stream),
            Tls::Client(stream) => Pin::new(stream),
        }
    }

    fn tcp(&self) -> &Tcp {
        match self {
            Tls::Server(stream) => stream.get_ref().0,
            Tls::Client(stream) => stream.get_ref().0,
        }
    }

    fn tcp_mut(&mut self) -> &mut Tcp {
        match self {
            Tls::Server(stream) => stream.get_mut().0,
            Tls::Client(stream) => stream.get_mut().0,
        }
    }
}

/// A transport with bytes in front that were read from it already, for code that wants a stream.
#[derive(Debug)]
pub struct Stream {
    transport: Rc<Transport>,
    first: Vec<u8>,
}

impl Stream {
    pub fn new(transport: Transport, first: Vec<u8>) -> Self {
        Self { transport: Rc::new(transport), first }
    }

    /// For those who send on it, to see how far the other side has come.
    pub fn transport(&self) -> Weak<Transport> {
        Rc::downgrade(&self.transport)
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.first.is_empty() {
            let length = this.first.len().min(buf.remaining());
            buf.put_slice(&this.first[..length]);
            this.first.drain(..length);
            return Poll::Ready(Ok(()));
        }
        match &*this.transport {
            Transport::Plain(tcp) => Pin::new(&mut *tcp.borrow_mut()).poll_read(cx, buf),
            Transport::Tls(tls) => tls.borrow_mut().as_read().poll_read(cx, buf).map(|r| r.or_else(end_without_notify)),
            #[cfg(feature = "fuzz")]
            Transport::Memory(pipe) => Pin::new(&mut *pipe.borrow_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.transport.poll_write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.transport.poll_write(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.poll_shutdown(cx)
    }
}
