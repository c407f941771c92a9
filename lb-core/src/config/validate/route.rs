//! Routes: conditions and the one action.

use super::{Validator, collect};
use crate::config::decode::{At, Entry, OneOrMore};
use crate::config::diagnostic::{Help, Span, nearest};
use crate::config::forms;
use crate::config::http_words::{Method, Status};
use crate::config::model::{self, Action, PathPattern, Route};
use crate::config::raw;

/// What a redirect's location may refer to.
const PLACEHOLDERS: [&str; 3] = ["host", "path", "query"];

impl Validator<'_, '_> {
    pub(super) fn routes(&mut self, owner: Span, raw: &raw::Frontend) -> Option<Vec<Route>> {
        match (&raw.pool, &raw.routes) {
            (Entry::Given(_) | Entry::Bad, Entry::Given(routes)) => {
                let help = Help::Text("make it the last route: `- { pool: ... }`".to_owned());
                self.problems.error_with(routes.key, "a frontend has `pool` or `routes`, not both", help);
                None
            }
            (Entry::Given(pool), _) => Some(vec![everything_to(self.http_pool(pool)?)]),
            (_, Entry::Given(routes)) if routes.value.is_empty => self.refuse(routes.key, "there are no routes"),
            (_, Entry::Given(routes)) => {
                self.unreachable_routes(&routes.value.items);
                collect(routes.value.items.iter().map(|route| self.route(route)).collect())
            }
            (Entry::Absent, Entry::Absent) => self.refuse(owner, "a frontend needs `pool` or `routes`"),
            _ => None,
        }
    }

    /// A route without conditions takes everything that comes to it.
    fn unreachable_routes(&mut self, routes: &[At<raw::Route>]) {
        let Some(all) = routes.iter().position(|route| is_unconditional(&route.value)) else { return };
        for route in &routes[all + 1..] {
            let help = Help::First(routes[all].span);
            self.problems.warning(route.span, "this route is never reached: an earlier one matches everything", help);
        }
    }

    fn route(&mut self, route: &At<raw::Route>) -> Option<Route> {
        let raw = &route.value;
        let path = self.path(&raw.path);
        let headers = self.headers(&raw.header);
        let action = self.action(route);
        Some(Route {
            host: raw.host.value().cloned(),
            path: path?,
            methods: methods(&raw.method),
            headers: headers?,
            action: action?,
        })
    }

    fn path(&mut self, entry: &Entry<forms::PathMatch>) -> Option<Option<PathPattern>> {
        let Some(At { value: forms::PathMatch(keys), key, .. }) = entry.given() else { return Some(None) };
        match (&keys.exact, &keys.prefix) {
            (Entry::Given(path), Entry::Absent) => self.path_text(path).map(PathPattern::Exact).map(Some),
            (Entry::Absent, Entry::Given(path)) => self.path_text(path).map(prefix).map(Some),
            (Entry::Bad, _) | (_, Entry::Bad) => None,
            _ => self.refuse(*key, "a path condition has one of `exact`, `prefix`"),
        }
    }

    fn path_text(&mut self, path: &At<String>) -> Option<String> {
        let text = &path.value;
        let complaint = if !text.starts_with('/') {
            "a path begins with `/`"
        } else if text.contains(['?', '#']) {
            "a path is compared without query and fragment"
        } else if text.contains('*') {
            "a path has no wildcards; `/a/` matches all below it"
        } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            "a path is printable ASCII; other characters are percent-encoded"
        } else {
            return Some(text.clone());
        };
        self.refuse(path.span, complaint)
    }

    fn headers(&mut self, entry: &Entry<OneOrMore<forms::Header>>) -> Option<Vec<model::HeaderMatch>> {
        let Some(list) = entry.value() else { return Some(Vec::new()) };
        collect(list.0.items.iter().map(|header| self.header(header)).collect())
    }

    fn header(&mut self, header: &At<forms::Header>) -> Option<model::HeaderMatch> {
        let keys = &header.value.0;
        let name = self.required(&keys.name, header.key, "a header condition", "name")?;
        Some(model::HeaderMatch { name: name.value.0.clone(), value: keys.value.value().cloned() })
    }

    fn action(&mut self, route: &At<raw::Route>) -> Option<Action> {
        let raw = &route.value;
        match (&raw.pool, &raw.redirect, &raw.respond) {
            (Entry::Given(pool), Entry::Absent, Entry::Absent) => self.http_pool(pool).map(Action::Pool),
            (Entry::Absent, Entry::Given(redirect), Entry::Absent) => self.redirect(redirect).map(Action::Redirect),
            (Entry::Absent, Entry::Absent, Entry::Given(respond)) => self.respond(respond).map(Action::Respond),
            (Entry::Absent, Entry::Absent, Entry::Absent) => {
                self.refuse(route.span, "a route needs `pool`, `redirect` or `respond`")
            }
            (Entry::Bad, Entry::Absent, Entry::Absent)
            | (Entry::Absent, Entry::Bad, Entry::Absent)
            | (Entry::Absent, Entry::Absent, Entry::Bad) => None,
            _ => self.refuse(route.span, "a route has one of `pool`, `redirect`, `respond`"),
        }
    }

    fn redirect(&mut self, redirect: &At<forms::Redirect>) -> Option<model::Redirect> {
        let keys = &redirect.value.0;
        let location = self.required(&keys.location, redirect.key, "a redirect", "location");
        let good_location = location.and_then(|location| self.location(location));
        let Status(status) = keys.status();
        if ![301, 302, 303, 307, 308].contains(&status) {
            let span = keys.status.given().map_or(redirect.span, |status| status.span);
            return self.refuse(span, format!("a redirect has status 301, 302, 303, 307 or 308, found `{status}`"));
        }
        Some(model::Redirect { status, location: good_location? })
    }

    fn location(&mut self, location: &At<String>) -> Option<String> {
        let text = &location.value;
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return self.refuse(location.span, "a location is printable ASCII without spaces");
        }
        for placeholder in text.split('{').skip(1) {
            let Some((name, _)) = placeholder.split_once('}') else {
                return self.refuse(location.span, "`{` without its `}`");
            };
            if !PLACEHOLDERS.contains(&name) {
                let help = match nearest(name, PLACEHOLDERS) {
                    Some(near) => Help::Near { name: format!("{{{near}}}"), defined: None },
                    None => Help::Text("one of {host}, {path}, {query}".to_owned()),
                };
                self.problems.error_with(location.span, format!("unknown placeholder `{{{name}}}`"), help);
                return None;
            }
        }
        Some(text.clone())
    }

    fn respond(&mut self, respond: &At<forms::Respond>) -> Option<model::Respond> {
        let keys = &respond.value.0;
        let status = self.respond_status(keys, respond.span);
        let content_type = self.content_type(&keys.content_type);
        Some(model::Respond {
            status: status?,
            content_type: content_type.map(|()| keys.content_type())?,
            body: keys.body(),
        })
    }

    fn respond_status(&mut self, keys: &raw::RespondKeys, span: Span) -> Option<u16> {
        let Status(status) = keys.status();
        if status < 200 {
            let span = keys.status.given().map_or(span, |status| status.span);
            return self.refuse(span, format!("a fixed answer has a status from 200 to 599, found `{status}`"));
        }
        if let (204 | 304, Some(body)) = (status, keys.body.given())
            && !body.value.is_empty()
        {
            // RFC 9110, section 6.4.1.
            return self.refuse(body.key, format!("an answer with status {status} has no body"));
        }
        Some(status)
    }

    fn content_type(&mut self, entry: &Entry<String>) -> Option<()> {
        let Some(content_type) = entry.given() else { return Some(()) };
        let printable = content_type.value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if printable && !content_type.value.is_empty() {
            return Some(());
        }
        self.refuse(content_type.span, "a media type is printable ASCII")
    }
}

fn everything_to(pool: std::sync::Arc<str>) -> Route {
    Route { host: None, path: None, methods: Vec::new(), headers: Vec::new(), action: Action::Pool(pool) }
}

fn is_unconditional(route: &raw::Route) -> bool {
    route.host.is_absent() && route.path.is_absent() && route.method.is_absent() && route.header.is_absent()
}

/// By whole segments, so a slash at the end adds nothing.
fn prefix(path: String) -> PathPattern {
    match path.trim_end_matches('/') {
        "" => PathPattern::Prefix("/".to_owned()),
        trimmed => PathPattern::Prefix(trimmed.to_owned()),
    }
}

fn methods(entry: &Entry<OneOrMore<Method>>) -> Vec<String> {
    entry.value().into_iter().flat_map(|list| &list.0.items).map(|method| method.value.0.clone()).collect()
}
