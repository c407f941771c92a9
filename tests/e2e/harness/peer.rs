//! Real programs beside lb: nginx as an origin, and scripts in tests/peers/ that Debian's Python runs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use super::{Authority, Leaf, Port, eventually};

/// Debian's own, which has the packages that the Makefile installs.
const PYTHON: &str = "/usr/bin/python3";

/// A server in Python that prints its port first. Killed when dropped.
pub struct Peer {
    pub addr: SocketAddr,
    child: Child,
}

impl Peer {
    pub fn serve(script: &str, arguments: &[&str]) -> Peer {
        let mut child = python(script, arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port: u16 = line.trim().parse().unwrap_or_else(|_| panic!("{script} printed {line:?} instead of a port"));
        Peer { addr: SocketAddr::from(([127, 0, 0, 1], port)), child }
    }

    /// Runs a client script to its end.
    pub fn run(script: &str, arguments: &[&str]) -> Output {
        python(script, arguments).output().unwrap()
    }

    /// The same where it must succeed; its standard output.
    pub fn run_ok(script: &str, arguments: &[&str]) -> String {
        let output = Peer::run(script, arguments);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{script} {arguments:?}: {}\n{out}{err}", output.status);
        out.into_owned()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn python(script: &str, arguments: &[&str]) -> Command {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(script);
    let mut command = Command::new(PYTHON);
    command.arg("-B").arg(path).args(arguments).env("GRPC_VERBOSITY", "ERROR");
    command
}

/// nginx as an origin: one worker in the foreground on a port of its own.
pub struct Nginx {
    pub addr: SocketAddr,
    child: Child,
    _dir: TempDir,
}

/// What nginx speaks.
pub enum Speaks<'a> {
    Http1,
    H2c,
    Tls(&'a Leaf),
    /// Wants a certificate of this authority from its clients.
    TlsTo(&'a Leaf, &'a Authority),
    H2(&'a Leaf),
}

impl Nginx {
    /// Answers `/` with its name, the protocol and the Host it was asked for; `/blob` with 1 MiB of zeros.
    pub fn start(name: &str, speaks: Speaks) -> Nginx {
        let dir = tempfile::tempdir().unwrap();
        let port = Port::reserve();
        let (flags, tls) = match speaks {
            Speaks::Http1 => ("", String::new()),
            Speaks::H2c => ("http2", String::new()),
            Speaks::Tls(leaf) => ("ssl", certificate_lines(leaf)),
            Speaks::TlsTo(leaf, ca) => ("ssl", certificate_lines(leaf) + &client_lines(ca)),
            Speaks::H2(leaf) => ("ssl http2", certificate_lines(leaf)),
        };
        let config = format!(
            "daemon off; master_process off; pid {dir}/pid; error_log stderr warn;
             events {{ worker_connections 4096; }}
             http {{ access_log off; keepalive_requests 1000000; client_body_temp_path {dir}; proxy_temp_path {dir};
               fastcgi_temp_path {dir}; uwsgi_temp_path {dir}; scgi_temp_path {dir}; client_max_body_size 0;
               server {{ listen {addr} reuseport {flags}; {tls}
                 location = /blob {{ root {dir}; }}
                 location / {{ return 200 \"{name} $server_protocol $host\"; }} }} }}",
            dir = dir.path().display(),
            addr = port.addr,
        );
        fs::write(dir.path().join("nginx.conf"), config).unwrap();
        fs::write(dir.path().join("blob"), vec![0; 1 << 20]).unwrap();
        let child = Command::new("nginx")
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .arg("-c")
            .arg(dir.path().join("nginx.conf"))
            .args(["-e", "stderr"])
            .stdin(Stdio::null())
            .spawn()
            .expect("nginx is installed");
        eventually("nginx listens", || std::net::TcpStream::connect(port.addr).is_ok());
        Nginx { addr: port.addr, child, _dir: dir }
    }
}

fn certificate_lines(leaf: &Leaf) -> String {
    format!("ssl_certificate {}; ssl_certificate_key {};", leaf.cert.display(), leaf.key.display())
}

fn client_lines(ca: &Authority) -> String {
    format!("ssl_verify_client on; ssl_client_certificate {};", ca.ca.display())
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
