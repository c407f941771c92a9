//! How many connections a frontend takes, in all and of one client address; shared by all workers.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use lb_core::config::Limits;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The limits of one frontend and what is taken of them. Costs nothing where no limit is set.
#[derive(Debug)]
pub struct Admission {
    connections: Option<(u32, Arc<Semaphore>)>,
    per_client: Option<u32>,
    clients: Clients,
}

/// Open connections by client address.
type Clients = Arc<Mutex<HashMap<IpAddr, u32>>>;

/// One connection's place; given back when dropped.
#[derive(Debug, Default)]
pub struct Place {
    client: Option<(IpAddr, Clients)>,
    _connection: Option<OwnedSemaphorePermit>,
}

impl Admission {
    /// Goes on counting where the limits are the same; a changed limit counts new connections only.
    pub fn next(limits: &Limits, previous: Option<&Arc<Admission>>) -> Arc<Self> {
        if let Some(previous) = previous.filter(|p| p.matches(limits)) {
            return previous.clone();
        }
        Arc::new(Self {
            connections: limits.connections.map(|n| (n, Arc::new(Semaphore::new(n as usize)))),
            per_client: limits.connections_per_client,
            clients: previous.map_or_else(Arc::default, |p| p.clients.clone()),
        })
    }

    fn matches(&self, limits: &Limits) -> bool {
        self.connections.as_ref().map(|(n, _)| *n) == limits.connections
            && self.per_client == limits.connections_per_client
    }

    /// Waits until the frontend may take one more connection; further ones wait in the kernel's queue meanwhile.
    pub async fn connection(&self) -> Place {
        let connection = match &self.connections {
            Some((_, semaphore)) => semaphore.clone().acquire_owned().await.ok(),
            None => None,
        };
        Place { client: None, _connection: connection }
    }

    /// Counts the connection to its client; `false` when that client has all that it may have.
    pub fn client(&self, place: &mut Place, client: IpAddr) -> bool {
        let Some(limit) = self.per_client else { return true };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let count = clients.entry(client).or_insert(0);
        if *count >= limit {
            return false;
        }
        *count += 1;
        place.client = Some((client, self.clients.clone()));
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((client, clients)) = self.client.take() else { return };
        let mut clients = clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = clients.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&client);
            }
        }
    }
}
