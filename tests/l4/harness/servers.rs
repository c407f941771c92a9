//! Servers on the backends: nginx, dnsmasq, iperf3, and one of our own that says its name and echoes.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;

use super::space::SCRATCH;
use super::{Net, Space, chatter::patient};
use crate::shared::eventually;

/// Killed when dropped.
pub struct Running(Child);

impl Running {
    pub fn start(mut command: Command) -> Running {
        Running(command.stdout(Stdio::null()).spawn().unwrap())
    }

    /// A line of words on a host.
    pub fn start_with(host: &Space, line: &str) -> Running {
        let mut words = line.split_whitespace();
        let mut command = host.command(words.next().unwrap());
        command.args(words);
        Running::start(command)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// nginx on port 80: `/` says the backend's name and the client's address, `/blob` is noise.
pub struct Web {
    _servers: Vec<Running>,
    dir: TempDir,
}

impl Web {
    /// On all backends.
    pub fn start(net: &Net, blob_mib: u32) -> Web {
        let dir = tempfile::tempdir_in(SCRATCH).unwrap();
        let blob = dir.path().join("blob");
        net.lb.run(&format!("dd if=/dev/urandom of={} bs=1M count={blob_mib} status=none", blob.display()));
        let servers = net.backends.iter().map(|b| Web::on(b, &dir)).collect();
        Web { _servers: servers, dir }
    }

    fn on(host: &Space, dir: &TempDir) -> Running {
        let (name, dir) = (host.name, dir.path().display());
        let config = format!(
            "daemon off; master_process off; pid {dir}/{name}.pid; error_log stderr warn;
             events {{ worker_connections 4096; }}
             http {{ access_log off; sendfile on; client_body_temp_path {dir}; proxy_temp_path {dir};
               fastcgi_temp_path {dir}; uwsgi_temp_path {dir}; scgi_temp_path {dir};
               server {{ listen 80; listen [::]:80;
                 location = /blob {{ root {dir}; }}
                 location / {{ return 200 \"{name} $remote_addr\"; }} }} }}"
        );
        let path = format!("{dir}/{name}.conf");
        fs::write(&path, config).unwrap();
        let mut command = host.command("nginx");
        command.args(["-c", &path, "-e", "stderr"]);
        let server = Running::start(command);
        eventually("nginx listens", || host.enter(|| std::net::TcpStream::connect("127.0.0.1:80").is_ok()));
        server
    }

    pub fn blob_sha256(&self, net: &Net) -> String {
        first_word(&net.lb.run(&format!("sha256sum {}", self.dir.path().join("blob").display())))
    }
}

/// dnsmasq on port 53: the text of `who.test` is the backend's name.
pub struct Dns(#[allow(dead_code, reason = "kept running")] Vec<Running>);

impl Dns {
    pub fn start(net: &Net) -> Dns {
        let servers = net.backends.iter().map(|host| {
            let mut command = host.command("dnsmasq");
            command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root"]);
            command.args(["--pid-file=", "--log-facility=/dev/null", &format!("--txt-record=who.test,{}", host.name)]);
            let server = Running::start(command);
            eventually("dnsmasq answers", || host.try_run(&ask_who("127.0.0.1")).status.success());
            server
        });
        Dns(servers.collect())
    }
}

/// One question to a server, not repeated.
pub fn ask_who(server: &str) -> String {
    format!("dig +short +time=2 +tries=3 @{server} who.test TXT")
}

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

pub fn first_word(text: &str) -> String {
    text.split_whitespace().next().unwrap_or_default().to_owned()
}
