//! A client's bytes against a whole connection, in memory: parser, routes, answers, HTTP/2.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use lb_core::config;
use lb_core::snapshot::Snapshot;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::LocalSet;

use crate::client::{self, Accepted};
use crate::plan::Plan;
use crate::worker::{OpenConnection, Worker};

/// Answers of its own, and a pool that nobody listens in.
const CONFIG: &str = r#"
frontends:
  fuzz:
    mode: http
    listen: 127.0.0.1:1
    limits: { header_bytes: 4KiB, header_count: 30, uri_length: 1KiB, body_bytes: 64KiB }
    routes:
      - { path: /pool, pool: dead }
      - { path: /to, redirect: { status: 302, location: "https://{host}{path}{query}" } }
      - { respond: { status: 200, body: "hello" } }
pools:
  dead: { backends: [127.0.0.1:1] }
metrics: off
"#;

/// Longest that one input may take, in sweeps of a minute each.
const MAX_SWEEPS: u64 = 200;

/// A worker without a thread, and the runtime that it lives on.
pub struct Target {
    runtime: tokio::runtime::Runtime,
    worker: Rc<Worker>,
    clock: Cell<u64>,
}

impl Default for Target {
    fn default() -> Self {
        let loaded = config::load(CONFIG, "fuzz.yaml".as_ref(), &|_| None).expect("the configuration is valid");
        let snapshot = Snapshot::build(Arc::new(loaded.config), loaded.sha256, 1, None);
        let plan = Plan::compile(Arc::new(snapshot), None).expect("the plan compiles");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let worker = Worker::new(0, Arc::new(ArcSwap::from_pointee(plan)), Arc::default());
        Self { runtime, worker, clock: Cell::new(0) }
    }
}

impl Target {
    /// Sends `input`, closes, and returns all that came back. Panics if the connection does not end.
    pub fn exchange(&self, input: &[u8]) -> Vec<u8> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let local = LocalSet::new();
        let frontend = self.worker.view().plan.frontends[0].clone();
        let peer = SocketAddr::from(([192, 0, 2, 1], 1024));
        let open = OpenConnection::new(&self.worker);
        let accepted = Accepted { worker: self.worker.clone(), frontend, peer, place: Default::default(), open };
        local.spawn_local(client::serve_memory(accepted, far));
        local.block_on(&self.runtime, async {
            tokio::select! {
                output = talk(near, input) => output,
                () = self.run_clock() => panic!("the connection does not end"),
            }
        })
    }

    /// Timeouts pass a minute at a time.
    async fn run_clock(&self) {
        for _ in 0..MAX_SWEEPS {
            tokio::time::sleep(Duration::from_millis(5)).await;
            self.clock.set(self.clock.get() + 60_000);
            self.worker.deadlines.sweep(self.clock.get());
        }
    }
}

async fn talk(near: DuplexStream, input: &[u8]) -> Vec<u8> {
    let (mut receive, mut send) = tokio::io::split(near);
    let sending = async {
        // The connection may end before it has read everything.
        let _ = send.write_all(input).await;
        let _ = send.shutdown().await;
    };
    let mut output = Vec::new();
    let receiving = receive.read_to_end(&mut output);
    let (_, received) = tokio::join!(sending, receiving);
    drop(received);
    output
}
