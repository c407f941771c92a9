//! Socket options that the standard library does not know.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

const BACKLOG: i32 = 16_384;

/// One of several listeners on the same address, one for each worker (SO_REUSEPORT).
pub fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = bound(address, true)?;
    // Short connections come with their request: one wake-up less (tcp(7), TCP_DEFER_ACCEPT).
    set_option(&socket, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 1)?;
    socket.set_tcp_nodelay(true)?;
    socket.listen(BACKLOG)?;
    // The response acknowledges the request: a segment less for each connection (tcp(7), TCP_QUICKACK). Listening
    // forgets it, so it comes last.
    socket.set_tcp_quickack(false)?;
    Ok(socket.into())
}

/// A listener that the runtime watches. Unlike the runtime's own kind, it leaves the connections that it accepts out of
/// the reactor; see [`crate::io::tcp`].
pub type Listener = AsyncFd<mio::net::TcpListener>;

#[expect(unsafe_code, reason = "the runtime watches a descriptor only on our word")]
pub fn watch(listener: TcpListener) -> io::Result<Listener> {
    let listener = mio::net::TcpListener::from_std(listener);
    // SAFETY: the listener owns its descriptor, tells always the same one, and keeps it open until it is dropped, which
    // the `AsyncFd` alone can do.
    unsafe { AsyncFd::register_with_interest(listener, Interest::READABLE) }.map_err(io::Error::from)
}

/// Fails where another process listens on the address, even one that shares it by SO_REUSEPORT.
pub fn check_free(address: SocketAddr) -> io::Result<()> {
    bound(address, false).map(drop)
}

fn bound(address: SocketAddr, share: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `[::]:80` and `0.0.0.0:80` are two frontends.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share)?;
    // A standby listens on an address that it does not hold yet (ip(7), IP_FREEBIND).
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

#[expect(unsafe_code, reason = "setsockopt(TCP_DEFER_ACCEPT) is in no safe wrapper that we use")]
fn set_option(socket: &impl AsFd, level: i32, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: the descriptor is open while it is borrowed, and the kernel reads one int, which `value` is.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[expect(unsafe_code, reason = "getsockopt(TCP_INFO) is in no safe wrapper that we use")]
pub fn tcp_info(socket: &impl AsFd) -> io::Result<libc::tcp_info> {
    // SAFETY: tcp_info is plain integers, for which zero is a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the descriptor is open while it is borrowed, and the kernel writes at most `length`
    // bytes into `info`, which has that many.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(info) } else { Err(io::Error::last_os_error()) }
}
