//! One client: a connection, reopened when it is gone or after every request.

use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use rustls::HandshakeKind;
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::client::TlsStream;

use crate::Args;
use crate::response::{self, Progress};
use crate::tally::{self, Budget, Outcome, Tally};
use crate::tls::Tls;

/// What every client asks for, and what it must get.
pub struct Target {
    address: SocketAddr,
    tls: Option<Tls>,
    request: Box<[u8]>,
    body: u64,
    close: bool,
}

pub struct Client {
    target: Rc<Target>,
    connection: Option<Connection>,
    buffer: Vec<u8>,
    tally: Tally,
}

enum Connection {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Target {
    pub fn new(args: &Args) -> Result<Self> {
        let connection = if args.close { "Connection: close\r\n" } else { "" };
        let request = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n{connection}\r\n", args.path);
        Ok(Self {
            address: args.address,
            tls: args.ca.as_deref().map(Tls::new).transpose()?,
            request: request.into_bytes().into(),
            body: args.body,
            close: args.close,
        })
    }

    async fn connect(&self) -> Result<Connection> {
        let stream = open(self.address).await.context("connect")?;
        Ok(match &self.tls {
            Some(tls) => Connection::Tls(Box::new(tls.connect(stream).await?)),
            None => Connection::Plain(stream),
        })
    }
}

async fn open(address: SocketAddr) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    Ok(TcpSocket::from_std_stream(socket.into()).connect(address).await?)
}

impl Client {
    /// Bodies are read in pieces of at most 256 KiB.
    pub fn new(target: Rc<Target>) -> Self {
        let size = target.body.clamp(2048, 256 << 10) as usize;
        Self { target, connection: None, buffer: vec![0; size], tally: Tally::default() }
    }

    /// Waits for its turn, sends `own` requests, then takes from the common budget until that is spent.
    pub async fn run(mut self, mut own: u64, budget: Budget, turns: Rc<Semaphore>) -> (Self, Tally) {
        let _turn = turns.acquire().await;
        while own > 0 || budget.take() {
            own = own.saturating_sub(1);
            self.exchange().await;
        }
        let tally = std::mem::take(&mut self.tally);
        (self, tally)
    }

    async fn exchange(&mut self) {
        let started = tally::now();
        match self.attempt().await {
            Ok(Outcome::Correct) => self.tally.correct(started.elapsed()),
            Ok(wrong) => self.fail(wrong),
            Err(error) => {
                self.tally.note(&error);
                self.fail(Outcome::Broken);
            }
        }
    }

    fn fail(&mut self, outcome: Outcome) {
        self.connection = None;
        self.tally.wrong(outcome);
    }

    async fn attempt(&mut self) -> Result<Outcome> {
        let target = self.target.clone();
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.opened(target.connect().await?),
        };
        let outcome = match &mut connection {
            Connection::Plain(stream) => exchange(stream, &target, &mut self.buffer).await,
            Connection::Tls(stream) => exchange(stream, &target, &mut self.buffer).await,
        }?;
        if !target.close {
            self.connection = Some(connection);
        }
        Ok(outcome)
    }

    fn opened(&mut self, connection: Connection) -> Connection {
        self.tally.connections += 1;
        if let Connection::Tls(stream) = &connection {
            match stream.get_ref().1.handshake_kind() {
                Some(HandshakeKind::Resumed) => self.tally.resumed += 1,
                _ => self.tally.full_handshakes += 1,
            }
        }
        connection
    }
}

async fn exchange<S>(stream: &mut S, target: &Target, buffer: &mut [u8]) -> Result<Outcome>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(&target.request).await?;
    stream.flush().await?;
    let head = read_head(stream, buffer).await?;
    if head.status != 200 {
        return Ok(Outcome::WrongStatus);
    }
    if head.content_length != Some(target.body) {
        return Ok(Outcome::WrongLength);
    }
    let surplus = read_body(stream, buffer, target.body - head.body_received.min(target.body)).await?;
    if surplus || head.body_received > target.body {
        return Ok(Outcome::WrongLength);
    }
    if target.close && read_some(stream, buffer).await? != 0 {
        bail!("bytes after the response");
    }
    Ok(Outcome::Correct)
}

async fn read_head<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut [u8]) -> Result<response::Head> {
    let mut filled = 0;
    loop {
        if filled == buffer.len() {
            bail!("response head over {filled} bytes");
        }
        let received = stream.read(&mut buffer[filled..]).await?;
        if received == 0 {
            bail!("connection closed before a response");
        }
        filled += received;
        if let Progress::Complete(head) = response::parse(&buffer[..filled])? {
            return Ok(head);
        }
    }
}

/// Reads `remaining` bytes; true when more came than that.
async fn read_body<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut [u8], mut remaining: u64) -> Result<bool> {
    while remaining > 0 {
        let received = read_some(stream, buffer).await? as u64;
        if received == 0 {
            bail!("connection closed within a body");
        }
        if received > remaining {
            return Ok(true);
        }
        remaining -= received;
    }
    Ok(false)
}

async fn read_some<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut [u8]) -> Result<usize> {
    Ok(stream.read(buffer).await?)
}
