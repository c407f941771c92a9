//! A real router as the other node. Each of the two is active and backup, fails, comes back, and lets go; and neither
//! has anything to say against what the other one sends.

mod frr;
mod keepalived;

use std::sync::Arc;

use nix::sys::signal::Signal;

use crate::harness::{Agent, Lan, Setup, Wire};
use crate::shared::poll;

/// The other node's program.
trait Router {
    /// With what has to be on its host.
    fn new(lan: &Lan, setup: Setup, priority: u8) -> Self;
    fn start(&mut self, lan: &Lan);
    /// As with SIGKILL.
    fn kill(&mut self);
    /// As it should be stopped.
    fn stop(&mut self);
    fn is_active(&self, lan: &Lan) -> bool;
    /// All that it has logged.
    fn log(&self) -> String;
    /// What it must not have logged.
    const COMPLAINTS: &'static [&'static str];
}

struct Pair<'a, R> {
    lan: &'a Lan,
    setup: Setup,
    wire: Arc<Wire>,
    keys: String,
    agent: Agent,
    router: R,
}

impl<'a, R: Router> Pair<'a, R> {
    /// Of these priorities; the router is first on the wire.
    fn start(lan: &'a Lan, setup: Setup, more: &str, [ours, theirs]: [u8; 2]) -> Self {
        let wire = Arc::new(Wire::open(lan));
        let mut router = R::new(lan, setup, theirs);
        router.start(lan);
        let keys = format!("priority: {{ lb: {ours}, peer: {theirs} }}, {more}");
        let agent = Agent::start_on(wire.clone(), setup, &keys);
        Pair { lan, setup, wire, keys, agent, router }
    }

    fn restart_lb(&mut self) {
        self.agent = Agent::start_on(self.wire.clone(), self.setup, &self.keys);
    }

    fn await_ours(&self) {
        self.agent.await_active(true);
        poll("the other router is backup", || (!self.router.is_active(self.lan)).then_some(()));
        assert!(self.agent.is_active());
    }

    fn await_theirs(&self) {
        self.await_them();
        self.agent.await_active(false);
        assert!(self.router.is_active(self.lan));
    }

    /// While there is no lb.
    fn await_them(&self) {
        poll("the other router is active", || self.router.is_active(self.lan).then_some(()));
    }

    /// Neither has complained.
    fn check(&self) {
        assert_eq!(self.agent.metric("lb_vrrp_advert_errors_total", &[]), 0.0);
        assert!(self.agent.metric("lb_vrrp_adverts_received_total", &[]) > 0.0);
        for notice in ["interval_differs", "addresses_differ"] {
            assert_eq!(self.agent.metric("lb_vrrp_notices_total", &[("notice", notice)]), 0.0, "{notice}");
        }
        let log = self.router.log();
        let complaint = |line: &&str| R::COMPLAINTS.iter().any(|word| line.to_lowercase().contains(word));
        assert_eq!(log.lines().filter(complaint).collect::<Vec<_>>(), Vec::<&str>::new(), "in:\n{log}");
    }
}

/// The other router has the higher priority.
fn theirs_first<R: Router>(setup: Setup, more: &str) {
    let lan = crate::lan!();
    let mut pair = Pair::<R>::start(&lan, setup, more, [100, 150]);
    pair.await_theirs();
    pair.router.kill();
    pair.agent.await_active(true);
    pair.router.start(&lan);
    pair.await_theirs();
    pair.router.stop();
    pair.agent.await_active(true);
    pair.router.start(&lan);
    pair.await_theirs();
    pair.check();
}

/// lb has the higher priority.
fn ours_first<R: Router>(setup: Setup, more: &str) {
    let lan = crate::lan!();
    let mut pair = Pair::<R>::start(&lan, setup, more, [200, 100]);
    pair.await_ours();
    pair.agent.lb.signal(Signal::SIGKILL);
    pair.await_them();
    pair.restart_lb();
    pair.await_ours();
    pair.agent.lb.signal(Signal::SIGTERM);
    assert!(pair.agent.lb.wait_for_exit().success());
    pair.await_them();
    assert!(!pair.agent.has_vip());
    pair.restart_lb();
    pair.await_ours();
    pair.check();
}

macro_rules! with {
    ($router:ident, $($name:ident: $setup:ident $(, $more:expr)?;)*) => {$(
        mod $name {
            use crate::harness::Setup;

            #[test]
            fn theirs_first() {
                crate::interop::theirs_first::<super::$router>(Setup::$setup, concat!($($more)?));
            }

            #[test]
            fn ours_first() {
                crate::interop::ours_first::<super::$router>(Setup::$setup, concat!($($more)?));
            }
        }
    )*};
}
use with;
