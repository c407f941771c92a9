//! Many flows that a client holds.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::net::{dr, nat};
use crate::hosts::{Asker, Space, Talk};

/// TCP connections and UDP flows, half of each by nat and half by dr.
pub struct Held {
    talks: Vec<Talk>,
    askers: Vec<(Asker, String)>,
}

impl Held {
    /// Of the numbers given, each by nat and by dr. Every flow is established, in both directions.
    pub fn open(from: &impl AsRef<Space>, tcp: usize, udp: usize) -> Held {
        // Both ends of a connection are in this process.
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
        let mut held = Held { talks: Vec::new(), askers: Vec::new() };
        for to in [nat(), dr()] {
            held.talks.extend((0..tcp).map(|_| Talk::open(from, to)));
            held.talks.iter_mut().rev().take(tcp).for_each(|talk| talk.say("first"));
            held.askers.extend((0..udp).map(|_| {
                let asker = Asker::new(from, to);
                let backend = asker.ask(b"first");
                // Of dr, lb sees no answers: that there is a conversation, the next question says.
                asker.ask(b"second");
                (asker, backend)
            }));
        }
        held
    }

    pub fn count(&self) -> usize {
        self.talks.len() + self.askers.len()
    }

    /// Each says something and must hear it again, from the backend that it always had.
    pub fn speak(&mut self, word: &str) {
        for (nth, talk) in self.talks.iter_mut().enumerate() {
            talk.try_say(word.as_bytes()).unwrap_or_else(|e| panic!("{word}: connection {nth}: {e}"));
        }
        for (asker, backend) in &self.askers {
            assert_eq!(asker.ask(word.as_bytes()), *backend, "{word}: a UDP flow went to another backend");
        }
    }
}
