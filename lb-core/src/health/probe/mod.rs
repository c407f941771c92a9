//! One look at one backend. A probe has no timeout of its own: whoever drops it ends it.

mod http;
mod script;
mod tcp;
mod udp;

use std::io;
use std::sync::{Mutex, PoisonError};

use super::target::Target;
use super::{FailureReason, Outcome};
use crate::config::Probe;

/// The seam between the checker and the network.
pub trait Prober: Clone + Send + 'static {
    fn probe(&self, target: &Target, doing: &Doing) -> impl Future<Output = Outcome> + Send;
}

/// Probes over real sockets and processes.
#[derive(Debug, Clone, Copy)]
pub struct Network;

impl Prober for Network {
    async fn probe(&self, target: &Target, doing: &Doing) -> Outcome {
        let found = match &target.check.probe {
            Probe::Tcp => tcp::probe(target, doing).await,
            Probe::Http(http) => http::probe(target, http, doing).await,
            Probe::Https(http) => http::probe_tls(target, http, doing).await,
            Probe::Udp(udp) => udp::probe(target, udp, doing).await,
            Probe::Script(script) => script::probe(target, script, doing).await,
        };
        found.unwrap_or_else(|failed| failed)
    }
}

/// What a probe is busy with, so that a timeout can say so.
#[derive(Debug, Default)]
pub struct Doing(Mutex<&'static str>);

impl Doing {
    pub fn now(&self, what: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    pub fn get(&self) -> &'static str {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A probe that ends early does so with its outcome.
type Found = Result<Outcome, Outcome>;

fn fail<T>(reason: FailureReason, text: String) -> Result<T, Outcome> {
    Err(Outcome::failure(reason, text))
}

/// No connection, or none any more; whose fault is it?
fn io_outcome(reason: FailureReason, doing: &str, error: &io::Error) -> Outcome {
    let text = format!("{doing}: {error}");
    if is_local(error) { Outcome::Inconclusive(text.into()) } else { Outcome::failure(reason, text) }
}

/// This machine has run out of something; the backend may be as well as ever.
pub fn is_local(error: &io::Error) -> bool {
    use nix::errno::Errno;
    let lacking = [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::ENOBUFS, Errno::EADDRNOTAVAIL, Errno::EAGAIN];
    error.raw_os_error().is_some_and(|code| lacking.contains(&Errno::from_raw(code)))
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;

    /// Descriptors that run out under load must not take all backends out.
    #[test]
    fn want_of_something_on_this_machine_is_not_the_backends_fault() {
        let outcome = |errno| io_outcome(FailureReason::Connect, "connect", &io::Error::from(errno));
        for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::ENOBUFS, Errno::EADDRNOTAVAIL] {
            assert_eq!(outcome(errno).verdict(), None, "{errno}");
        }
        for errno in [Errno::ECONNREFUSED, Errno::EHOSTUNREACH, Errno::ENETUNREACH, Errno::ECONNRESET] {
            assert_eq!(outcome(errno).verdict(), Some(false), "{errno}");
        }
    }
}
