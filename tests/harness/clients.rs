//! Clients of the echo servers.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::Space;

/// For one answer.
const WAIT: Duration = Duration::from_secs(5);

/// An open connection to an echo server.
pub struct Talk {
    /// Who answered.
    pub backend: String,
    stream: BufReader<TcpStream>,
}

impl Talk {
    pub fn open(host: &impl AsRef<Space>, to: SocketAddr) -> Talk {
        Talk::try_open(host, to).unwrap_or_else(|e| panic!("connecting to {to}: {e}"))
    }

    pub fn try_open(host: &impl AsRef<Space>, to: SocketAddr) -> io::Result<Talk> {
        host.as_ref().enter(|| Talk::over(TcpStream::connect_timeout(&to, WAIT)?))
    }

    /// From a local port that was used before.
    pub fn open_from(host: &impl AsRef<Space>, port: u16, to: SocketAddr) -> Talk {
        let any = if to.is_ipv4() { "0.0.0.0" } else { "::" };
        Talk::bound(host, SocketAddr::new(any.parse().unwrap(), port), to)
    }

    /// From another address of the client's.
    pub fn open_as(host: &impl AsRef<Space>, address: &str, to: SocketAddr) -> Talk {
        Talk::bound(host, SocketAddr::new(address.parse().unwrap(), 0), to)
    }

    pub fn try_open_as(host: &impl AsRef<Space>, address: &str, to: SocketAddr) -> io::Result<Talk> {
        Talk::try_bound(host, SocketAddr::new(address.parse().unwrap(), 0), to)
    }

    fn bound(host: &impl AsRef<Space>, from: SocketAddr, to: SocketAddr) -> Talk {
        Talk::try_bound(host, from, to).unwrap_or_else(|e| panic!("connecting to {to} from {from}: {e}"))
    }

    fn try_bound(host: &impl AsRef<Space>, from: SocketAddr, to: SocketAddr) -> io::Result<Talk> {
        let connect = || {
            let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            socket.bind(&from.into())?;
            socket.connect_timeout(&to.into(), WAIT)?;
            Talk::over(socket.into())
        };
        host.as_ref().enter(connect)
    }

    fn over(stream: TcpStream) -> io::Result<Talk> {
        stream.set_read_timeout(Some(WAIT))?;
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        let mut name = String::new();
        stream.read_line(&mut name)?;
        Ok(Talk { backend: name.trim().to_owned(), stream })
    }

    /// Sends some bytes and waits for their echo.
    pub fn try_say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)?;
        let mut echo = vec![0; bytes.len()];
        self.stream.read_exact(&mut echo)?;
        assert_eq!(echo, bytes, "an echo of {}", self.backend);
        Ok(())
    }

    pub fn say(&mut self, text: &str) {
        self.try_say(text.as_bytes()).unwrap_or_else(|e| panic!("{} does not answer: {e}", self.backend));
    }

    pub fn local(&self) -> SocketAddr {
        self.stream.get_ref().local_addr().unwrap()
    }

    /// Ends with a reset, which leaves no TIME_WAIT: the port is free at once.
    pub fn reset(self) {
        socket2::SockRef::from(self.stream.get_ref()).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// A socket that asks an echo server.
pub struct Asker {
    pub socket: UdpSocket,
}

impl Asker {
    pub fn new(host: &impl AsRef<Space>, to: SocketAddr) -> Asker {
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = host.as_ref().enter(|| UdpSocket::bind(any).unwrap());
        host.as_ref().enter(|| socket.connect(to).unwrap());
        socket.set_read_timeout(Some(WAIT)).unwrap();
        Asker { socket }
    }

    /// The name of the backend that echoed.
    pub fn try_ask(&self, text: &[u8]) -> io::Result<String> {
        self.socket.send(text)?;
        let mut buffer = vec![0; 65_536];
        let n = self.socket.recv(&mut buffer)?;
        let space = buffer[..n].iter().position(|&b| b == b' ').unwrap();
        assert_eq!(&buffer[space + 1..n], text);
        Ok(String::from_utf8_lossy(&buffer[..space]).into_owned())
    }

    pub fn ask(&self, text: &[u8]) -> String {
        self.try_ask(text).unwrap_or_else(|e| panic!("no answer to a datagram of {}: {e}", text.len()))
    }
}
