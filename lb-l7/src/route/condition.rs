//! The conditions of one route.

use lb_core::config::{self, HeaderMatch, HostPattern, PathPattern};

use super::{RequestView, Verdict, bare_host};

#[derive(Debug)]
pub(super) struct Conditions {
    pub(super) host: Option<HostPattern>,
    path: Option<PathPattern>,
    methods: Box<[String]>,
    headers: Box<[HeaderMatch]>,
}

impl Conditions {
    pub(super) fn new(route: &config::Route) -> Self {
        Self {
            host: route.host.clone(),
            path: route.path.clone().map(trim_prefix),
            methods: route.methods.clone().into(),
            headers: route.headers.clone().into(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.host.is_none() && self.path.is_none() && self.methods.is_empty() && self.headers.is_empty()
    }

    /// All of them; else the first that does not hold.
    pub(super) fn check(&self, request: &impl RequestView) -> Result<(), Verdict> {
        if self.host.as_ref().is_some_and(|pattern| !host_matches(pattern, bare_host(request.host()))) {
            return Err(Verdict::HostDiffers);
        }
        self.check_besides_host(request).map_err(|failure| failure.verdict())
    }

    /// For candidates whose host the index has already compared.
    pub(super) fn hold_besides_host(&self, request: &impl RequestView) -> bool {
        self.check_besides_host(request).is_ok()
    }

    fn check_besides_host(&self, request: &impl RequestView) -> Result<(), Failure<'_>> {
        if self.path.as_ref().is_some_and(|pattern| !path_matches(pattern, request.path())) {
            return Err(Failure::Path);
        }
        let allows = |method: &String| method.as_bytes() == request.method();
        if !self.methods.is_empty() && !self.methods.iter().any(allows) {
            return Err(Failure::Method);
        }
        match self.headers.iter().find(|wanted| !header_matches(wanted, request)) {
            Some(wanted) => Err(Failure::Header(wanted, request.header(&wanted.name).next().is_some())),
            None => Ok(()),
        }
    }
}

/// Becomes a [`Verdict`] only where somebody asks: finding a route must not allocate.
enum Failure<'a> {
    Path,
    Method,
    /// And whether the request has such a field at all.
    Header(&'a HeaderMatch, bool),
}

impl Failure<'_> {
    fn verdict(self) -> Verdict {
        match self {
            Failure::Path => Verdict::PathDiffers,
            Failure::Method => Verdict::MethodDiffers,
            Failure::Header(wanted, true) => Verdict::HeaderDiffers { name: wanted.name.clone() },
            Failure::Header(wanted, false) => Verdict::HeaderMissing { name: wanted.name.clone() },
        }
    }
}

pub(super) fn host_matches(pattern: &HostPattern, host: &[u8]) -> bool {
    match pattern {
        HostPattern::Exact(name) => host.eq_ignore_ascii_case(name.as_bytes()),
        HostPattern::Suffix(suffix) => {
            let front = host.len().saturating_sub(suffix.len());
            front > 0 && host[front..].eq_ignore_ascii_case(suffix.as_bytes())
        }
    }
}

/// `/static/` and `/static` are the same prefix, `/` is any path that starts with one.
fn trim_prefix(pattern: PathPattern) -> PathPattern {
    match pattern {
        PathPattern::Prefix(prefix) => PathPattern::Prefix(prefix.trim_end_matches('/').to_owned()),
        exact @ PathPattern::Exact(_) => exact,
    }
}

fn path_matches(pattern: &PathPattern, path: &[u8]) -> bool {
    match pattern {
        PathPattern::Exact(exact) => path == exact.as_bytes(),
        PathPattern::Prefix(prefix) => match path.strip_prefix(prefix.as_bytes()) {
            Some([]) => !prefix.is_empty(),
            Some(rest) => rest[0] == b'/',
            None => false,
        },
    }
}

fn header_matches(wanted: &HeaderMatch, request: &impl RequestView) -> bool {
    let mut values = request.header(&wanted.name);
    match &wanted.value {
        Some(value) => values.any(|v| v == value.as_bytes()),
        None => values.next().is_some(),
    }
}
