use std::sync::Arc;

use super::*;
use crate::config::{self, AdminState};
use crate::pool::{BackendLive, Health};

pub fn backend(name: &str, weight: u16) -> Arc<Backend> {
    let config = config::Backend {
        name: name.into(),
        address: ([127, 0, 0, 1], 80).into(),
        weight,
        max_connections: None,
        state: AdminState::Ready,
    };
    Arc::new(Backend {
        pool: "pool".into(),
        config: Arc::new(config),
        live: Arc::new(BackendLive::new(1, Health::Unknown)),
    })
}

#[test]
fn empty_and_zero_weight_pools_have_no_choice() {
    for scheduler in ALL {
        for backends in [vec![], vec![backend("a", 0), backend("b", 0)]] {
            let table = Table::new(scheduler, &backends);
            let key = Key { client: 7, random: 7 };
            assert_eq!(table.pick(&backends, &mut Cursor::default(), key, |_, _| true), None, "{scheduler:?}");
        }
    }
}

pub const ALL: [Scheduler; 5] =
    [Scheduler::RoundRobin, Scheduler::LeastConnections, Scheduler::IpHash, Scheduler::Maglev, Scheduler::Random];
