"""One case, once, on one pair."""

import contextlib
import dataclasses
import pathlib
import time

from .probe import Prober, Watch, await_advert, echoes
from .topology import NODES

PATIENCE = 20
STARTED = 10
"""Seconds."""
PAUSE = 20
"""Of the prober, in ms: what it did not see it cannot measure."""
TRIES = 3


@dataclasses.dataclass(frozen=True)
class Setting:
    interval: int
    """Of adverts, in ms."""
    vips: list
    directory: pathlib.Path
    phase: float = 0.0
    """When it happens: so far between two adverts, from 0 to 1."""


def addresses(count):
    """The client asks the last one, which a node may take last."""
    return [f"10.1.{1 + n // 250}.{1 + n % 250}" for n in range(count)]


class Round:
    """What a case acts on."""

    def __init__(self, topology, contender, setting, stack, log):
        self.topology, self.contender, self.setting = topology, contender, setting
        self.stack, self.log = stack, log
        self.marked = None
        self.daemons = {}

    def start(self, *nodes):
        for node in nodes:
            daemon = self.contender.start(self.topology, node, self.setting, self.log)
            self.stack.callback(daemon.end)
            self.daemons[node] = daemon

    def mark(self):
        """Now what was wrong becomes right."""
        self.marked = time.monotonic_ns()

    def settles(self, patience=PATIENCE):
        """Whether node `a` comes to hold all addresses, and node `b` none."""
        wanted = {"a": set(self.setting.vips), "b": set()}
        until = time.monotonic() + patience
        while any(self.topology.held(node) != wanted[node] for node in NODES):
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
        return True


def measured(*arguments):
    """Again where the machine did not let the prober ask."""
    for _ in range(TRIES):
        result = measure(*arguments)
        if all(one["pause"] <= PAUSE for one in result):
            break
    return result


def measure(topology, tool, contender, case, setting, log):
    """As dictionaries, one for each time that the case happened; none where the pair does not come to rest."""
    topology.whole_again()
    vip = setting.vips[-1]
    with contextlib.ExitStack() as stack:
        stack.enter_context(echoes(topology, tool, vip, NODES))
        turn = Round(topology, contender, setting, stack, log)
        for node in NODES:
            turn.start(node)
            if not turn.settles():
                return []
        watches = [stack.enter_context(Watch(topology, node, vip)) for node in NODES]
        watched = time.monotonic_ns()
        time.sleep(case.settle)
        results = [once(turn, case, tool, watches) for _ in range(case.times)]
        early = sum(len(watch.between(watched, results[0]["begun"])) for watch in watches)
        return [result | {"early": early} for result in results[:1]] + results[1:]


def once(turn, case, tool, watches):
    vip = turn.setting.vips[-1]
    with Prober(turn.topology, tool, vip, turn.setting.directory) as prober:
        time.sleep(0.3)
        # Where the machine held a node up meanwhile, the other one may be active: that is `early`, and passes.
        turn.settles()
        await_advert(turn.topology, tool, "b", turn.setting.phase * turn.setting.interval / 1000)
        begun = time.monotonic_ns()
        case.act(turn)
        ended = time.monotonic_ns()
        prober.finish()
    whole = prober.seen(begun, ended)
    measured = {"begun": begun, **dataclasses.asdict(whole)}
    if turn.marked:
        after = prober.seen(turn.marked, ended)
        changes = sum(len(watch.between(turn.marked, ended)) for watch in watches)
        before = prober.seen(begun, turn.marked)
        measured |= {"gap": before.gap, "after": dataclasses.asdict(after), "changes": changes}
    return measured


def start_many(topology, contender, setting, log):
    """Both nodes start at once with many addresses: when has the right one all, and is it the only one?"""
    topology.whole_again()
    with contextlib.ExitStack() as stack:
        watches = {
            (node, vip): stack.enter_context(Watch(topology, node, vip))
            for node in NODES
            for vip in (setting.vips[0], setting.vips[-1])
        }
        time.sleep(0.5)
        turn = Round(topology, contender, setting, stack, log)
        begun = time.monotonic_ns()
        turn.start(*NODES)
        settled = turn.settles(STARTED)
        time.sleep(1.0)
        held = {node: len(topology.held(node)) for node in NODES}
    last = [at for at, has in watches["a", setting.vips[-1]].changes if has]
    complete = (last[0] - begun) / 1e6 if last and settled else None
    changes = {node: sum(len(w.changes) for (at, _), w in watches.items() if at == node) for node in NODES}
    return {"complete": complete, "held": held, "changes": changes}
