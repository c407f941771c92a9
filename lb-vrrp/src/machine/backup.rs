//! RFC 9568 section 6.4.2: watching whether there is an active router.

use std::net::IpAddr;
use std::time::Duration;

use super::{Action, Actions, Active, Machine, Preempt, Reason, Settings, State};
use crate::packet::{Advert, Version};
use crate::time::Time;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Backup {
    /// Active_Down_Timer.
    down: Time,
    /// Active_Adver_Interval.
    interval: Duration,
    /// Whom we follow.
    active: Option<(IpAddr, u8)>,
    /// When there last was a reason to stay a backup.
    heard: Time,
    /// Who let go with priority 0.
    released: Option<IpAddr>,
    /// Who is active with a lower priority than ours.
    lower: Option<Lower>,
    /// No preemption before this.
    hold: Option<Time>,
    /// Handed over as asked: no preemption while anybody else is active.
    has_yielded: bool,
    /// The timer was found to have run out long ago, and has been given a second look.
    has_looked: bool,
    /// Would be active, but for its sync group.
    wants: Option<Reason>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Lower {
    since: Time,
    from: IpAddr,
    priority: u8,
}

impl Backup {
    pub fn new(now: Time, down: Time, interval: Duration) -> Self {
        Self {
            down,
            interval,
            active: None,
            heard: now,
            released: None,
            lower: None,
            hold: None,
            has_yielded: false,
            has_looked: false,
            wants: None,
        }
    }

    /// After being away: only looks whether somebody has taken over, and leaves that so for a while.
    pub fn frozen(now: Time, settings: &Settings, hold: Duration) -> Self {
        let look = now + settings.look(settings.interval);
        let hold = Some(now + hold);
        Self { hold, has_looked: true, ..Self::new(now, look, settings.interval) }
    }

    pub fn yielded(self) -> Self {
        Self { has_yielded: true, ..self }
    }

    pub fn active_router(&self) -> Option<(IpAddr, u8)> {
        self.active
    }

    pub fn wants(&self) -> bool {
        self.wants.is_some()
    }

    /// There is no sync group any more: the next timer decides.
    pub fn stop_asking(&mut self) {
        self.wants = None;
    }

    pub fn next_deadline(&self) -> Option<Time> {
        self.wants.is_none().then_some(self.down)
    }

    /// RFC 9568 section 6.4.2 (450 to 465): there is an active router that we accept.
    pub fn follow(&mut self, now: Time, from: IpAddr, advert: &Advert, settings: &Settings) {
        // (450) A v2 router has no interval but its own (RFC 3768 section 6.4.2).
        self.interval = match advert.version {
            Version::V3 => advert.interval,
            Version::V2 => settings.interval,
        };
        self.down = now + settings.down_interval(self.interval);
        self.active = Some((from, advert.priority));
        self.heard = now;
        self.released = None;
        self.has_looked = false;
        self.wants = None;
    }

    /// Whether a lower priority may be overruled by now: Preempt_Mode, and what lb adds to it.
    fn may_preempt(&self, now: Time, settings: &Settings, is_ready: bool) -> bool {
        let delay = match settings.preempt {
            // RFC 9568 section 6.1: the owner always preempts.
            _ if settings.is_owner() => Some(Duration::ZERO),
            Preempt::After(delay) => Some(delay),
            Preempt::Never => None,
        };
        let has_waited = |delay| self.lower.is_some_and(|lower| now.since(lower.since) >= delay);
        is_ready && !self.has_yielded && self.hold.is_none_or(|hold| hold <= now) && delay.is_some_and(has_waited)
    }

    fn reason(&self, now: Time) -> Reason {
        match (self.lower, self.released) {
            (_, Some(from)) => Reason::PeerReleased { from },
            (Some(Lower { from, priority, .. }), None) if self.active.is_none() => Reason::Preempted { from, priority },
            _ => Reason::Silence(now.since(self.heard)),
        }
    }
}

impl Machine {
    pub(super) fn receive_as_backup(&mut self, now: Time, from: IpAddr, advert: &Advert, out: &mut Actions) {
        if advert.priority != 0 {
            self.say_farewell(now, from, advert, out);
        }
        let State::Backup(backup) = &mut self.state else { return };
        if advert.priority == 0 {
            return backup.release(now, from, &self.settings);
        }
        if advert.priority >= self.settings.priority {
            backup.lower = None;
            return backup.follow(now, from, advert, &self.settings);
        }
        let since = backup.lower.map_or(now, |lower| lower.since);
        backup.lower = Some(Lower { since, from, priority: advert.priority });
        if backup.may_preempt(now, &self.settings, self.conditions.is_ready) {
            // (475) Discarded: the timer runs out.
            backup.active = None;
        } else {
            backup.follow(now, from, advert, &self.settings);
        }
    }

    pub(super) fn expire_as_backup(&mut self, now: Time, out: &mut Actions) {
        let State::Backup(backup) = &mut self.state else { return };
        if backup.wants() || now < backup.down {
            return;
        }
        if !backup.has_looked {
            // The later it is judged, the less silence proves; and the less, the more often that was wrong. Who let go
            // with priority 0 has proved it.
            let is_late = now.since(backup.down) >= self.settings.interval;
            let marks = if backup.released.is_none() { self.lateness.looks(now) } else { 0 };
            let looks = marks.max(u32::from(is_late));
            if looks > 0 {
                let look = self.settings.look(backup.interval);
                return backup.look(now, look.max(looks * self.settings.look(self.settings.interval)));
            }
        }
        let reason = backup.reason(now);
        self.claim_when_allowed(now, reason, out);
    }

    pub(super) fn look_after(&mut self, now: Time, gap: Duration, out: &mut Actions) {
        // One that has just stepped down looks already.
        if gap < self.settings.peers_patience() || !matches!(&self.state, State::Backup(b) if !b.has_looked) {
            return;
        }
        let hold = now + self.was_late(now, out);
        let State::Backup(backup) = &mut self.state else { return };
        backup.hold = backup.hold.max(Some(hold));
        let look = self.settings.look(backup.interval);
        backup.look(now, look);
    }

    pub(super) fn claim_if_owner(&mut self, now: Time, out: &mut Actions) {
        if self.settings.is_owner() && matches!(self.state, State::Backup(_)) {
            self.claim_when_allowed(now, Reason::Owner, out);
        }
    }

    pub(super) fn claim_when_allowed(&mut self, now: Time, reason: Reason, out: &mut Actions) {
        match &mut self.state {
            State::Backup(backup) if self.is_grouped => backup.wants = Some(reason),
            _ => self.claim(now, reason, out),
        }
    }

    pub(super) fn claim_for_group(&mut self, now: Time, out: &mut Actions) {
        if let State::Backup(Backup { wants: Some(reason), .. }) = self.state {
            self.claim(now, reason, out);
        }
    }

    /// Whether it would be a sign of lateness to find somebody active now. Two nodes that start at once are none.
    fn may_be_in_vain(&self, reason: Reason) -> bool {
        let State::Backup(backup) = &self.state else { return false };
        matches!(reason, Reason::Silence(_)) && (backup.active.is_some() || self.lateness.times() > 0)
    }

    /// RFC 9568 section 6.4.2 (365 to 400). The advert comes first: peers should hear of it before anybody else does.
    fn claim(&mut self, now: Time, reason: Reason, out: &mut Actions) {
        let told = self.lateness.interval(now, &self.settings);
        out.push(Action::Advertise { priority: self.settings.priority, interval: told });
        out.push(Action::AddAddresses);
        out.push(Action::Announce { repeat: self.settings.garp.repeat });
        self.farewell = None;
        let active = Active::new(now, &self.settings, told);
        let active = if self.may_be_in_vain(reason) { active.after_silence(now) } else { active };
        self.change(State::Active(active), reason, out);
    }
}

impl Backup {
    /// RFC 9568 section 6.4.2 (440): wait the skew. Only the router that we follow can let go for all; another one's
    /// farewell (one that had been active behind a cut, say) takes nothing from the one that stays.
    fn release(&mut self, now: Time, from: IpAddr, settings: &Settings) {
        if self.active.is_some_and(|(active, _)| active != from) {
            return;
        }
        self.released = Some(from);
        self.active = None;
        // Never later: a release that is repeated must not put the end off.
        self.down = self.down.min(now + settings.skew(self.interval));
    }

    /// Time has passed in which nothing could be heard, so silence proves nothing yet.
    fn look(&mut self, now: Time, look: Duration) {
        self.has_looked = true;
        self.down = self.down.max(now + look);
    }
}

#[cfg(test)]
impl Backup {
    /// Says why, but decides nothing: nor does the time of the first lower advert, where there is no delay.
    pub fn forget(&mut self, now: Time) {
        self.heard = now;
        self.released = None;
        self.lower = self.lower.map(|lower| Lower { since: now, ..lower });
    }

    pub fn times(&mut self) -> impl Iterator<Item = &mut Time> {
        [&mut self.down].into_iter().chain(self.hold.as_mut())
    }
}
