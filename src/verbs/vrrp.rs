//! `lb vrrp`: which node holds the virtual addresses, and a planned handover.

use std::fmt::{self, Display};

use anyhow::Result;
use lb_vrrp::report::Outcome;
use lb_vrrp::{RouterReport, Yielded};

use crate::admin::client::Client;
use crate::admin::messages::YieldRequest;
use crate::cli;
use crate::exit::{Failed, print};
use crate::verbs::status::ago;
use crate::verbs::table::Table;

/// Further addresses are counted.
const LISTED: usize = 3;

pub async fn status(args: &cli::VrrpStatus) -> Result<()> {
    let routers: Vec<RouterReport> = Client::find(&args.server)?.get("/v1/vrrp").await?;
    match args.json {
        true => print(format_args!("{}\n", serde_json::to_string_pretty(&routers)?)),
        false if routers.is_empty() => print("there is no virtual router\n"),
        false => print(VirtualRouters(&routers)),
    }
}

pub async fn yield_role(args: &cli::VrrpYield) -> Result<()> {
    let client = Client::find(&args.server)?;
    let request = YieldRequest { router: args.router.clone() };
    let yielded: Vec<Yielded> = client.post("/v1/vrrp/yield", &request).await?;
    for yielded in &yielded {
        print(format_args!("{}\n", said(yielded)))?;
    }
    judge(&yielded).map_err(|why| Failed::new(why).into())
}

fn said(yielded: &Yielded) -> String {
    let router = &yielded.router;
    match &yielded.outcome {
        Outcome::HandedOver { to } => format!("{router}: handed over to {to}"),
        Outcome::Ended { reason } => format!("{router}: not active any more: {reason}"),
        Outcome::NobodyTookOver => format!("{router}: nobody took over, still active here"),
        Outcome::NotActive => format!("{router}: not active here"),
    }
}

/// What was not active here need not be handed over, as long as something was.
fn judge(yielded: &[Yielded]) -> Result<(), &'static str> {
    let is = |outcome: fn(&Outcome) -> bool| yielded.iter().any(|yielded| outcome(&yielded.outcome));
    if is(|outcome| *outcome == Outcome::NobodyTookOver) {
        return Err("not everything was handed over");
    }
    let is_over = |outcome: &Outcome| matches!(outcome, Outcome::HandedOver { .. } | Outcome::Ended { .. });
    if is(is_over) { Ok(()) } else { Err("nothing is active here") }
}

/// One line each, and what is behind it.
pub struct VirtualRouters<'r>(pub &'r [RouterReport]);

impl Display for VirtualRouters<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new([
            "VIRTUAL ROUTER",
            "INTERFACE",
            ">VRID",
            "ROLE",
            ">PRIORITY",
            "ACTIVE ROUTER",
            "ADDRESSES",
            "SINCE",
            "REASON",
        ]);
        self.0.iter().for_each(|router| table.row(row(router)));
        write!(out, "{table}")?;
        for router in self.0 {
            for tracked in router.tracked.iter().filter(|tracked| !tracked.up) {
                writeln!(out, "  {}: {} is down", router.name, tracked.name)?;
            }
            if let Some(left) = router.held_back_seconds {
                writeln!(
                    out,
                    "  {}: this node was late; for {left} s it does not take over from who is active",
                    router.name
                )?;
            }
        }
        Ok(())
    }
}

fn row(router: &RouterReport) -> [String; 9] {
    [
        router.name.clone(),
        router.interface.clone(),
        router.vrid.to_string(),
        format!("{}{}", router.role, if router.leaving { ", leaving" } else { "" }),
        priority(router),
        active_router(router),
        addresses(router),
        router.seconds_in_role.map_or_else(|| "-".to_owned(), |seconds| format!("{} ago", ago(seconds))),
        router.reason.clone().unwrap_or_else(|| "-".to_owned()),
    ]
}

fn priority(router: &RouterReport) -> String {
    match (router.effective_priority, router.priority) {
        (effective, configured) if effective == configured => configured.to_string(),
        (effective, configured) => format!("{effective} of {configured}"),
    }
}

fn active_router(router: &RouterReport) -> String {
    match (router.active_router, router.active_priority) {
        _ if router.role == "active" => "this node".to_owned(),
        (Some(address), Some(priority)) => format!("{address} ({priority})"),
        (Some(address), None) => address.to_string(),
        (None, _) => "-".to_owned(),
    }
}

fn addresses(router: &RouterReport) -> String {
    let listed = router.addresses.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match router.addresses.len().saturating_sub(LISTED) {
        0 => listed,
        more => format!("{listed} and {more} more"),
    }
}

#[cfg(test)]
pub mod tests {
    use lb_vrrp::report::{Counts, TrackedReport};

    use super::*;

    pub fn active() -> RouterReport {
        RouterReport {
            name: "public".to_owned(),
            interface: "eth0".to_owned(),
            vrid: 51,
            version: 3,
            group: None,
            role: "active".to_owned(),
            leaving: false,
            priority: 150,
            effective_priority: 90,
            active_router: None,
            active_priority: None,
            source: Some("10.0.0.2".parse().unwrap()),
            addresses: (10..15).map(|n| format!("203.0.113.{n}/24")).collect(),
            seconds_in_role: Some(75),
            reason: Some("heard no advert for 390ms".to_owned()),
            held_back_seconds: None,
            tracked: vec![TrackedReport { name: "pool web".to_owned(), up: false }],
            counts: Counts::default(),
        }
    }

    pub fn backup() -> RouterReport {
        RouterReport {
            name: "inside".to_owned(),
            role: "backup".to_owned(),
            effective_priority: 150,
            active_router: Some("10.0.0.3".parse().unwrap()),
            active_priority: Some(200),
            addresses: vec!["10.0.0.1/24".to_owned()],
            reason: None,
            seconds_in_role: None,
            tracked: Vec::new(),
            ..active()
        }
    }

    #[test]
    fn a_handover_succeeds_when_what_was_active_is_active_elsewhere() {
        let over = || Outcome::HandedOver { to: "10.0.0.3".parse().unwrap() };
        let judged = |outcomes: &[Outcome]| {
            let yielded = outcomes.iter().map(|outcome| Yielded { router: "r".to_owned(), outcome: outcome.clone() });
            judge(&yielded.collect::<Vec<_>>()).is_ok()
        };
        assert!(judged(&[over(), Outcome::NotActive]));
        assert!(!judged(&[over(), Outcome::NobodyTookOver]));
        assert!(!judged(&[Outcome::NotActive]));
    }
}
