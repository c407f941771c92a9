use std::net::IpAddr;
use std::time::Duration;

use super::Settings;
use crate::packet::Advert;

/// What happens to a virtual router.
///
/// A driver that wakes up passes on everything that it has received before the timer, so that no timer is judged
/// while the advert that would have stopped it lies in a queue.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// Begin, with what is known of the interface. Until then nothing else does anything. `leftovers`: a process that
    /// died had left the addresses there (the driver has removed them).
    Started { link_up: bool, source: Option<IpAddr>, leftovers: bool },
    /// A valid advert of this virtual router, decoded by [`crate::packet::Codec`].
    Advert { from: IpAddr, advert: &'a Advert },
    /// The time is [`super::Machine::next_deadline`] or later.
    Timer,
    /// The interface of the addresses went up or down (or away).
    Link { up: bool },
    /// The address that adverts are sent from: the interface's primary IPv4 address, or its link-local IPv6 address
    /// once that has passed duplicate address detection. `None`: there is none that could be used.
    Source(Option<IpAddr>),
    /// What is tracked has changed ([`crate::priority::Effective`]).
    Tracked { priority: u8, fault: bool },
    /// Whether this node may take over from an active router: false while flows are being synchronised.
    Ready(bool),
    /// An operator asks it to hand over; nothing happens unless it is active.
    Yield,
    /// Hand over and end. Finished when [`super::Action::Stopped`] comes.
    Stop,
    /// A reload changed what concerns this virtual router. Role and timers are kept.
    Reconfigured(&'a Settings),
    /// The driver could not run for so long. Comes before what was received meanwhile.
    Woken { gap: Duration },
    /// The last advert could not be sent to anybody.
    SendFailed,
    /// Another host announced one of the addresses (ARP, or a neighbour advertisement).
    Conflict,
    /// One of the addresses has disappeared from the interface.
    AddressGone,
    /// Only from a sync group: every member may, so take over now.
    GroupClaim,
    /// Only from a sync group: another member has let go, so let go too.
    GroupRelease,
    /// Only from a sync group: whether another member is in Fault.
    GroupFault(bool),
}
