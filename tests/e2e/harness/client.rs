//! A client of HTTP/1.1 that sends exactly the bytes that a test asks for.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::PATIENCE;
use super::http1::{self, Response};

pub struct Client {
    pub stream: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(to: SocketAddr) -> Client {
        Client::over(TcpStream::connect(to).unwrap())
    }

    pub fn over(stream: TcpStream) -> Client {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream: BufReader::new(stream) }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).unwrap();
    }

    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref())
    }

    pub fn response(&mut self) -> Response {
        self.try_response("GET").unwrap()
    }

    /// `to` is the method of the request.
    pub fn response_to(&mut self, to: &str) -> Response {
        self.try_response(to).unwrap()
    }

    pub fn try_response(&mut self, to: &str) -> io::Result<Response> {
        http1::read_response(&mut self.stream, to)
    }

    /// Sends bytes and reads the response.
    pub fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Response {
        self.send(bytes);
        self.response()
    }

    pub fn get(&mut self, path: &str) -> Response {
        self.ask(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"))
    }

    /// Waits for more bytes or the end: was it the end? A reset counts as one.
    pub fn is_closed(&mut self) -> bool {
        match self.stream.read(&mut [0]) {
            Ok(n) => n == 0,
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => true,
            Err(e) => panic!("neither bytes nor an end: {e}"),
        }
    }

    pub fn finish_sending(&self) {
        self.stream.get_ref().shutdown(Shutdown::Write).unwrap();
    }
}

/// One GET on a connection of its own.
pub fn get(from: SocketAddr, path: &str) -> Response {
    Client::connect(from).get(path)
}
