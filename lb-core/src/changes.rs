//! A bell for those who compute ahead by what is available, as layer 4 does with its tables. Layer 7 looks
//! at every choice and needs none.

use std::sync::Arc;

use tokio::sync::watch;

/// Rung when health or an operator may have made a backend available or unavailable. Clones are one bell;
/// a reload keeps it.
#[derive(Debug, Clone)]
pub struct Changes(Arc<watch::Sender<()>>);

/// Hears what rings from when it was made.
#[derive(Debug)]
pub struct Listener(watch::Receiver<()>);

impl Changes {
    pub fn ring(&self) {
        self.0.send_replace(());
    }

    pub fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
    }
}

impl Default for Changes {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(())))
    }
}

impl Listener {
    /// Waits until it has rung since the last time; several rings are one. Without a bell, for ever.
    /// Safe to drop half way, as in `select!`.
    pub async fn heard(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn hears(listener: &mut Listener) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        pin!(listener.heard()).poll(&mut context) == Poll::Ready(())
    }

    #[test]
    fn several_rings_are_heard_as_one() {
        let changes = Changes::default();
        changes.ring();
        let mut listener = changes.listen();
        assert!(!hears(&mut listener), "it rang before");
        changes.clone().ring();
        changes.ring();
        assert!(hears(&mut listener));
        assert!(!hears(&mut listener));
        changes.ring();
        assert!(hears(&mut listener));
    }

    #[test]
    fn without_a_bell_nothing_is_heard() {
        let mut listener = Changes::default().listen();
        assert!(!hears(&mut listener));
    }

    #[tokio::test]
    async fn a_ring_wakes_who_waits() {
        let changes = Changes::default();
        let mut listener = changes.listen();
        let waiting = tokio::spawn(async move { listener.heard().await });
        tokio::task::yield_now().await;
        changes.ring();
        waiting.await.unwrap();
    }
}
