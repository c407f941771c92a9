//! Which route of a frontend a request takes: the first one, in the order of the file, whose conditions all hold.
//!
//! [`RouteTable::find`] finds it by an index over hosts, without allocating; [`RouteTable::explain`] says of every
//! route why it was or was not taken, through the same conditions. Paths are compared as sent: nothing is decoded.

mod condition;
mod host;
mod redirect;
#[cfg(test)]
mod tests;

use std::fmt;

use lb_core::config;
use serde::{Deserialize, Serialize};

use self::condition::Conditions;
use self::host::HostIndex;
pub use self::host::bare_host;
pub use self::redirect::Redirect;

/// What routing looks at.
pub trait RequestView {
    fn method(&self) -> &[u8];
    /// As sent: any case, with or without port and trailing dot; empty where the request names none.
    fn host(&self) -> &[u8];
    /// Without the query.
    fn path(&self) -> &[u8];
    /// Values of one field; `name` is lower case.
    fn header(&self, name: &str) -> impl Iterator<Item = &[u8]>;
}

/// The routes of one frontend, ready to be searched.
#[derive(Debug)]
pub struct RouteTable {
    routes: Box<[Entry]>,
    index: HostIndex,
    /// The first route has no conditions, so that nothing need be looked at.
    catch_all: bool,
}

#[derive(Debug)]
struct Entry {
    conditions: Conditions,
    action: RouteAction,
}

#[derive(Debug)]
pub enum RouteAction {
    /// Index into the snapshot's pools.
    Pool(usize),
    Redirect(Redirect),
    Respond(config::Respond),
}

/// The route that a request takes.
#[derive(Debug, Clone, Copy)]
pub struct Matched<'a> {
    /// In the order of the file.
    pub index: usize,
    pub action: &'a RouteAction,
}

/// A route leads to a pool that `pool_index` does not know.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("route {route} leads to pool `{pool}`, which is not there")]
pub struct UnknownPool {
    pub route: usize,
    pub pool: String,
}

impl RouteTable {
    pub fn new(
        routes: &[config::Route],
        pool_index: impl Fn(&str) -> Option<usize>,
    ) -> Result<RouteTable, UnknownPool> {
        let compile = |(number, route)| compile_route(number, route, &pool_index);
        let routes = routes.iter().enumerate().map(compile).collect::<Result<Box<[_]>, _>>()?;
        let reachable = routes.iter().position(|r| r.conditions.is_empty()).map_or(routes.len(), |last| last + 1);
        let index = HostIndex::new(routes[..reachable].iter().map(|r| r.conditions.host.as_ref()));
        let catch_all = routes.first().is_some_and(|r| r.conditions.is_empty());
        Ok(RouteTable { routes, index, catch_all })
    }

    /// The first route, in the order of the file, whose conditions all hold.
    pub fn find(&self, request: &impl RequestView) -> Option<Matched<'_>> {
        let index = if self.catch_all { 0 } else { self.first_match(request)? };
        Some(Matched { index, action: &self.routes[index].action })
    }

    /// Every candidate list is in file order, so each is walked only as far as the best match yet.
    fn first_match(&self, request: &impl RequestView) -> Option<usize> {
        let mut best = None;
        self.index.for_each_list(bare_host(request.host()), |list| {
            let before = |number: &usize| best.is_none_or(|best| *number < best);
            let holds = |number: &usize| self.routes[*number].conditions.hold_besides_host(request);
            if let Some(found) = list.iter().copied().take_while(before).find(holds) {
                best = Some(found);
            }
        });
        best
    }

    /// Says of every route, in the order of the file, why it was or was not taken.
    pub fn explain(&self, request: &impl RequestView) -> Vec<RouteVerdict> {
        let chosen = self.find(request).map(|m| m.index);
        let judge = |(index, route): (usize, &Entry)| {
            let verdict = match (route.conditions.check(request), chosen) {
                (Err(failure), _) => failure,
                (Ok(()), Some(chosen)) if chosen != index => Verdict::Shadowed { by: chosen },
                (Ok(()), _) => Verdict::Chosen,
            };
            RouteVerdict { index, verdict }
        };
        self.routes.iter().enumerate().map(judge).collect()
    }
}

fn compile_route(
    number: usize,
    route: &config::Route,
    pool_index: &impl Fn(&str) -> Option<usize>,
) -> Result<Entry, UnknownPool> {
    let action = match &route.action {
        config::Action::Pool(pool) => RouteAction::Pool(
            pool_index(pool).ok_or_else(|| UnknownPool { route: number, pool: pool.as_ref().to_owned() })?,
        ),
        config::Action::Redirect(redirect) => RouteAction::Redirect(Redirect::new(redirect)),
        config::Action::Respond(respond) => RouteAction::Respond(respond.clone()),
    };
    Ok(Entry { conditions: Conditions::new(route), action })
}

/// What `lb explain` says of one route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteVerdict {
    /// In the order of the file.
    pub index: usize,
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// Why a route was or was not taken; of several conditions that fail, the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    Chosen,
    /// Its conditions hold, but an earlier route was taken.
    Shadowed {
        by: usize,
    },
    HostDiffers,
    PathDiffers,
    MethodDiffers,
    HeaderMissing {
        name: String,
    },
    HeaderDiffers {
        name: String,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Chosen => f.write_str("chosen"),
            Verdict::Shadowed { by } => write!(f, "matches too, but route {} comes first", by + 1),
            Verdict::HostDiffers => f.write_str("host differs"),
            Verdict::PathDiffers => f.write_str("path differs"),
            Verdict::MethodDiffers => f.write_str("method differs"),
            Verdict::HeaderMissing { name } => write!(f, "header `{name}` is missing"),
            Verdict::HeaderDiffers { name } => write!(f, "header `{name}` has another value"),
        }
    }
}
