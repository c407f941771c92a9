//! What the demo keeps on disk while it runs: a configuration to edit, a certificate, the admin socket.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::Addresses;
use super::toy::Toy;

/// Removed when this is dropped.
pub struct Files {
    pub config: PathBuf,
    pub socket: PathBuf,
    _dir: TempDir,
}

impl Files {
    pub fn write(addresses: &Addresses, toys: &[Toy]) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("lb-demo-").tempdir().context("no temporary directory")?;
        certificate(dir.path())?;
        let files = Self { config: dir.path().join("lb.yaml"), socket: dir.path().join("admin.sock"), _dir: dir };
        fs::write(&files.config, files.text(addresses, toys)).context("cannot write the demo's configuration")?;
        Ok(files)
    }

    fn text(&self, addresses: &Addresses, toys: &[Toy]) -> String {
        let Addresses { web, web_tls, metrics } = addresses;
        let dir = self.config.parent().unwrap_or(Path::new(".")).display();
        let socket = self.socket.display();
        let backends: String = toys
            .iter()
            .map(|t| format!("      - {{ name: {}, address: {}, weight: 1 }}\n", t.name, t.address))
            .collect();
        format!(
            "# The demo's configuration. Edit and save it: lb takes it over, or says what is wrong with it.
frontends:
  web:
    mode: http
    listen: {web}
    pool: toys
  web-tls:
    mode: http
    listen: {web_tls}
    tls:
      certificates:
        - {{ cert: {dir}/demo.crt, key: {dir}/demo.key }}
    pool: toys
pools:
  toys:
    scheduler: round-robin
    check: {{ http: {{ path: /healthz }}, interval: 1s, timeout: 500ms, rise: 2, fall: 2 }}
    retry: {{ attempts: 2, budget: 100% }}
    backends:
{backends}reload: {{ watch: true, drain_timeout: 5s }}
metrics: {{ listen: \"{metrics}\" }}
admin: {{ socket: {socket} }}
log: {{ level: info, format: text }}
"
        )
    }
}

/// Made on the spot, for localhost.
fn certificate(dir: &Path) -> Result<()> {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).context("cannot make a certificate")?;
    fs::write(dir.join("demo.crt"), made.cert.pem())?;
    fs::write(dir.join("demo.key"), made.signing_key.serialize_pem())?;
    Ok(())
}
