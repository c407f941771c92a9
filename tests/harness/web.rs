//! nginx on several hosts.

use std::fs;

use tempfile::TempDir;

use super::{Running, SCRATCH, Space};
use crate::shared::eventually;

/// nginx on port 80: `/` says the host's name and the client's address, `/blob` is noise.
pub struct Web {
    _servers: Vec<Running>,
    dir: TempDir,
}

impl Web {
    pub fn start(hosts: &[Space], blob_mib: u32) -> Web {
        let dir = tempfile::tempdir_in(SCRATCH).unwrap();
        let blob = dir.path().join("blob");
        hosts[0].run(&format!("dd if=/dev/urandom of={} bs=1M count={blob_mib} status=none", blob.display()));
        let servers = hosts.iter().map(|host| Web::on(host, &dir)).collect();
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

    pub fn blob_sha256(&self, host: &Space) -> String {
        first_word(&host.run(&format!("sha256sum {}", self.dir.path().join("blob").display())))
    }
}

pub fn first_word(text: &str) -> String {
    text.split_whitespace().next().unwrap_or_default().to_owned()
}
