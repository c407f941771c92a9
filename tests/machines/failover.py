"""The active node goes, in every way in which a machine can; a client outside measures."""

from contextlib import ExitStack

from pair import VIP
from layer4 import ADDRESSES
from steps import Step, require, wait_for
from traffic import Traffic

# README promises half a second; emulated machines share their CPUs with the rest of the host.
LIMIT = 1.0
KEPT = 20


def home(pair) -> None:
    """lb-a is active, as at the start."""
    wait_for(lambda: pair.holders() == ["lb-a"], 90, lambda: f"the addresses are on {pair.holders()}, not on lb-a")


def watched(pair, event, limit, settle=3.0) -> str:
    """Clients of every kind while the event happens: new connections to layer 7 and 4, kept ones through layer 4."""
    with ExitStack() as all_of_them:
        def client(kind, address, count=1):
            return all_of_them.enter_context(Traffic(pair.client, kind, address, connections=count, settle=settle))

        new = {"layer 7": client("new", VIP), "nat": client("new", ADDRESSES["nat"])}
        kept = {mode: client("kept", address, KEPT) for mode, address in ADDRESSES.items()}
        said = event()
    seen = [f"{name}: {traffic.lasted(limit)}" for name, traffic in new.items()]
    seen += [f"{name}: {traffic.all_live()}" for name, traffic in kept.items()]
    return "; ".join([*([said] if said else []), *seen])


def power_off(pair):
    """The QEMU process is killed, once every flow is known to the other node."""
    home(pair)
    seen = watched(pair, pair.a.machine.power_off, LIMIT)
    require(pair.b.holds(), "lb-b does not hold the address")
    return seen


def power_on(pair):
    """It boots, and takes the addresses back when preempt_delay is over."""
    def boot():
        pair.a.machine.start()
        seconds = pair.a.machine.wait()
        home(pair)
        return f"booted in {seconds:.0f} s"

    return watched(pair, boot, LIMIT)


def pulled_cable(pair):
    """The link goes down, which the node sees for itself; the other one takes over, and hands back."""
    home(pair)

    def pull():
        pair.a.machine.cable(0, plugged=False)
        wait_for(lambda: pair.b.holds(), 10, "lb-b has not taken over")

    seen = watched(pair, pull, LIMIT)
    require(not pair.a.holds(), "lb-a still has the address on its dead link")
    return seen


def plugged_in(pair):
    def plug():
        pair.a.machine.cable(0, plugged=True)
        home(pair)

    return watched(pair, plug, LIMIT)


def planned(pair):
    """`lb vrrp yield`, as README has it: no packet is lost."""
    home(pair)

    def give():
        pair.a.check("sudo lb vrrp yield")
        require(pair.holders() == ["lb-b"], f"the address is on {pair.holders()}")

    seen = watched(pair, give, LIMIT / 2)
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
