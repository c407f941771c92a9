//! RFC 9568 section 6.4.3: holding the addresses.

use std::net::IpAddr;
use std::time::Duration;

use super::announcer::Announcer;
use super::backup::Backup;
use super::lateness::Lateness;
use super::leaving::Leaving;
use super::restorer::{Restorer, Verdict};
use super::{Action, Actions, Machine, Notice, Reason, Settings, State, timers};
use crate::packet::Advert;
use crate::time::Time;

/// No two answers to others closer than this: an advert must not be a way to make two.
const SHORTEST_ANSWER: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Active {
    /// Adver_Timer.
    next: Time,
    /// When it took over from silence, and may have done so in vain.
    claimed: Option<Time>,
    /// The interval that our last advert told.
    told: Duration,
    /// Our last advert, whether it could be sent or not.
    tried: Time,
    /// Our last advert that went out, as far as is known.
    sent: Time,
    previously_sent: Time,
    announcer: Announcer,
    restorer: Restorer,
    rival: Option<Rival>,
    pub(super) leaving: Option<Leaving>,
}

/// Somebody else that seems to be active. One advert may be a farewell; two in a row are not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Rival {
    from: IpAddr,
    heard: Time,
    is_reported: bool,
}

impl Active {
    /// The caller has just advertised and announced.
    pub fn new(now: Time, settings: &Settings, told: Duration) -> Self {
        Self {
            next: now + settings.interval,
            claimed: None,
            told,
            tried: now,
            sent: now,
            previously_sent: now,
            announcer: Announcer::new(now, settings.garp),
            restorer: Restorer::new(now),
            rival: None,
            leaving: None,
        }
    }

    pub(super) fn told(&self) -> Duration {
        self.told
    }

    pub fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    pub fn is_stopping(&self) -> bool {
        self.leaving.as_ref().is_some_and(Leaving::is_stopping)
    }

    pub fn next_deadline(&self) -> Option<Time> {
        match &self.leaving {
            // What is announced now is the successor's business.
            Some(leaving) => Some(leaving.next_deadline()),
            None => {
                let others = [self.announcer.next_deadline(), self.restorer.next_deadline()];
                others.into_iter().flatten().chain([self.next]).min()
            }
        }
    }

    pub fn reconfigure(&mut self, now: Time, old: &Settings, new: &Settings) {
        if old.garp != new.garp {
            self.announcer.reconfigure(now, new.garp);
        }
    }

    pub fn after_silence(self, now: Time) -> Self {
        Self { claimed: Some(now), ..self }
    }

    /// Whether it was a mistake to take over from somebody that was only not heard.
    fn was_in_vain(&self, now: Time) -> bool {
        self.claimed.is_some_and(|claimed| now.since(claimed) < timers::patience(self.told))
    }

    /// Whether there was a gap before it.
    fn advertise(&mut self, now: Time, settings: &Settings, lateness: &mut Lateness, out: &mut Actions) -> bool {
        let gap = now.since(self.sent);
        let late = now.since(self.next);
        if late >= settings.interval {
            lateness.note_gap(now, settings.interval + late);
        }
        self.told = lateness.interval(now, settings);
        self.previously_sent = self.sent;
        (self.tried, self.sent) = (now, now);
        // On a grid, as long as we keep up with it.
        self.next = Some(self.next + settings.interval).filter(|next| *next > now).unwrap_or(now + settings.interval);
        out.push(Action::Advertise { priority: settings.priority, interval: self.told });
        gap >= settings.gap()
    }

    /// The next advert, or one out of turn. Who heard nothing for a while may have taken over, in vain or behind a
    /// cut.
    fn advertise_and_mend(&mut self, now: Time, settings: &Settings, lateness: &mut Lateness, out: &mut Actions) {
        if self.advertise(now, settings, lateness, out) {
            self.announce_against(now, settings, out);
        }
    }

    /// Somebody else may have announced the addresses.
    fn announce_against(&mut self, now: Time, settings: &Settings, out: &mut Actions) {
        if self.announcer.contested(now, settings.interval) {
            out.push(Action::Announce { repeat: 1 });
        }
    }

    /// Whether there is a second active router that was not reported yet.
    fn has_rival(&mut self, now: Time, from: IpAddr, advert: &Advert) -> bool {
        if advert.priority == 0 {
            return false;
        }
        let goes_on = |rival: &Rival| rival.from == from && now.since(rival.heard) <= 2 * advert.interval;
        let before = self.rival.take().filter(goes_on);
        let was_reported = before.as_ref().is_some_and(|rival| rival.is_reported);
        self.rival = Some(Rival { from, heard: now, is_reported: before.is_some() });
        before.is_some() && !was_reported
    }

    /// Adverts were left out on purpose.
    pub(super) fn resume(&mut self, now: Time) {
        self.next = now;
    }

    /// At once, and the next one a whole interval later.
    pub(super) fn assert(&mut self, now: Time, settings: &Settings, lateness: &mut Lateness, out: &mut Actions) {
        if now.since(self.tried) >= SHORTEST_ANSWER {
            self.next = self.next.min(now);
            self.advertise(now, settings, lateness, out);
        }
        self.announce_against(now, settings, out);
    }
}

impl Machine {
    pub(super) fn receive_as_active(&mut self, now: Time, from: IpAddr, advert: &Advert, out: &mut Actions) {
        let State::Active(active) = &mut self.state else { return };
        if let Some(leaving) = &mut active.leaving {
            return leaving.hear(now, from, advert, &self.settings);
        }
        if active.sent < active.tried {
            return self.give_in(now, from, advert, Reason::CannotSend { from }, out);
        }
        if let Some(reason) = beaten_by(&self.settings, self.conditions.source.address(), from, advert) {
            return self.give_in(now, from, advert, reason, out);
        }
        // (730) Priority 0, and the lower priorities of (740): say at once who is active. What the other one did to
        // the network's tables has to be undone as well.
        active.assert(now, &self.settings, &mut self.lateness, out);
        if active.has_rival(now, from, advert) {
            out.push(Action::Notice(Notice::SecondActive { from, priority: advert.priority }));
        }
    }

    /// RFC 9568 section 6.4.3 (750 to 775).
    fn give_in(&mut self, now: Time, from: IpAddr, advert: &Advert, reason: Reason, out: &mut Actions) {
        out.push(Action::RemoveAddresses);
        self.owe_farewell(now, false);
        self.say_farewell(now, from, advert, out);
        if matches!(&self.state, State::Active(active) if active.was_in_vain(now)) {
            self.lateness.note(now);
            out.push(Action::Notice(Notice::TookOverInVain { from }));
        }
        let mut backup = match reason {
            Reason::CannotSend { .. } => Backup::frozen(now, &self.settings, self.lateness.hold()),
            _ => Backup::new(now, now, self.settings.interval),
        };
        if advert.priority != 0 {
            backup.follow(now, from, advert, &self.settings);
        }
        self.change(State::Backup(backup), reason, out);
    }

    pub(super) fn expire_as_active(&mut self, now: Time, out: &mut Actions) {
        let State::Active(active) = &mut self.state else { return };
        match &active.leaving {
            Some(_) => return self.expire_as_leaving(now, out),
            None if active.next <= now => active.advertise_and_mend(now, &self.settings, &mut self.lateness, out),
            None => {}
        }
        if active.restorer.is_due(now) {
            out.push(Action::AddAddresses);
            active.announce_against(now, &self.settings, out);
        }
        if let Some(repeat) = active.announcer.due(now, self.settings.garp) {
            out.push(Action::Announce { repeat });
        }
    }

    /// Peers that heard nothing for so long may have taken over, and then their announcements are the newer ones. So
    /// let go, look, and only then claim again.
    pub(super) fn step_down_if_frozen(&mut self, now: Time, out: &mut Actions) {
        let Some(active) = self.state.serving() else { return };
        let gap = now.since(active.tried);
        if gap < timers::patience(active.told) {
            return;
        }
        out.push(Action::RemoveAddresses);
        self.owe_farewell(now, false);
        self.lateness.note_gap(now, gap);
        let hold = self.was_late(now, out);
        let backup = Backup::frozen(now, &self.settings, hold);
        self.change(State::Backup(backup), Reason::Frozen(gap), out);
    }

    /// A peer may have taken over: how long that is to be left so.
    pub(super) fn was_late(&mut self, now: Time, out: &mut Actions) -> Duration {
        self.lateness.note(now);
        let (times, hold) = (self.lateness.times(), self.lateness.hold());
        out.push(Action::Notice(Notice::Late { times, hold }));
        hold
    }

    pub(super) fn send_failed(&mut self, now: Time) {
        let State::Active(active) = &mut self.state else { return };
        active.sent = active.previously_sent;
        if now.since(active.sent) >= self.settings.gap() {
            self.conditions.source.hurry(now);
        }
    }

    pub(super) fn advertise_if_active(&mut self, now: Time, out: &mut Actions) {
        if let Some(active) = self.state.serving() {
            active.next = active.next.min(now);
            active.advertise_and_mend(now, &self.settings, &mut self.lateness, out);
        }
    }

    /// After a reload: peers learn the interval, the priority and the addresses at once.
    pub(super) fn show_settings(&mut self, now: Time, old: &Settings, out: &mut Actions) {
        if *old == self.settings {
            return;
        }
        self.advertise_if_active(now, out);
        if old.addresses != self.settings.addresses {
            out.push(Action::AddAddresses);
            out.push(Action::Announce { repeat: self.settings.garp.repeat });
        }
    }

    pub(super) fn contested_by_host(&mut self, now: Time, out: &mut Actions) {
        let Some(active) = self.state.serving() else { return };
        if !active.announcer.is_contested() {
            out.push(Action::Notice(Notice::Conflict));
        }
        active.announce_against(now, &self.settings, out);
    }

    pub(super) fn restore_addresses(&mut self, now: Time, out: &mut Actions) {
        let State::Active(active) = &mut self.state else { return };
        match active.restorer.robbed(now) {
            Verdict::AtOnce => {
                out.push(Action::Notice(Notice::AddressRemoved));
                out.push(Action::AddAddresses);
                if !active.is_leaving() {
                    active.announce_against(now, &self.settings, out);
                }
            }
            Verdict::After(wait) => out.push(Action::Notice(Notice::AddressesFought { wait })),
            Verdict::Known => {}
        }
    }

    pub(super) fn release_for_group(&mut self, now: Time, out: &mut Actions) {
        if self.state.serving().is_some() {
            out.push(Action::RemoveAddresses);
            out.push(self.settings.advertise(0));
            self.owe_farewell(now, true);
            let down = now + self.settings.down_interval(self.settings.interval);
            let backup = Backup::new(now, down, self.settings.interval);
            self.change(State::Backup(backup), Reason::Group, out);
        }
    }
}

/// RFC 9568 section 6.4.3 (745): the higher priority, or the same and the higher address.
pub(super) fn beaten_by(settings: &Settings, source: Option<IpAddr>, from: IpAddr, advert: &Advert) -> Option<Reason> {
    let priority = advert.priority;
    if priority > settings.priority {
        Some(Reason::HigherPriority { from, priority })
    } else if priority == settings.priority && source.is_some_and(|source| from > source) {
        Some(Reason::HigherAddress { from })
    } else {
        None
    }
}

impl State {
    /// Active, and not about to hand over.
    fn serving(&mut self) -> Option<&mut Active> {
        match self {
            Self::Active(active) if !active.is_leaving() => Some(active),
            _ => None,
        }
    }
}

#[cfg(test)]
impl Active {
    /// Announcements and reports decide nothing, nor does the advert before the last, where all can be sent.
    pub fn forget(&mut self, now: Time, settings: &Settings) {
        self.announcer = Announcer::new(now, settings.garp);
        self.restorer = Restorer::new(now);
        self.rival = None;
        self.claimed = None;
        self.previously_sent = self.sent;
    }

    pub fn times(&mut self) -> impl Iterator<Item = &mut Time> {
        let until = self.leaving.as_mut().map(Leaving::time);
        [&mut self.next, &mut self.tried, &mut self.sent, &mut self.previously_sent].into_iter().chain(until)
    }
}
