//! What has to hold when the network has been whole and quiet for long enough.

use std::time::Duration;

use lb_vrrp::routers::RouterId;
use lb_vrrp::time::Time;

use crate::world::World;

/// By then there is one active router, and only one: a successor that was asked for (5 intervals and its linger), a
/// backup that lost its active router (3 intervals and a skew of at most one, and of four times as long ones, up to a
/// second, where that router was late), one that was away and looks (2, and up to 10 where it was late).
pub fn bound(longest: Duration) -> Duration {
    20 * longest + Duration::from_secs(1)
}

/// Until who had to be told that others had been active has been told.
pub fn until_told(longest: Duration) -> Duration {
    100 * longest
}

/// Watches one quiet phase.
pub struct Check {
    /// How long two may be active: an advert is under way from one to the other, and back.
    grace: Duration,
    since: Vec<Option<Time>>,
}

impl Check {
    pub fn new(world: &World) -> Self {
        Self { grace: 2 * world.network.slowest, since: vec![None; world.routers()] }
    }

    /// After every step.
    pub fn one_active(&mut self, world: &World) {
        for id in 0..world.routers() {
            let actives: Vec<usize> = world.actives(id as RouterId).collect();
            assert!(!actives.is_empty(), "nobody is active for {id}");
            let holders: Vec<usize> = (0..world.nodes.len()).filter(|node| world.nodes[*node].holds[id]).collect();
            assert_eq!(actives, holders, "the addresses of {id} are where the role is");
            self.one_soon(world.now, id, actives.len());
        }
    }

    fn one_soon(&mut self, now: Time, id: usize, actives: usize) {
        if actives == 1 {
            self.since[id] = None;
            return;
        }
        let since = *self.since[id].get_or_insert(now);
        assert!(now.since(since) <= self.grace, "{actives} are active for {id} for {:?}", now.since(since));
    }
}

/// At the end.
pub fn settled(world: &World) {
    for id in 0..world.routers() {
        let active = world.actives(id as RouterId).next();
        let believed = world.believes[id];
        assert!(believed.is_none() || believed == active, "{id} is at {active:?}, and looked for at {believed:?}");
    }
    if world.nodes[0].grouped {
        let first: Vec<usize> = world.actives(0).collect();
        assert_eq!(first, world.actives(1).collect::<Vec<_>>(), "a sync group is together");
    }
}

/// Each node may have to give in, and each may preempt once.
pub fn no_storm(world: &World) {
    for (id, changes) in world.changes.iter().enumerate() {
        let most = 3 * world.nodes.len() as u32 + 2;
        assert!(*changes <= most, "{changes} changes of role for {id} after the heal");
    }
}
