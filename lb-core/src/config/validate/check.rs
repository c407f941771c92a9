//! Health checks.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Validator;
use crate::config::decode::{At, Entry, OneOrMore, Scalar};
use crate::config::diagnostic::Help;
use crate::config::http_words::{StatusRange, host_name};
use crate::config::model::{self, Probe};
use crate::config::raw;
use crate::config::scalar::secs;

impl Validator<'_, '_> {
    /// `Some(None)`: not checked.
    pub(super) fn check(&mut self, entry: &Entry<raw::Check>) -> Option<Option<model::Check>> {
        let check = match entry {
            Entry::Absent => return Some(None),
            Entry::Bad => return None,
            Entry::Given(check) => check,
        };
        let raw = &check.value;
        let probe = self.probe(check);
        let timeout = self.check_timeout(raw);
        Some(Some(model::Check {
            probe: probe?,
            port: raw.port.value().copied(),
            frontend_port: None,
            interval: raw.interval(),
            timeout: timeout?,
            rise: raw.rise(),
            fall: raw.fall(),
            initial: raw.initial(),
        }))
    }

    fn check_timeout(&mut self, raw: &raw::Check) -> Option<Duration> {
        let interval = raw.interval();
        let Some(timeout) = raw.timeout.given() else { return Some(secs(1).min(interval / 2)) };
        if timeout.value >= interval {
            let help = Help::Text(format!("`interval` is {}", interval.written()));
            self.problems.error_with(timeout.span, "`timeout` must be shorter than `interval`", help);
            return None;
        }
        Some(timeout.value)
    }

    fn probe(&mut self, check: &At<raw::Check>) -> Option<Probe> {
        let raw = &check.value;
        let given = [
            !raw.tcp.is_absent(),
            !raw.http.is_absent(),
            !raw.https.is_absent(),
            !raw.udp.is_absent(),
            !raw.script.is_absent(),
        ];
        match given.iter().filter(|given| **given).count() {
            0 => return self.refuse(check.key, "a check needs one of `tcp`, `http`, `https`, `udp`, `script`"),
            1 => {}
            _ => return self.refuse(check.key, "a check has one of `tcp`, `http`, `https`, `udp`, `script`"),
        }
        if let Some(http) = raw.http.given() {
            return self.http_probe(http).map(Probe::Http);
        }
        if let Some(https) = raw.https.given() {
            return self.http_probe(https).map(Probe::Https);
        }
        if let Some(udp) = raw.udp.given() {
            return self.udp_probe(udp).map(Probe::Udp);
        }
        if let Some(script) = raw.script.given() {
            return self.script_probe(script).map(Probe::Script);
        }
        raw.tcp.given().map(|_| Probe::Tcp)
    }

    fn http_probe(&mut self, probe: &At<raw::HttpProbe>) -> Option<model::HttpProbe> {
        let raw = &probe.value;
        let path = self.check_path(&raw.path);
        let host = self.check_host(&raw.host);
        Some(model::HttpProbe {
            method: raw.method().0,
            path: path.map(|()| raw.path())?,
            host: host.map(|()| raw.host.value().cloned())?,
            expect: expected(&raw.expect),
            body_contains: raw.body_contains.value().cloned(),
        })
    }

    fn check_path(&mut self, entry: &Entry<String>) -> Option<()> {
        let Some(path) = entry.given() else { return Some(()) };
        if path.value.starts_with('/') && path.value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Some(());
        }
        self.refuse(path.span, "the path of a check begins with `/` and is printable ASCII")
    }

    /// What is sent in the Host field; unlike a route's condition it may have a port.
    fn check_host(&mut self, entry: &Entry<String>) -> Option<()> {
        let Some(host) = entry.given() else { return Some(()) };
        let name = match host.value.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() && !name.ends_with(':') => name,
            _ => &host.value,
        };
        host_name::<model::HostPattern>(name, &host.value)
            .map_err(|complaint| self.problems.complaint(host.span, complaint))
            .ok()
    }

    fn udp_probe(&mut self, probe: &At<raw::UdpProbe>) -> Option<model::UdpProbe> {
        let send = self.udp_send(probe);
        let expect = self.udp_expect(probe);
        Some(model::UdpProbe { send: send?, expect: expect? })
    }

    fn udp_send(&mut self, probe: &At<raw::UdpProbe>) -> Option<Vec<u8>> {
        match (&probe.value.send, &probe.value.send_hex) {
            (Entry::Given(text), Entry::Absent) => Some(text.value.clone().into_bytes()),
            (Entry::Absent, Entry::Given(hex)) => Some(hex.value.0.clone()),
            (Entry::Bad, _) | (_, Entry::Bad) => None,
            _ => self.refuse(probe.key, "a udp probe has one of `send`, `send_hex`"),
        }
    }

    /// `Some(None)`: any datagram.
    fn udp_expect(&mut self, probe: &At<raw::UdpProbe>) -> Option<Option<Vec<u8>>> {
        match (&probe.value.expect, &probe.value.expect_hex) {
            (Entry::Absent, Entry::Absent) => Some(None),
            (Entry::Given(text), Entry::Absent) if text.value == "any" => Some(None),
            (Entry::Given(text), Entry::Absent) => Some(Some(text.value.clone().into_bytes())),
            (Entry::Absent, Entry::Given(hex)) => Some(Some(hex.value.0.clone())),
            (Entry::Bad, _) | (_, Entry::Bad) => None,
            _ => self.refuse(probe.key, "a udp probe has one of `expect`, `expect_hex`"),
        }
    }

    fn script_probe(&mut self, script: &At<OneOrMore<String>>) -> Option<model::ScriptProbe> {
        self.command(script, "a script").map(|command| model::ScriptProbe { command })
    }
}

fn expected(entry: &Entry<OneOrMore<StatusRange>>) -> Vec<RangeInclusive<u16>> {
    match entry.value() {
        Some(list) => list.0.items.iter().map(|item| item.value.0.clone()).collect(),
        None => vec![200..=399],
    }
}
