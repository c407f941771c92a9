"""The active node goes, in every way in which a machine can; a client outside measures."""

import re
from contextlib import ExitStack

from pair import VIP
from layer4 import ADDRESSES
from steps import Failed, Step, require, wait_for
from traffic import Traffic

# README promises half a second: three intervals, and a little. Emulated machines are slower at all that is little.
LIMIT = 1.0
KEPT = 20


def limit(pair) -> float:
    """A node that was late asks the others for more patience, which they tell once."""
    told = [re.findall(r"sends every (\d+)ms", node.run("journalctl -u lb -o cat --since=-3min").output)
            for node in pair.nodes if node.machine.running]
    longest = max([100, *(int(seen[-1]) for seen in told if seen)])
    return LIMIT + 3.7 * (longest - 100) / 1000


def home(pair) -> None:
    """lb-a is active, as at the start."""
    if pair.holders() != ["lb-a"]:
        pair.b.run("lb vrrp yield")
    wait_for(lambda: pair.holders() == ["lb-a"], 90, lambda: f"the addresses are on {pair.holders()}, not on lb-a")


def comes_back(pair) -> str:
    """lb-a takes the addresses when preempt_delay is over; one that was late may wait for longer, and says so."""
    try:
        wait_for(lambda: pair.holders() == ["lb-a"], 120, lambda: f"the addresses are on {pair.holders()}, not on lb-a")
    except Failed as failure:
        if "late" not in pair.a.run("lb vrrp status").output:
            raise failure
        home(pair)
        return "back when asked, as it had been late"
    return "back by itself"


def watched(pair, event, share=1.0) -> str:
    """Clients of every kind while the event happens: new connections to layer 7 and 4, kept ones through layer 4."""
    allowed = share * limit(pair)
    with ExitStack() as all_of_them:
        def client(kind, address, count=1):
            return all_of_them.enter_context(Traffic(pair, kind, address, connections=count))

        new = {"layer 7": client("new", VIP), "nat": client("new", ADDRESSES["nat"])}
        kept = {mode: client("kept", address, KEPT) for mode, address in ADDRESSES.items()}
        said = event()
    seen = [f"{name}: {traffic.lasted(allowed)}" for name, traffic in new.items()]
    seen += [f"{name}: {traffic.all_live()}" for name, traffic in kept.items()]
    return "; ".join([*([said] if said else []), *seen])


def power_off(pair):
    """The QEMU process is killed, once every flow is known to the other node."""
    home(pair)
    seen = watched(pair, pair.a.machine.power_off)
    require(pair.b.holds(), "lb-b does not hold the address")
    return seen


def power_on(pair):
    """It boots, and takes the addresses back when preempt_delay is over."""
    def boot():
        pair.a.machine.start()
        return f"booted in {pair.a.machine.wait():.0f} s, {comes_back(pair)}"

    return watched(pair, boot)


def pulled_cable(pair):
    """The link goes down, which the node sees for itself; the other one takes over, and hands back."""
    home(pair)

    def pull():
        pair.a.machine.cable(0, plugged=False)
        wait_for(lambda: pair.b.holds(), 10, "lb-b has not taken over")

    seen = watched(pair, pull)
    require(not pair.a.holds(), "lb-a still has the address on its dead link")
    return seen


def plugged_in(pair):
    def plug():
        pair.a.machine.cable(0, plugged=True)
        return comes_back(pair)

    return watched(pair, plug)


def planned(pair):
    """`lb vrrp yield`, as README has it: no packet is lost."""
    home(pair)

    def give():
        pair.a.check("sudo lb vrrp yield")
        require(pair.holders() == ["lb-b"], f"the address is on {pair.holders()}")

    seen = watched(pair, give, share=0.5)
    home(pair)
    return seen


STEPS = [
    Step("the active node's power is cut", power_off),
    Step("it boots, and takes the addresses back", power_on),
    Step("the active node's cable is pulled", pulled_cable),
    Step("it is plugged in again", plugged_in),
    Step("lb vrrp yield", planned),
]
SHORT = STEPS[:1]
