//! `lb demo`: everything with three toy backends, in one process, on 127.0.0.1, without root.
//!
//! What serves is exactly what `lb run` runs; the demo adds the backends, a client that sends a
//! request now and then, and a table of what goes on.

mod client;
mod files;
mod screen;
mod table;
mod toy;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, interval};

use crate::cli;
use crate::exit::Failed;
use crate::logging::Output;
use crate::supervisor::{self, Options, Supervisor};
use client::Client;
use files::Files;
use lb_core::config::Identity;
use screen::Screen;
use table::Table;
use toy::Toy;

const NAMES: [&str; 3] = ["red", "green", "blue"];

/// How often the table is drawn on a terminal, and a line printed elsewhere.
const REDRAW: Duration = Duration::from_millis(500);
const LINE: Duration = Duration::from_secs(3);

/// Where the demo serves; each was free a moment ago.
struct Addresses {
    web: SocketAddr,
    web_tls: SocketAddr,
    metrics: SocketAddr,
}

pub fn demo(args: &cli::Demo) -> Result<()> {
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let addresses = Addresses {
        web: free(local(args.port), "--port")?,
        web_tls: free(local(args.tls_port), "--tls-port")?,
        metrics: free(args.metrics, "--metrics")?,
    };
    let toys = NAMES.map(Toy::bind).into_iter().collect::<Result<Vec<_>>>()?;
    let files = Files::write(&addresses, &toys)?;
    let screen = Screen::new();
    let options = Options {
        config: files.config.clone(),
        identity: Identity::None,
        log: Output::plain(screen.log()),
        lasts: args.lasts,
    };
    let client = Arc::new(Client::new(addresses.web));
    screen.print(&welcome(&addresses, &toys, &files));
    supervisor::serve(options, |supervisor| {
        tokio::spawn(client.clone().send_now_and_then(supervisor.clone()));
        tokio::spawn(watch(supervisor.clone(), client.clone(), screen.clone()));
        toys.into_iter().try_for_each(Toy::serve)
    })?;
    screen.finish(&format!("the demo is over: {}\n", client.summary()));
    Ok(())
}

/// Two processes may share a port if both ask for it, so lb's own listener would not notice.
fn free(address: SocketAddr, flag: &str) -> Result<SocketAddr> {
    let error = match TcpListener::bind(address).and_then(|listener| listener.local_addr()) {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    let port = address.port();
    let other = if port < 50_000 { port + 1000 } else { port - 1000 };
    let value = if flag == "--metrics" { format!("{}:{other}", address.ip()) } else { other.to_string() };
    Err(Failed::new(format!("cannot listen on {address} ({error}): choose another with `lb demo {flag} {value}`"))
        .into())
}

async fn watch(supervisor: Arc<Supervisor>, client: Arc<Client>, screen: Screen) {
    let mut table = Table::new(client);
    let started = Instant::now();
    let mut ticks = interval(if screen.is_terminal() { REDRAW } else { LINE });
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let status = supervisor.status();
        if screen.is_terminal() {
            screen.draw(&table.drawn(&status, started.elapsed()));
        } else {
            screen.print(&table.line(&status, started.elapsed()));
        }
    }
}

fn welcome(addresses: &Addresses, toys: &[Toy], files: &Files) -> String {
    let Addresses { web, web_tls, metrics } = addresses;
    let lb = std::env::args().next().unwrap_or_else(|| "lb".to_owned());
    let first = toys.first().map_or(0, |toy| toy.address.port());
    let socket = files.socket.display();
    let config = files.config.display();
    format!(
        "lb balances http://{web} and https://{web_tls} over three toy backends. Try, in another terminal:

  curl http://{web}/
  curl -k --http2 https://{web_tls}/
  curl -X POST 127.0.0.1:{first}/stop     the backend red plays dead, and leaves; /start brings it back
  export LB_SOCKET={socket}
  {lb} status
  {lb} backend drain toys/green --wait
  {lb} explain http://{web}/
  curl -s http://{metrics}/metrics | grep ^lb_
  edit {config} and see lb reload it, or refuse it

Ctrl-C drains and ends.
"
    )
}
