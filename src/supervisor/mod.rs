//! The life of a serving lb: start, serve, reload, drain.
//!
//! Everything here runs on a small runtime of its own, so that nothing it does can stall the
//! workers, which have their own threads.

mod clock;
mod drain;
mod endpoints;
mod failure;
pub mod host;
mod operator;
mod own_metrics;
mod peers;
mod reload;
mod service;
mod signals;
mod start;
mod status;
mod voice;
mod watch;
mod watchdog;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use lb_core::config::{Identity, Loaded};
use tokio::time::sleep;

use crate::cli;
use crate::identity::identity;
use crate::logging::{Logging, Output};
use failure::failure;
pub use host::layer4_options;
pub use peers::PeersStatus;
pub use reload::{Trigger, changes, refuse_what_needs_a_restart};
use signals::{Event, Signals};
pub use start::{Supervisor, workers};
use watchdog::Watchdog;

/// Threads of the control side; the workers have their own.
const CONTROL_THREADS: usize = 2;
/// In place of never.
const FAR_AWAY: Duration = Duration::from_secs(u32::MAX as u64);
/// How long the last lines of the log may take.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long a reload that is under way at the end may hold up the process.
const LAST_WORK: Duration = Duration::from_secs(1);

/// What the two verbs that serve decide.
pub struct Options {
    pub config: PathBuf,
    /// Which of the file's nodes this is.
    pub identity: Identity,
    pub log: Output,
    /// Drain by itself after this long.
    pub lasts: Option<Duration>,
}

pub fn run(args: &cli::Run) -> Result<()> {
    let identity = identity(args.this.node.as_deref());
    let options = Options { config: args.config.clone(), identity, log: Output::stderr(), lasts: None };
    serve(options, |_| Ok(()))
}

/// Calls `started` once everything runs, and returns when everything is drained.
pub fn serve(options: Options, started: impl FnOnce(&Arc<Supervisor>) -> Result<()>) -> Result<()> {
    let loaded = start::load(&options.config, &options.identity)?;
    let served = serve_loaded(options, loaded, started);
    served.map_err(failure)
}

fn serve_loaded(options: Options, loaded: Loaded, started: impl FnOnce(&Arc<Supervisor>) -> Result<()>) -> Result<()> {
    host::drop_capabilities(&loaded.config)?;
    let logging = Arc::new(Logging::start(&loaded.config.log, options.log)?);
    host::raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .enable_all()
        .build()
        .context("cannot start the control threads")?;
    let result = runtime.block_on(async {
        let mut signals = Signals::catch().context("cannot catch signals")?;
        let supervisor = Supervisor::start(options.config, options.identity, loaded, logging.clone()).await?;
        started(&supervisor)?;
        supervisor.until_stopped(&mut signals, options.lasts).await;
        supervisor.drain(&mut signals).await
    });
    runtime.shutdown_timeout(LAST_WORK);
    logging.flush(LAST_WORDS);
    result
}

impl Supervisor {
    /// Reacts to signals and to changes of the file until something asks for the end.
    async fn until_stopped(self: &Arc<Self>, signals: &mut Signals, lasts: Option<Duration>) {
        let mut end = std::pin::pin!(sleep(lasts.unwrap_or(FAR_AWAY)));
        let mut watchdog = Watchdog::default();
        let mut looks = service::watchdog();
        loop {
            tokio::select! {
                event = signals.next() => match event {
                    Event::Stop(_) => return,
                    Event::Reload => self.spawn_reload(Trigger::Signal),
                    Event::ReopenLogs => self.spawn_reopen_logs(),
                },
                () = self.file_changed() => self.spawn_reload(Trigger::Watch),
                _ = looks.tick() => watchdog.look(self),
                () = &mut end => return,
            }
        }
    }
}
