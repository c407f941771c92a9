"""What may come of a request: the vocabulary of the case tables."""

from ..report import Case, Failed
from .client import Client
from .origin import OK


class Reject:
    """Answered by the proxy itself with one of the statuses, and closed; the origin never sees a whole request."""

    closes = True

    def __init__(self, *statuses, after=0, silent=False, may_stay_open=False):
        self.statuses = set(statuses or {400})
        self.after = after
        """Good requests before the bad one."""
        self.silent = silent
        """A close without an answer will do."""
        self.may_stay_open = may_stay_open

    @property
    def answers(self):
        return self.after + 1

    def check(self, result, origin):
        *good, last = result.statuses or [None]
        if last is None and self.silent and result.closed:
            return self.check_origin(origin)
        if good != [200] * self.after or last not in self.statuses:
            return [f"expected {self}, got {result}"]
        if not result.closed and not self.may_stay_open:
            return [f"answered {last} but did not close"]
        return self.check_origin(origin)

    def check_origin(self, origin):
        seen = [request.start for request in origin.complete()[self.after :]]
        return [f"the origin got {seen!r}"] if seen else []

    def __str__(self):
        return f"{'/'.join(map(str, sorted(self.statuses)))} and close"


class Accept:
    """Forwarded as exactly `answers` whole requests and answered."""

    def __init__(self, status=200, answers=1, closes=None, forwarded=None, received=None, **request):
        self.status, self.answers, self.closes = status, answers, closes
        self.forwarded = answers if forwarded is None else forwarded
        self.received = received
        """Looks at the client's Result; returns what is wrong."""
        self.request = request
        """What the origin's last request must be: see `compare`."""

    def check(self, result, origin):
        if result.statuses != [self.status] * self.answers or result.problem:
            return [f"expected {self}, got {result}"]
        if self.closes is not None and result.closed != self.closes:
            return [f"the connection is {'closed' if result.closed else 'open'}"]
        origin.wait_for_requests(self.forwarded)
        return self.check_origin(origin) or (self.received(result) if self.received else []) or []

    def check_origin(self, origin):
        seen = origin.complete()
        if origin.broken:
            return [f"the origin got no HTTP: {origin.broken[0]}"]
        if len(seen) != self.forwarded:
            return [f"the origin got {len(seen)} requests: {[request.start for request in seen]!r}"]
        if not seen:
            return []
        return [problem for key, value in self.request.items() for problem in compare(seen[-1], key, value)]

    def __str__(self):
        return f"{self.answers} x {self.status}"


class Either:
    """Any of the outcomes."""

    def __init__(self, *outcomes):
        self.outcomes = outcomes
        self.answers = max(outcome.answers for outcome in outcomes)
        self.closes = any(outcome.closes for outcome in outcomes) or None

    def check(self, result, origin):
        problems = []
        for outcome in self.outcomes:
            found = outcome.check(result, origin)
            if not found:
                return []
            problems += found
        return problems


class Incomplete:
    """The client can tell that the response is not whole: it closes before its end. The proxy's own error will do."""

    closes = True
    answers = 1

    def __init__(self, status=200):
        self.status = status

    def check(self, result, _origin):
        if result.statuses == [502] and result.finals[0].complete:
            return []
        if result.statuses == [self.status] and not result.finals[0].complete and result.closed:
            return []
        if not result.statuses and result.closed:
            return []
        return [f"expected a response that is cut short, got {result}"]


def compare(request, key, value):
    """`method`, `target`, `version`, `body`; `fields` {name: value or None}; `lists` {name: [values]}; `looks`."""
    if key == "fields":
        found = {name: request.one(name) for name in value}
        return [] if found == value else [f"the origin's request has {found!r}"]
    if key == "lists":
        found = {name: request.all(name) for name in value}
        return [] if found == value else [f"the origin's request has {found!r}"]
    if key == "looks":
        return value(request) or []
    found = getattr(request, key)
    return [] if found == value else [f"the origin's request has {key} {found!r}"]


class Table:
    """Collects the cases of one section."""

    def __init__(self, section):
        self.section = section
        self.cases = []

    def add(self, level, name, steps, outcome, answer=OK, methods=None, section=None):
        steps = steps if isinstance(steps, list) else [steps]
        run = Exchange(steps, outcome, answer, methods)
        self.cases.append(Case(section or self.section, name, level, run))

    def each(self, level, outcome, requests, section=None):
        for name, steps in requests.items():
            self.add(level, name, steps, outcome, section=section)

    def custom(self, level, name, run, section=None):
        self.cases.append(Case(section or self.section, name, level, run))


class Exchange:
    """One connection with the frontend, one judgement."""

    def __init__(self, steps, outcome, answer, methods):
        self.steps, self.outcome, self.answer = steps, outcome, answer
        self.methods = methods or [b"GET"] * outcome.answers

    def __call__(self, subject):
        subject.origin.reset(self.answer)
        result = Client(subject.port).exchange(self.steps, self.methods, self.outcome.closes)
        return self.outcome.check(result, subject.origin)


def require(condition, text):
    if not condition:
        raise Failed(text)
