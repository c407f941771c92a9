//! The end: listeners close, what is in flight finishes, a second signal cuts it short.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tracing::{error, info, warn};

use super::service;
use super::signals::Signals;
use super::start::Supervisor;
use crate::admin::messages::Phase;
use crate::exit::Silent;

/// How long hooks of virtual routers that have stopped may hold up the end.
const LAST_HOOKS: Duration = Duration::from_secs(5);

impl Supervisor {
    /// Takes at most `reload.drain_timeout`. A second SIGTERM or SIGINT ends it at once.
    pub(super) async fn drain(self: &Arc<Self>, signals: &mut Signals) -> Result<()> {
        self.enter(Phase::Draining);
        let longest = self.snapshot().config.reload.drain_timeout;
        service::stopping(longest);
        info!(longest_s = longest.as_secs(), "draining");
        // A reload that is under way ends first.
        let Some(stack) = self.stack.lock().await.take() else { return Ok(()) };
        let mut drained = std::pin::pin!(self.hand_over_and_drain(stack.tier, longest));
        let mut ping = service::watchdog();
        // The admin socket and the metrics (which say that it is not ready) stay to the end.
        let _endpoints = stack.endpoints;
        loop {
            tokio::select! {
                drained = &mut drained => {
                    match drained.forced {
                        0 => info!("drained"),
                        forced => warn!(forced, "drained; connections that took too long were closed"),
                    }
                    return Ok(());
                }
                stop = signals.next_stop() => {
                    warn!("ended at once by a second signal");
                    self.vrrp.hurry();
                    return Err(Silent(stop.exit_code()).into());
                }
                _ = ping.tick() => service::alive(),
            }
        }
    }

    /// The other node has the addresses before anything here closes: who connects from now on connects there.
    async fn hand_over_and_drain(&self, tier: lb_l7::Tier, longest: Duration) -> lb_l7::Drained {
        let (vrrp, peers) = (self.vrrp.clone(), self.peers.clone());
        let hand_over = move || {
            peers.flush();
            vrrp.stop();
            peers.stop();
        };
        if let Err(panic) = tokio::task::spawn_blocking(hand_over).await {
            error!(%panic, "a bug: the virtual routers were not handed over");
        }
        self.forwarder.leave();
        tokio::join!(tier.drain(longest), self.hooks.finish(LAST_HOOKS)).0
    }
}
