"""What befalls the active node, and what must come of it."""

import dataclasses
import random
import signal
import time
from collections.abc import Callable

ALONE, MANY = 1, 1000
"""Addresses of the virtual router."""
CUT = 1.2
FROZEN = 1.0


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    title: str
    act: Callable
    """Does it, to node `a` of a Round, and returns when the client has seen all that comes of it."""
    addresses: int = ALONE
    only: str = ""
    """The contender that can do it."""
    settle: float = 1.5
    """Seconds before it, with everything in order."""
    times: int = 1
    """In one round."""


def waiting(seconds):
    """For an action that is over at once."""

    def after(do):
        def act(turn):
            do(turn)
            time.sleep(seconds(turn.setting.interval))

        return act

    return after


@waiting(lambda interval: 1.0 + interval / 100)
def kill(turn):
    turn.daemons["a"].signal(signal.SIGKILL)


@waiting(lambda interval: 1.0 + interval / 100)
def power_off(turn):
    turn.topology.detach("a")
    turn.daemons["a"].signal(signal.SIGKILL)


@waiting(lambda interval: 1.0 + interval / 100)
def link_down(turn):
    turn.topology.unplug("a")


@waiting(lambda interval: 1.0 + interval / 100)
def stop(turn):
    turn.daemons["a"].stop()


@waiting(lambda interval: 1.0 + interval / 100)
def yield_role(turn):
    turn.contender.yield_role(turn.topology, "a", turn.setting)


def freeze(turn):
    turn.daemons["a"].signal(signal.SIGSTOP)
    time.sleep(FROZEN)
    turn.mark()
    turn.daemons["a"].signal(signal.SIGCONT)
    time.sleep(2.0)


def lose(*directions):
    def act(turn):
        # As a client that came long before, which knows the active node and asks nobody.
        turn.topology.forget()
        time.sleep(0.1)
        turn.topology.cut(*directions)
        # At any moment between two adverts of either.
        time.sleep(CUT + random.uniform(0, turn.setting.interval / 1000))
        turn.mark()
        turn.topology.heal()
        time.sleep(1.0)

    return act


CASES = [
    Case("killed", "process killed", kill),
    Case("power-off", "power off", power_off),
    Case("link-down", "link down", link_down),
    Case("stopped", "stopped", stop),
    Case("yield", "`lb vrrp yield`", yield_role, only="lb"),
    Case("frozen", "frozen for 1 s, then woken", freeze),
    # After the announcements that a node repeats five seconds after it became active.
    Case("one-way", "one-way loss between the nodes, healed", lose(("a", "b")), settle=6.0, times=2),
    Case("two-way", "two-way loss between the nodes, healed", lose(("a", "b"), ("b", "a")), settle=6.0, times=2),
    Case("power-off-1000", "power off, the last of 1,000 addresses", power_off, addresses=MANY, settle=4.0),
]

BY_NAME = {case.name: case for case in CASES}
MARKED = ("frozen", "one-way", "two-way")
"""Those with a second part, when what was wrong is right again."""
BLACK_HOLE = 300
"""A silence of so many ms in the second after a heal is no failover."""
