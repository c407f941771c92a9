use std::path::Path;
use std::sync::Arc;

use lb_vrrp::net::Netlink;

use super::{Frame, Lan, Rival, Setup, Wire};
use crate::hosts::UNTIL_THE_TEST_ENDS;
use crate::shared::{Lb, poll};

/// lb with one virtual router `v`, and the wire to it.
pub struct Agent {
    pub lb: Lb,
    pub wire: Arc<Wire>,
    pub setup: Setup,
}

impl Agent {
    /// Alone on the wire; `more` are keys of the virtual router.
    pub fn start(lan: &Lan, setup: Setup, more: &str) -> Agent {
        Agent::start_on(Arc::new(Wire::open(lan)), setup, more)
    }

    /// With its admin socket in a directory that stays, as /run does.
    pub fn active_in(run: &Path, lan: &Lan, setup: Setup, more: &str) -> Agent {
        let config = format!("{}admin: {{ socket: {}/admin.sock }}\n", setup.config(more), run.display());
        let agent = Agent::start_with(Arc::new(Wire::open(lan)), setup, &config);
        agent.await_active(true);
        agent
    }

    pub fn start_on(wire: Arc<Wire>, setup: Setup, more: &str) -> Agent {
        Agent::start_with(wire, setup, &setup.config(more))
    }

    fn start_with(wire: Arc<Wire>, setup: Setup, config: &str) -> Agent {
        let wrapper = [&["env", "LB_NODE=lb"], &UNTIL_THE_TEST_ENDS[..]].concat();
        let lb = Lb::start_as(tempfile::tempdir().unwrap(), config, &[], &wrapper);
        Agent { lb, wire, setup }
    }

    /// Active, after its first announcement.
    pub fn active(lan: &Lan, setup: Setup, more: &str) -> Agent {
        let agent = Agent::start(lan, setup, more);
        agent.await_active(true);
        agent.await_frame("announcement", |frame| frame.announces(setup.vip()));
        agent
    }

    /// Backup of a rival with priority 200.
    pub fn backup(lan: &Lan, setup: Setup, more: &str) -> (Agent, Rival) {
        let wire = Arc::new(Wire::open(lan));
        let every = std::time::Duration::from_millis(if setup.is_v2() { 500 } else { 100 });
        let rival = Rival::start(&wire, &setup.good(lan, 200), every);
        let agent = Agent::start_on(wire, setup, more);
        agent.await_received();
        (agent, rival)
    }

    /// With everything that belongs to the beginning over: the next announcement has another reason.
    pub fn settled(self) -> Agent {
        self.await_frames("announcements", 5, |frame| frame.announces(self.setup.vip()));
        self.wire.take();
        self
    }

    fn await_received(&self) {
        let count = || self.metric("lb_vrrp_adverts_received_total", &[]);
        poll("an advert is received", || (count() > 0.0).then_some(()));
    }

    pub fn await_active(&self, active: bool) {
        poll(&format!("active: {active}"), || (self.is_active() == active).then_some(()));
        poll(&format!("address: {active}"), || (self.has_vip() == active).then_some(()));
    }

    pub fn is_active(&self) -> bool {
        self.metric("lb_vrrp_active", &[]) == 1.0
    }

    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.lb.metric(name, labels)
    }

    /// Adverts dropped for a reason.
    pub fn drops(&self, reason: &str) -> f64 {
        self.metric("lb_vrrp_advert_errors_total", &[("reason", reason)])
    }

    /// Changes of role so far.
    pub fn changes(&self) -> f64 {
        self.metric("lb_vrrp_transitions_total", &[])
    }

    /// On whichever interface.
    pub fn has_vip(&self) -> bool {
        let vip: std::net::IpAddr = self.setup.vip().parse().unwrap();
        let mut netlink = Netlink::open().unwrap();
        let links = netlink.links().unwrap();
        let mut addresses = links.iter().flat_map(|link| netlink.addresses(link.index).unwrap());
        addresses.any(|address| address.ip.addr() == vip)
    }

    /// The first frame of this kind that was heard.
    pub fn await_frame(&self, what: &str, is_it: impl Fn(&Frame) -> bool) -> Frame {
        poll(what, || self.wire.heard().into_iter().find(|frame| is_it(frame)))
    }

    /// What was heard, once there are so many frames of this kind.
    pub fn await_frames(&self, what: &str, count: usize, is_it: impl Fn(&Frame) -> bool) -> Vec<Frame> {
        poll(what, || {
            let heard = self.wire.heard();
            (heard.iter().filter(|frame| is_it(frame)).count() >= count).then_some(heard)
        })
    }
}
