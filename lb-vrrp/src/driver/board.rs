//! What the thread shows of each virtual router. It never waits for those who look.

use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::ArcSwap;
use lb_core::counters::{Counter, Durations};
use lb_core::labelled::Labelled;
use smallvec::SmallVec;

use crate::machine::{Notice, Reason, Role};
use crate::packet::PacketError;
use crate::report::Counts;

/// Of one virtual router.
#[derive(Debug)]
pub struct Board {
    pub counters: Counters,
    /// Whether the addresses are ours, as of this moment. The hands look at it before they announce anything: nothing
    /// is announced after it was said that they are somebody else's.
    pub are_ours: AtomicBool,
    shown: ArcSwap<Shown>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub role: Role,
    /// Handing over, and still serving.
    pub is_leaving: bool,
    /// Effective.
    pub priority: u8,
    /// Who is active, as far as is known: another node, and its priority.
    pub active_router: Option<(IpAddr, u8)>,
    /// What adverts are sent from.
    pub source: Option<IpAddr>,
    /// When the role was taken up, since 1970.
    pub since: Duration,
    /// Why.
    pub reason: Option<Reason>,
    /// It was late, and does not take over from who is active before this, since 1970.
    pub held_until: Option<Duration>,
    /// Of the file's `track`, in its order: is it up?
    pub tracked: SmallVec<[bool; 8]>,
}

/// Written by the thread alone.
#[derive(Debug, Default)]
pub struct Counters {
    pub adverts_sent: Counter,
    pub adverts_received: Counter,
    /// Adverts that no peer could be sent.
    pub send_failures: Counter,
    /// Gratuitous ARP and neighbour advertisements.
    pub announcements: Counter,
    /// By [`ROLES`].
    pub transitions: [Counter; ROLES.len()],
    /// By [`PacketError::LABELS`].
    pub advert_errors: [Counter; PacketError::LABELS.len()],
    /// By [`Notice::LABELS`].
    pub notices: [Counter; Notice::LABELS.len()],
}

/// In the order of their counters.
pub const ROLES: [Role; 5] = [Role::Initialize, Role::Waiting, Role::Fault, Role::Backup, Role::Active];

/// Of the thread as a whole.
#[derive(Debug, Default)]
pub struct Punctuality {
    /// How much later than asked it woke up.
    pub lateness: Durations,
    /// Packets for a virtual router that is not here.
    pub strangers: Counter,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            counters: Counters::default(),
            are_ours: AtomicBool::new(false),
            shown: ArcSwap::from_pointee(Shown::default()),
        }
    }
}

impl Board {
    pub fn shown(&self) -> std::sync::Arc<Shown> {
        self.shown.load_full()
    }

    pub fn show(&self, shown: Shown) {
        self.shown.store(std::sync::Arc::new(shown));
    }
}

impl Default for Shown {
    fn default() -> Self {
        Self {
            role: Role::Initialize,
            is_leaving: false,
            priority: 0,
            active_router: None,
            source: None,
            since: Duration::ZERO,
            reason: None,
            held_until: None,
            tracked: SmallVec::new(),
        }
    }
}

impl Counters {
    pub fn report(&self) -> Counts {
        Counts {
            adverts_sent: self.adverts_sent.get(),
            adverts_received: self.adverts_received.get(),
            send_failures: self.send_failures.get(),
            announcements: self.announcements.get(),
            transitions: labelled(ROLES.iter().map(|role| role.label()), &self.transitions),
            advert_errors: labelled(PacketError::LABELS.into_iter(), &self.advert_errors),
            notices: labelled(Notice::LABELS.into_iter(), &self.notices),
        }
    }

    pub fn count_role(&self, role: Role) {
        count(&self.transitions, ROLES.iter().position(|known| *known == role));
    }

    pub fn count_error(&self, error: &PacketError) {
        let label = error.label();
        count(&self.advert_errors, PacketError::LABELS.iter().position(|known| *known == label));
    }

    pub fn count_notice(&self, notice: Notice) {
        let label = notice.label();
        count(&self.notices, Notice::LABELS.iter().position(|known| *known == label));
    }
}

fn labelled(labels: impl Iterator<Item = &'static str>, counters: &[Counter]) -> Labelled {
    labels.zip(counters).map(|(label, counter)| (label.to_owned(), counter.get())).collect()
}

fn count(counters: &[Counter], at: Option<usize>) {
    if let Some(counter) = at.and_then(|at| counters.get(at)) {
        counter.inc();
    }
}
