"""What is tried on each kernel: which tests of which test binaries, and how patiently."""

import dataclasses
import re


@dataclasses.dataclass(frozen=True)
class Step:
    name: str
    binary: tuple  # package, test target
    tests: str  # a regular expression
    short: str | None = None  # the part of it in the short form; None: all of it; "": nothing
    once: bool = False  # no host may run it: in the short form the last kernel does, whichever it is
    limit: int = 900  # seconds for one test, ten times what two quiet CPUs take
    tries: int = 1
    at_once: int = 2

    def pattern(self, short, last):
        """Of the tests that one kernel runs."""
        if not short or (self.once and last) or (self.short is None and not self.once):
            return self.tests
        return self.short or ""

    def chosen(self, names, short, last):
        pattern = self.pattern(short, last)
        return [name for name in names if pattern and re.search(pattern, name)]


PACKETS = ("lb-l4", "packets")
REFUSALS = ("lb-l4", "refusals")
CONTROL = ("lb-l4", "control")
FORWARDS = ("lb", "l4")
PAIR = ("lb", "pair")
VRRP = ("lb", "vrrp")

ONE_OF_EACH_MODE = r"^forwards::(nat_xdp|snat_tc|dr_xdp|tunnel_tc)::web_pages"

# Tests with hosts and traffic get a second try, as .config/nextest.toml gives them.
STEPS = [
    Step("trial of programs", REFUSALS, r"^a_trial_", short=""),
    Step("packet cases", PACKETS, r"^(?!random_)", short=r"^every_named_case_"),
    Step("random packets", PACKETS, r"^random_", short=""),
    Step("control plane", CONTROL, r".", short=""),
    Step("connections", FORWARDS, r"^forwards::\w+::", short=ONE_OF_EACH_MODE, tries=2),
    Step("lb-real-server", FORWARDS, r"^real_servers::", tries=2, once=True),
    Step("VLAN, bond, bridge", FORWARDS, r"^below::", tries=2, once=True),
    # Not those of how long it takes, nor 10,000 flows: the CPU is emulated.
    Step("failover of a pair", PAIR, r"^failover::(flows|layer_7)", short="", tries=2, at_once=1),
    Step("lossy flow sync", PAIR, r"^lossy::", tries=2, at_once=1, once=True),
    Step("VRRP in a VRF", VRRP, r"^vrf::", tries=2, at_once=1, once=True),
]


@dataclasses.dataclass(frozen=True)
class Job:
    """One test, which runs in a process of its own."""

    number: int
    step: Step
    test: str
