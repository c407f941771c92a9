//! A server of our own that says its name and echoes.

use std::net::SocketAddr;
use std::thread;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;

use super::{Space, chatter::patient};

/// On the given port of all addresses. TCP: says `NAME\n` to each client, then echoes. UDP: answers
/// `NAME DATAGRAM`, from the address that was asked.
pub struct Echo {
    alive: Option<watch::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Echo {
    /// UDP sockets are bound to `udp`, so that replies have the right source even where the address is a VIP.
    pub fn start(host: &Space, port: u16, udp: &[&str]) -> Echo {
        let (alive, until_dead) = watch::channel(());
        let udp: Vec<SocketAddr> = udp.iter().map(|a| SocketAddr::new(a.parse().unwrap(), port)).collect();
        let name = host.name;
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = host.enter(|| {
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let serve = async move {
                    let listener = TcpListener::bind(SocketAddr::new("::".parse().unwrap(), port)).await.unwrap();
                    tokio::spawn(accept(listener, name));
                    for addr in udp {
                        let socket = UdpSocket::bind(addr).await.unwrap();
                        patient(&socket);
                        tokio::spawn(answer(socket, name));
                    }
                    ready.send(()).unwrap();
                    dropped(until_dead).await;
                };
                runtime.block_on(serve);
            })
        });
        is_ready.recv().unwrap();
        Echo { alive: Some(alive), thread: Some(thread) }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.alive = None;
        let _ = self.thread.take().unwrap().join();
    }
}

async fn dropped(mut signal: watch::Receiver<()>) {
    while signal.changed().await.is_ok() {}
}

async fn accept(listener: TcpListener, name: &'static str) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(echo(stream, name));
    }
}

async fn echo(mut stream: TcpStream, name: &str) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(format!("{name}\n").as_bytes()).await?;
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            n => stream.write_all(&buffer[..n]).await?,
        }
    }
}

async fn answer(socket: UdpSocket, name: &str) {
    let mut buffer = vec![0; 65_536];
    while let Ok((n, from)) = socket.recv_from(&mut buffer).await {
        let _ = socket.send_to(&[name.as_bytes(), b" ", &buffer[..n]].concat(), from).await;
    }
}
