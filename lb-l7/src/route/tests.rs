use std::sync::Arc;

use lb_core::config::{Action, HeaderMatch, HostPattern, PathPattern, Route};
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, Default)]
struct Request {
    method: &'static str,
    host: String,
    path: String,
    headers: Vec<(&'static str, &'static str)>,
}

impl RequestView for Request {
    fn method(&self) -> &[u8] {
        self.method.as_bytes()
    }
    fn host(&self) -> &[u8] {
        self.host.as_bytes()
    }
    fn path(&self) -> &[u8] {
        self.path.as_bytes()
    }
    fn header(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.headers.iter().filter(move |(n, _)| *n == name).map(|(_, value)| value.as_bytes())
    }
}

fn get(host: &str, path: &str) -> Request {
    Request { method: "GET", host: host.into(), path: path.into(), headers: Vec::new() }
}

fn any() -> Route {
    let action = Action::Pool(Arc::from("p"));
    Route { host: None, path: None, methods: Vec::new(), headers: Vec::new(), action }
}

fn host(name: &str) -> Route {
    let host = match name.strip_prefix('*') {
        Some(suffix) => HostPattern::Suffix(suffix.into()),
        None => HostPattern::Exact(name.into()),
    };
    Route { host: Some(host), ..any() }
}

fn prefix(path: &str) -> Route {
    Route { path: Some(PathPattern::Prefix(path.into())), ..any() }
}

fn table(routes: &[Route]) -> RouteTable {
    RouteTable::new(routes, |_| Some(0)).unwrap()
}

fn find(routes: &[Route], request: &Request) -> Option<usize> {
    table(routes).find(request).map(|m| m.index)
}

#[test]
fn host_is_compared_without_case_port_and_trailing_dot() {
    let routes = [host("example.com"), host("*.example.com"), host("[::1]")];
    for (name, expected) in [
        ("example.com", Some(0)),
        ("EXAMPLE.Com:8080", Some(0)),
        ("example.com.", Some(0)),
        ("example.com.:443", Some(0)),
        ("www.example.com", Some(1)),
        ("a.b.Example.com.:1", Some(1)),
        (".example.com", None),
        ("notexample.com", None),
        ("example.com.evil", None),
        ("[::1]:80", Some(2)),
        ("[::1]", Some(2)),
        ("", None),
        (":", None),
        (".", None),
        ("[", None),
    ] {
        assert_eq!(find(&routes, &get(name, "/")), expected, "{name:?}");
    }
}

#[test]
fn first_in_the_file_wins_whatever_the_pattern() {
    let wildcard_first = [host("*.com"), host("a.example.com"), host("*.example.com")];
    assert_eq!(find(&wildcard_first, &get("a.example.com", "/")), Some(0));
    let any_first = [prefix("/x"), host("a.example.com"), any(), host("b.example.com")];
    assert_eq!(find(&any_first, &get("a.example.com", "/x")), Some(0));
    assert_eq!(find(&any_first, &get("a.example.com", "/y")), Some(1));
    assert_eq!(find(&any_first, &get("b.example.com", "/y")), Some(2));
}

#[test]
fn prefix_holds_by_whole_segments() {
    for pattern in ["/static", "/static/"] {
        let routes = [prefix(pattern)];
        for (path, expected) in [
            ("/static", Some(0)),
            ("/static/", Some(0)),
            ("/static/a", Some(0)),
            ("/static/../b", Some(0)),
            ("/statics", None),
            ("/STATIC", None),
            ("/%73tatic", None),
            ("/a/static", None),
            ("", None),
        ] {
            assert_eq!(find(&routes, &get("h", path)), expected, "{pattern} {path}");
        }
    }
    assert_eq!(find(&[prefix("/")], &get("h", "/anything")), Some(0));
    assert_eq!(find(&[prefix("/")], &get("h", "*")), None);
}

#[test]
fn method_and_headers_all_have_to_hold() {
    let wanted = |name: &str, value: Option<&str>| HeaderMatch { name: name.into(), value: value.map(Into::into) };
    let headers = vec![wanted("x-a", None), wanted("x-b", Some("1"))];
    let routes = [Route { methods: vec!["GET".into(), "PUT".into()], headers, ..any() }];
    let request = |method, headers: &[_]| Request { method, headers: headers.to_vec(), ..get("h", "/") };
    assert_eq!(find(&routes, &request("PUT", &[("x-a", ""), ("x-b", "2"), ("x-b", "1")])), Some(0));
    let fails = |request| match table(&routes).explain(&request).remove(0).verdict {
        Verdict::Chosen => panic!("chosen"),
        failure => failure.to_string(),
    };
    assert_eq!(fails(request("get", &[])), "method differs");
    assert_eq!(fails(request("GET", &[("x-b", "1")])), "header `x-a` is missing");
    assert_eq!(fails(request("GET", &[("x-a", "1"), ("x-b", "11")])), "header `x-b` has another value");
}

#[test]
fn explain_names_the_first_condition_that_fails() {
    let routes = [host("a.test"), prefix("/x"), any(), host("b.test"), any()];
    let verdicts: Vec<_> = table(&routes).explain(&get("b.test", "/")).into_iter().map(|v| v.verdict).collect();
    let shadowed = Verdict::Shadowed { by: 2 };
    assert_eq!(verdicts, [Verdict::HostDiffers, Verdict::PathDiffers, Verdict::Chosen, shadowed.clone(), shadowed]);
}

#[test]
fn explain_serializes_flat() {
    let verdict = RouteVerdict { index: 3, verdict: Verdict::Shadowed { by: 1 } };
    assert_eq!(serde_json::to_string(&verdict).unwrap(), r#"{"index":3,"verdict":"shadowed","by":1}"#);
}

#[test]
fn unknown_pool_is_an_error() {
    let error = RouteTable::new(&[any()], |_| None).unwrap_err();
    assert_eq!(error, UnknownPool { route: 0, pool: "p".into() });
}

fn location(template: &str, host: &str, path: &[u8], query: &str) -> String {
    let mut out = b"location: ".to_vec();
    Redirect::new(&config::Redirect { status: 301, location: template.into() }).location(
        host.as_bytes(),
        path,
        query.as_bytes(),
        &mut out,
    );
    String::from_utf8(out.split_off(10)).unwrap()
}

#[test]
fn redirect_fills_its_template() {
    for (template, expected) in [
        ("https://{host}{path}{query}", "https://h.test/a/b?c=d"),
        ("https://other/{query}#{path}", "https://other/?c=d#/a/b"),
        ("/fixed", "/fixed"),
        ("{unknown}{", "{unknown}{"),
        ("{path}", "/a/b"),
        ("/{path}", "/a/b"),
        ("/v2{path}", "/v2/a/b"),
        ("{host}{host}", "h.testh.test"),
    ] {
        assert_eq!(location(template, "h.test", b"/a/b", "?c=d"), expected, "{template}");
    }
}

#[test]
fn redirect_never_leads_to_a_host_out_of_the_path() {
    assert_eq!(location("{path}", "h", b"//evil.test/", ""), "/evil.test/");
    assert_eq!(location("/{path}", "h", b"//evil.test/", ""), "/evil.test/");
    assert_eq!(location("{path}", "h", b"/\\evil.test/", ""), "/%5Cevil.test/");
    assert_eq!(location("https://h{path}", "h", b"@evil.test/", ""), "https://h/@evil.test/");
    assert_eq!(location("https://h{path}", "h", b"//a//b", ""), "https://h//a//b");
    assert_eq!(location("https://h{path}", "h", b"*", ""), "https://h/");
    assert_eq!(location("https://{host}/", "good@evil/x?#", b"/", ""), "https://good%40evil%2Fx%3F%23/");
}

proptest! {
    #[test]
    fn location_holds_no_byte_that_ends_a_field(
        template in "[a-z/:\r\n]{0,9}(\\{path\\}|\\{host\\})\\{query\\}",
        host: Vec<u8>, path: Vec<u8>, query: Vec<u8>,
    ) {
        let mut out = Vec::new();
        Redirect::new(&config::Redirect { status: 301, location: template }).location(&host, &path, &query, &mut out);
        prop_assert!(out.iter().all(u8::is_ascii_graphic), "{}", out.escape_ascii());
    }

    #[test]
    fn index_agrees_with_a_linear_search(routes in routes(), request in request()) {
        let expected = routes.iter().position(|route| naive::matches(route, &request));
        prop_assert_eq!(find(&routes, &request), expected);
    }

    #[test]
    fn explain_agrees_with_a_linear_search(routes in routes(), request in request()) {
        let holds = |verdict: &RouteVerdict| matches!(verdict.verdict, Verdict::Chosen | Verdict::Shadowed { .. });
        for (route, verdict) in routes.iter().zip(table(&routes).explain(&request)) {
            prop_assert_eq!(holds(&verdict), naive::matches(route, &request), "{:?}", verdict);
        }
    }
}

/// Written for its plainness alone.
mod naive {
    use super::*;

    pub fn matches(route: &Route, request: &Request) -> bool {
        route.host.as_ref().is_none_or(|pattern| host(pattern, &request.host))
            && route.path.as_ref().is_none_or(|pattern| path(pattern, &request.path))
            && (route.methods.is_empty() || route.methods.iter().any(|m| m == request.method))
            && route.headers.iter().all(|wanted| header(wanted, request))
    }

    fn host(pattern: &HostPattern, host: &str) -> bool {
        let host = host.to_lowercase();
        let host = host.split(':').next().unwrap();
        let host = host.strip_suffix('.').unwrap_or(host);
        match pattern {
            HostPattern::Exact(name) => host == name,
            HostPattern::Suffix(suffix) => host.ends_with(suffix) && host != suffix,
        }
    }

    fn path(pattern: &PathPattern, path: &str) -> bool {
        match pattern {
            PathPattern::Exact(exact) => path == exact,
            PathPattern::Prefix(prefix) => {
                let segments = |p: &str| p.trim_end_matches('/').split('/').map(str::to_owned).collect::<Vec<_>>();
                path.starts_with('/') && segments(&format!("{path}/")).starts_with(&segments(prefix))
            }
        }
    }

    fn header(wanted: &HeaderMatch, request: &Request) -> bool {
        request
            .headers
            .iter()
            .any(|(name, value)| *name == wanted.name && wanted.value.as_ref().is_none_or(|v| v == value))
    }
}

/// Few labels, so that patterns and requests meet often.
fn routes() -> impl Strategy<Value = Vec<Route>> {
    let host =
        prop_oneof!["[ab](\\.[ab]){0,2}".prop_map(HostPattern::Exact), "(\\.[ab]){1,3}".prop_map(HostPattern::Suffix),];
    let path =
        prop_oneof!["(/[xy]){0,2}/?".prop_map(PathPattern::Exact), "(/[xy]){1,2}/?|/".prop_map(PathPattern::Prefix),];
    let header =
        (prop_oneof!["k", "l"], prop::option::of("[01]")).prop_map(|(name, value)| HeaderMatch { name, value });
    let methods = prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(prop_oneof!["GET", "PUT"], 1..3)];
    let headers = prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(header, 1..3)];
    let path = prop::option::weighted(0.3, path);
    let route = (prop::option::weighted(0.8, host), path, methods, headers)
        .prop_map(|(host, path, methods, headers)| Route { host, path, methods, headers, ..any() });
    prop::collection::vec(route, 0..12)
}

fn request() -> impl Strategy<Value = Request> {
    let header = (prop::sample::select(vec!["k", "l"]), prop::sample::select(vec!["0", "1", ""]));
    let host = prop_oneof![3 => "[aAb](\\.[aAb]){0,3}", 1 => "[abAB.]{0,6}\\.?(:[0-9]{0,2})?"];
    let path = prop_oneof![3 => "(/[xy]){0,3}/?", 1 => "(/[xy]{0,2}){0,3}|\\*"];
    (prop::sample::select(vec!["GET", "PUT", "HEAD"]), host, path, prop::collection::vec(header, 0..3))
        .prop_map(|(method, host, path, headers)| Request { method, host, path, headers })
}
