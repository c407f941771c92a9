//! `lb status`: what the running lb does, as a table for a person or JSON for a program.

use std::fmt::{self, Display, Write};

use anyhow::Result;
use lb_l4::Report;
use lb_l4::report::Traffic;

use crate::admin::client::Client;
use crate::admin::messages::{
    BackendStatus, ConfigStatus, ForwardStatus, FrontendStatus, HttpStatus, PoolStatus, Served, Status, health_word,
    state_word,
};
use crate::cli;
use crate::exit::print;
use crate::verbs::peers::Peers;
use crate::verbs::table::Table;
use crate::verbs::vrrp::VirtualRouters;

pub async fn status(args: &cli::Status) -> Result<()> {
    let status: Status = Client::find(&args.server)?.get("/v1/status").await?;
    match args.json {
        true => print(format_args!("{}\n", serde_json::to_string_pretty(&status)?)),
        false => print(status),
    }
}

impl Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uptime = ago(self.uptime_seconds);
        writeln!(out, "lb {}, {} for {uptime}, pid {}", self.version, self.phase.as_str(), self.pid)?;
        writeln!(out, "{}", self.config)?;
        let (http, forwarded) = by_layer(&self.frontends);
        if !http.is_empty() {
            write!(out, "\n{}", http_table(&http))?;
        }
        if !forwarded.is_empty() {
            write!(out, "\n{}", forward_table(&forwarded, self.layer4.as_ref()))?;
        }
        if let Some(report) = &self.layer4 {
            write!(out, "\n{}", Layer4(report))?;
        }
        if !self.virtual_routers.is_empty() {
            write!(out, "\n{}", VirtualRouters(&self.virtual_routers))?;
        }
        if let Some(peers) = &self.peers {
            write!(out, "\n{}", Peers(peers))?;
        }
        for pool in &self.pools {
            write!(out, "\n{pool}")?;
        }
        if self.pools.iter().flat_map(|p| &p.backends).any(|b| b.overridden) {
            writeln!(out, "\n* set by `lb backend`, against the file")?;
        }
        Ok(())
    }
}

impl Display for ConfigStatus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sha = self.sha256.get(..12).unwrap_or(&self.sha256);
        write!(out, "config {}, generation {}, sha256 {sha}", self.path, self.generation)?;
        let Some(last) = &self.last_reload else { return Ok(()) };
        write!(out, "\nlast reload {} {} ago", last.result.as_str(), ago(last.seconds_ago))?;
        if !last.errors.is_empty() {
            write!(out, ":\n{}", last.errors.trim_end())?;
        }
        Ok(())
    }
}

impl Display for PoolStatus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "pool {}: {}, {} of {} available", self.name, self.scheduler, self.available, self.backends.len())?;
        if self.queued > 0 {
            write!(out, ", {} requests wait", self.queued)?;
        }
        writeln!(out)?;
        write!(out, "{}", backends(&self.backends))
    }
}

type Rows<'s, T> = Vec<(&'s FrontendStatus, &'s T)>;

fn by_layer(frontends: &[FrontendStatus]) -> (Rows<'_, HttpStatus>, Rows<'_, ForwardStatus>) {
    let (mut http, mut forwarded) = (Vec::new(), Vec::new());
    for frontend in frontends {
        match &frontend.served {
            Served::Http(status) => http.push((frontend, status)),
            Served::Forward(status) => forwarded.push((frontend, status)),
        }
    }
    (http, forwarded)
}

fn forward_table(frontends: &Rows<'_, ForwardStatus>, report: Option<&Report>) -> Table {
    let mut table = Table::new([
        "FRONTEND",
        "LISTEN",
        "MODE",
        "POOL",
        ">ACTIVE",
        ">OTHER",
        ">FLOWS",
        ">PACKETS IN",
        ">BYTES IN",
        ">PACKETS OUT",
        ">BYTES OUT",
    ]);
    for (f, forward) in frontends {
        let found = report.and_then(|report| report.frontends.iter().find(|seen| seen.name == f.name));
        let t = found.map_or_else(Traffic::default, |seen| seen.traffic);
        let numbers =
            [t.flows_active, t.flows_inactive, t.flows_total, t.packets_in, t.bytes_in, t.packets_out, t.bytes_out];
        let [active, other, flows, packets_in, bytes_in, packets_out, bytes_out] = numbers.map(|n| n.to_string());
        let (name, listen, mode, pool) = (f.name.clone(), f.listen.clone(), f.mode.clone(), forward.pool.clone());
        table.row([name, listen, mode, pool, active, other, flows, packets_in, bytes_in, packets_out, bytes_out]);
    }
    table
}

/// The data plane as a whole.
struct Layer4<'r>(&'r Report);

impl Display for Layer4<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { interfaces, table, drops, events, .. } = self.0;
        let percent = table.entries * 100 / table.capacity.max(1);
        writeln!(
            out,
            "flow table: {} flows, {} of {} entries ({percent} %)",
            table.flows, table.entries, table.capacity
        )?;
        for (what, counts) in
            [("states", &table.states), ("evicted", &table.evictions), ("dropped", drops), ("events", events)]
        {
            if !counts.is_empty() {
                let words: Vec<_> = counts.iter().map(|(word, n)| format!("{word} {n}")).collect();
                writeln!(out, "  {what}: {}", words.join(", "))?;
            }
        }
        for interface in interfaces {
            writeln!(out, "  interface {} by {}: {}", interface.name, interface.hook, interface.why)?;
        }
        Ok(())
    }
}

fn http_table(frontends: &Rows<'_, HttpStatus>) -> Table {
    let mut table =
        Table::new(["FRONTEND", "LISTEN", "TLS", ">ACTIVE", ">CONNECTIONS", ">REFUSED", ">REQUESTS", ">5XX", ">BAD"]);
    for (f, http) in frontends {
        table.row([
            f.name.clone(),
            f.listen.clone(),
            if http.tls { "yes" } else { "no" }.to_owned(),
            http.connections_active.to_string(),
            http.connections_total.to_string(),
            http.connections_refused.to_string(),
            http.requests_total.to_string(),
            http.errors_total.to_string(),
            http.bad_requests_total.to_string(),
        ]);
    }
    table
}

fn backends(backends: &[BackendStatus]) -> Table {
    let mut table = Table::new([
        "  BACKEND",
        "ADDRESS",
        "HEALTH",
        "STATE",
        ">WEIGHT",
        ">ACTIVE",
        ">REQUESTS",
        ">FAILED",
        "LAST CHECK",
    ]);
    for b in backends {
        table.row([
            format!("  {}{}", b.name, if b.backup { " (backup)" } else { "" }),
            b.address.clone(),
            health_word(b.health).to_owned(),
            format!("{}{}", state_word(b.state), if b.overridden { "*" } else { "" }),
            b.weight.to_string(),
            (b.requests_active + b.flows_active).to_string(),
            (b.requests_total + b.flows_total).to_string(),
            b.failures_total.to_string(),
            last_check(b),
        ]);
    }
    table
}

fn last_check(backend: &BackendStatus) -> String {
    match &backend.last_check {
        Some(check) => format!("{}, {:.1}s ago", check.text, check.ms_ago as f64 / 1e3),
        None if backend.checked => "none yet".to_owned(),
        None => "not checked".to_owned(),
    }
}

/// `42s`, `12m`, `3h 5m`, `2d 4h`
pub fn ago(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = match seconds {
        0..60 => write!(text, "{seconds}s"),
        60..3600 => write!(text, "{minutes}m"),
        3600..86_400 => write!(text, "{hours}h {}m", minutes % 60),
        _ => write!(text, "{days}d {}h", hours % 24),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::messages::{LastCheck, LastReload, Phase, ReloadResult};
    use lb_core::config::AdminState;
    use lb_core::pool::Health;
    use lb_l4::report::{self, Forwarded, Interface};

    #[test]
    fn the_table_says_what_is_wrong() {
        let status = Status {
            version: "0.1.0".to_owned(),
            pid: 7,
            phase: Phase::Serving,
            uptime_seconds: 11_100,
            config: ConfigStatus {
                path: "/etc/lb/lb.yaml".to_owned(),
                sha256: "0123456789abcdef0123".to_owned(),
                generation: 3,
                last_reload: Some(LastReload {
                    result: ReloadResult::Refused,
                    seconds_ago: 75,
                    errors: "error: unknown pool `wep`\n".to_owned(),
                }),
            },
            frontends: vec![frontend(), forward()],
            pools: vec![PoolStatus {
                name: "web".to_owned(),
                scheduler: "round-robin".to_owned(),
                available: 1,
                queued: 4,
                backends: vec![backend("a", Health::Up), backend("b", Health::Down)],
            }],
            layer4: Some(layer4()),
            virtual_routers: vec![crate::verbs::vrrp::tests::active(), crate::verbs::vrrp::tests::backup()],
            peers: Some(crate::verbs::peers::tests::peers()),
        };
        insta::assert_snapshot!(status.to_string());
    }

    #[test]
    fn ages_are_short() {
        assert_eq!([59, 60, 3_599, 3_600, 86_400].map(ago), ["59s", "1m", "59m", "1h 0m", "1d 0h"]);
    }

    fn layer4() -> Report {
        let traffic =
            Traffic { packets_in: 70, bytes_in: 4100, flows_total: 12, flows_active: 3, ..Traffic::default() };
        Report {
            interfaces: vec![Interface {
                name: "eth0".to_owned(),
                hook: "tc".to_owned(),
                why: "l4.attach is tc".to_owned(),
                warning: None,
            }],
            table: report::Table {
                capacity: 2048,
                entries: 1024,
                flows: 1024,
                states: vec![("established".to_owned(), 1024)],
                evictions: vec![],
            },
            drops: vec![("no_backend".to_owned(), 5)],
            events: vec![],
            frontends: vec![Forwarded { name: forward().name, pool: "web".to_owned(), traffic, backends: vec![] }],
        }
    }

    fn frontend() -> FrontendStatus {
        FrontendStatus {
            name: "web".to_owned(),
            listen: "0.0.0.0:80".to_owned(),
            mode: "http".to_owned(),
            served: Served::Http(HttpStatus {
                tls: false,
                connections_active: 12,
                connections_total: 4_120,
                connections_refused: 0,
                requests_total: 190_233,
                errors_total: 2,
                bad_requests_total: 1,
            }),
        }
    }

    fn forward() -> FrontendStatus {
        FrontendStatus {
            name: "dns".to_owned(),
            listen: "203.0.113.11:53/udp".to_owned(),
            mode: "nat".to_owned(),
            served: Served::Forward(ForwardStatus { pool: "dns".to_owned() }),
        }
    }

    #[test]
    fn a_status_comes_over_the_socket_as_it_was() {
        for frontend in [frontend(), forward()] {
            let json = serde_json::to_value(&frontend).unwrap();
            let again: FrontendStatus = serde_json::from_value(json.clone()).unwrap();
            assert_eq!(serde_json::to_value(again).unwrap(), json);
        }
    }

    fn backend(name: &str, health: Health) -> BackendStatus {
        let down = health == Health::Down;
        BackendStatus {
            name: name.to_owned(),
            address: "10.0.0.11:8080".to_owned(),
            backup: down,
            weight: 1,
            health,
            state: if down { AdminState::Drain } else { AdminState::Ready },
            overridden: down,
            available: !down,
            checked: true,
            flows_active: 0,
            flows_total: 0,
            requests_active: 3,
            requests_total: 9_123,
            connections_active: 4,
            failures_total: 0,
            last_check: down.then(|| LastCheck {
                ok: Some(false),
                text: "connect: connection refused".to_owned(),
                took_ms: 0.2,
                ms_ago: 1_240,
            }),
        }
    }
}
