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
        let path = raw.path();
        if !path.starts_with('/') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            let span = raw.path.given().map_or(probe.span, |path| path.span);
            return self.refuse(span, "the path of a check begins with `/` and is printable ASCII");
        }
        if let Some(host) = raw.host.given()
            && let Err(complaint) = check_host(&host.value)
        {
            self.problems.complaint(host.span, complaint);
            return None;
        }
        Some(model::HttpProbe {
            method: raw.method().0,
            path,
            host: raw.host.value().cloned(),
            expect: expected(&raw.expect),
            body_contains: raw.body_contains.value().cloned(),
        })
    }

    fn udp_probe(&mut self, probe: &At<raw::UdpProbe>) -> Option<model::UdpProbe> {
        let raw = &probe.value;
        let send = match (&raw.send, &raw.send_hex) {
            (Entry::Given(text), Entry::Absent) => text.value.clone().into_bytes(),
            (Entry::Absent, Entry::Given(hex)) => hex.value.0.clone(),
            (Entry::Bad, _) | (_, Entry::Bad) => return None,
            _ => return self.refuse(probe.key, "a udp probe has one of `send`, `send_hex`"),
        };
        let expect = match (&raw.expect, &raw.expect_hex) {
            (Entry::Absent, Entry::Absent) => None,
            (Entry::Given(text), Entry::Absent) if text.value == "any" => None,
            (Entry::Given(text), Entry::Absent) => Some(text.value.clone().into_bytes()),
            (Entry::Absent, Entry::Given(hex)) => Some(hex.value.0.clone()),
            (Entry::Bad, _) | (_, Entry::Bad) => return None,
            _ => return self.refuse(probe.key, "a udp probe has one of `expect`, `expect_hex`"),
        };
        Some(model::UdpProbe { send, expect })
    }

    fn script_probe(&mut self, script: &At<OneOrMore<String>>) -> Option<model::ScriptProbe> {
        let list = &script.value.0;
        if list.items.first().is_none_or(|program| program.value.is_empty()) {
            return self.refuse(script.key, "a script needs a program");
        }
        if let Some(item) = list.items.iter().find(|item| item.value.contains('\0')) {
            return self.refuse(item.span, "a program's arguments hold no NUL");
        }
        Some(model::ScriptProbe { command: list.items.iter().map(|item| item.value.clone()).collect() })
    }
}

/// What is sent in the Host field; unlike a route's condition it may have a port.
fn check_host(host: &str) -> Result<(), crate::config::diagnostic::Complaint> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() && !name.ends_with(':') => name,
        _ => host,
    };
    host_name::<model::HostPattern>(name, host)
}

fn expected(entry: &Entry<OneOrMore<StatusRange>>) -> Vec<RangeInclusive<u16>> {
    match entry.value() {
        Some(list) => list.0.items.iter().map(|item| item.value.0.clone()).collect(),
        None => vec![200..=399],
    }
}
