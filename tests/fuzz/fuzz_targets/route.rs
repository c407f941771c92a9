//! The route table against its own conditions, one route after the other; and the redirects that it renders.
//!
//! An input is text: `METHOD HOST PATH QUERY`, the request's fields as `name=value`, an empty line, then one route
//! a line as `HOST PATH METHOD FIELD LOCATION`, where `-` leaves a condition out, `*.x` is a wildcard and `=/x` an
//! exact path.
#![no_main]

use std::sync::Arc;

use lb_core::config::{Action, HeaderMatch, HostPattern, PathPattern, Redirect, Route};
use lb_l7::route::{RequestView, RouteAction, RouteTable, Verdict, bare_host};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut lines = input.split(|byte| *byte == b'\n');
    let request = Request::parse(&mut lines);
    let routes: Vec<_> = lines.filter_map(|line| parse_route(std::str::from_utf8(line).ok()?)).collect();
    let table = RouteTable::new(&routes, |_| Some(0)).expect("every pool is known");
    check(&table, &request);
});

fn check(table: &RouteTable, request: &Request) {
    let found = table.find(request);
    for route in table.explain(request) {
        match (route.verdict, found.map(|f| f.index)) {
            (Verdict::Chosen, found) => assert_eq!(found, Some(route.index)),
            (Verdict::Shadowed { by }, found) => assert!(found == Some(by) && by < route.index),
            (failure, found) => assert_ne!(found, Some(route.index), "{failure}"),
        }
    }
    if let Some(RouteAction::Redirect(redirect)) = found.map(|f| f.action) {
        let mut location = Vec::new();
        redirect.location(bare_host(request.host), request.path, request.query, &mut location);
        assert!(location.iter().all(u8::is_ascii_graphic), "{}", location.escape_ascii());
    }
}

#[derive(Default)]
struct Request<'a> {
    method: &'a [u8],
    host: &'a [u8],
    path: &'a [u8],
    query: &'a [u8],
    fields: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Request<'a> {
    fn parse(lines: &mut impl Iterator<Item = &'a [u8]>) -> Self {
        let mut words = lines.next().unwrap_or_default().splitn(4, |byte| *byte == b' ');
        let mut word = || words.next().unwrap_or_default();
        let (method, host, path, query) = (word(), word(), word(), word());
        let field = |line: &'a [u8]| {
            let at = line.iter().position(|byte| *byte == b'=')?;
            Some((&line[..at], &line[at + 1..]))
        };
        Request { method, host, path, query, fields: lines.take_while(|l| !l.is_empty()).filter_map(field).collect() }
    }
}

impl RequestView for Request<'_> {
    fn method(&self) -> &[u8] {
        self.method
    }
    fn host(&self) -> &[u8] {
        self.host
    }
    fn path(&self) -> &[u8] {
        self.path
    }
    fn header(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.fields.iter().filter(move |(n, _)| *n == name.as_bytes()).map(|(_, value)| *value)
    }
}

fn parse_route(line: &str) -> Option<Route> {
    let mut words = line.split(' ').map(|word| Some(word).filter(|word| *word != "-"));
    let host = words.next()?.map(|host| match host.strip_prefix('*') {
        // The configuration knows no other wildcards.
        Some(suffix) => suffix.starts_with('.').then(|| HostPattern::Suffix(suffix.into())),
        None => Some(HostPattern::Exact(host.into())),
    });
    let host = match host {
        Some(pattern) => Some(pattern?),
        None => None,
    };
    let path = words.next()?.map(|path| match path.strip_prefix('=') {
        Some(exact) => PathPattern::Exact(exact.into()),
        None => PathPattern::Prefix(path.into()),
    });
    let methods = words.next()?.map(str::to_owned).into_iter().collect();
    let field = |field: &str| match field.split_once('=') {
        Some((name, value)) => HeaderMatch { name: name.into(), value: Some(value.into()) },
        None => HeaderMatch { name: field.into(), value: None },
    };
    let headers = words.next()?.map(field).into_iter().collect();
    let action = match words.next()? {
        Some(location) => Action::Redirect(Redirect { status: 302, location: location.into() }),
        None => Action::Pool(Arc::from("pool")),
    };
    Some(Route { host, path, methods, headers, action })
}
