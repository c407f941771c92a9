use std::net::IpAddr;
use std::time::Duration;

use smallvec::SmallVec;

/// To be carried out in order. The driver then asks for the next deadline.
pub type Actions = SmallVec<[Action; 6]>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Send one advert, to the group or to every peer. It always stands before what makes the addresses ours. A
    /// backup sends one too, when it has been active and the one that is has to know.
    Advertise { priority: u8, interval: Duration },
    /// Put all addresses on the interface. Those that are there already stay as they are.
    AddAddresses,
    /// Take all of them away.
    RemoveAddresses,
    /// Gratuitous ARP or unsolicited neighbour advertisements: so many frames for each address.
    Announce { repeat: u8 },
    /// To be logged once, counted once, and told to hooks.
    RoleChanged(RoleChange),
    /// To be logged and counted.
    Notice(Notice),
    /// After [`super::Event::Stop`]: everything is handed over and taken away.
    Stopped,
}

/// What a virtual router is on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Not started, or stopped.
    Initialize,
    /// No address to send from yet: IPv6 waits for its link-local address.
    Waiting,
    /// The interface is down, or something that is tracked without a weight.
    Fault,
    Backup,
    Active,
}

impl Role {
    /// The metric label and the word on the command line.
    pub fn label(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Waiting => "waiting",
            Self::Fault => "fault",
            Self::Backup => "backup",
            Self::Active => "active",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RoleChange {
    pub from: Role,
    pub to: Role,
    pub reason: Reason,
}

/// Why a role changed; `Display` says it in one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reason {
    #[error("started")]
    Started,
    #[error("started, and owns the addresses")]
    Owner,
    #[error("heard no advert for {} ms", .0.as_millis())]
    Silence(Duration),
    #[error("{from} let go")]
    PeerReleased { from: IpAddr },
    #[error("preempted {from}, which has the lower priority {priority}")]
    Preempted { from: IpAddr, priority: u8 },
    #[error("{from} has the higher priority {priority}")]
    HigherPriority { from: IpAddr, priority: u8 },
    #[error("{from} has the same priority and the higher address")]
    HigherAddress { from: IpAddr },
    #[error("sent no advert for {} ms, so that a peer may have taken over", .0.as_millis())]
    Frozen(Duration),
    #[error("cannot send adverts, and hears those of {from}")]
    CannotSend { from: IpAddr },
    #[error("handed over to {to} as asked")]
    Yielded { to: IpAddr },
    #[error("interface is down")]
    LinkDown,
    #[error("interface is up")]
    LinkUp,
    #[error("something that is tracked is down")]
    TrackedDown,
    #[error("everything that is tracked is up")]
    TrackedUp,
    #[error("no address to send from")]
    NoSource,
    #[error("has an address to send from")]
    HasSource,
    #[error("follows its sync group")]
    Group,
    #[error("stopped")]
    Stopped,
}

/// Worth a line in the log and a counter, but no change of role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Notice {
    #[error("{from} sends every {theirs:?}, not every {ours:?}: it is configured otherwise, or its host is late")]
    IntervalDiffers { from: IpAddr, ours: Duration, theirs: Duration },
    #[error("{from} has other addresses")]
    AddressesDiffer { from: IpAddr },
    #[error("{from} also claims to own the addresses")]
    SecondOwner { from: IpAddr },
    #[error("{from} is active as well, with priority {priority}")]
    SecondActive { from: IpAddr, priority: u8 },
    #[error("another host announces one of the addresses")]
    Conflict,
    #[error(
        "somebody on this host removed a virtual address; it was put back (systemd-networkd does so unless its .network \
         file has KeepConfiguration=static: `lb doctor` checks it)"
    )]
    AddressRemoved,
    #[error(
        "something on this host keeps removing the virtual addresses; they are put back after {wait:?}, and more and \
         more seldom while it goes on"
    )]
    AddressesFought { wait: Duration },
    #[error(
        "{address}, which adverts are sent from, is not on this host any more; waiting a second for it to come back"
    )]
    SourceMissing { address: IpAddr },
    #[error(
        "this node was late ({times} times of late), so that another may have taken over or be active: it does not take \
         over from who is active for {hold:?}"
    )]
    Late { times: u8, hold: Duration },
    #[error(
        "took over from {from}, which is still active: this host was late, or adverts were lost; next time it \
         waits longer"
    )]
    TookOverInVain { from: IpAddr },
    #[error("nobody took over: still active")]
    NobodyTookOver,
    #[error("not active: nothing to hand over")]
    NothingToYield,
}

impl Notice {
    /// All labels, so that a metric can show those that have not moved.
    pub const LABELS: [&'static str; 12] = [
        "interval_differs",
        "addresses_differ",
        "second_owner",
        "second_active",
        "conflict",
        "address_removed",
        "addresses_fought",
        "source_missing",
        "late",
        "took_over_in_vain",
        "nobody_took_over",
        "nothing_to_yield",
    ];

    /// For `lb_vrrp_notices_total{notice}`.
    pub fn label(self) -> &'static str {
        match self {
            Self::IntervalDiffers { .. } => "interval_differs",
            Self::AddressesDiffer { .. } => "addresses_differ",
            Self::SecondOwner { .. } => "second_owner",
            Self::SecondActive { .. } => "second_active",
            Self::Conflict => "conflict",
            Self::AddressRemoved => "address_removed",
            Self::AddressesFought { .. } => "addresses_fought",
            Self::SourceMissing { .. } => "source_missing",
            Self::Late { .. } => "late",
            Self::TookOverInVain { .. } => "took_over_in_vain",
            Self::NobodyTookOver => "nobody_took_over",
            Self::NothingToYield => "nothing_to_yield",
        }
    }
}
