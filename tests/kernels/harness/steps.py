"""What is tried on each kernel: which tests of which test binaries, and how patiently."""

import dataclasses
import re


@dataclasses.dataclass(frozen=True)
class Step:
    name: str
    binary: tuple  # package, test target
    tests: str  # a regular expression
    short: str | None = None  # the part of it in the short form; None: all of it; "": nothing
    limit: int = 900  # seconds for one test, ten times what two quiet CPUs take
    tries: int = 1
    at_once: int = 2

    def expected(self, short):
        return not (short and self.short == "")

    def chosen(self, names, short):
        pattern = self.short if short and self.short is not None else self.tests
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
    Step("lb-real-server", FORWARDS, r"^real_servers::", short="", tries=2),
    Step("VLAN, bond, bridge", FORWARDS, r"^below::", short="", tries=2),
    # Not those of how long it takes, nor 10,000 flows: the CPU is emulated.
    Step("failover of a pair", PAIR, r"^failover::(flows|layer_7)", short="", tries=2, at_once=1),
    Step("lossy flow sync", PAIR, r"^lossy::", short="", tries=2, at_once=1),
    Step("VRRP in a VRF", VRRP, r"^vrf::", short="", tries=2, at_once=1),
]


@dataclasses.dataclass(frozen=True)
class Job:
    """One test, which runs in a process of its own."""

    number: int
    step: Step
    test: str
