"""Layer 4 under the shipped unit: nat, direct return and tunnel, with real servers as README sets them up."""

import pathlib

from pair import LAYER4, VIP, configure_both
from steps import Step, require, wait_for

ADDRESSES = {"nat": "203.0.113.11", "dr": "203.0.113.12", "tunnel": "203.0.113.13"}
# Of each node, by what its cards can do (pair.py).
HOOKS = {"lb-a": "xdp", "lb-b": "tc"}
SCRIPT = pathlib.Path(__file__).parents[2] / "deploy/real-server/lb-real-server"
INSTALLED = "lb-real-server"


def real_servers(pair):
    """rs-1 with the package and IPIP; rs-2, which only gets direct return, with the script alone."""
    server = pair.real_server
    server.check(f"apt-get -q install -y /root/{pair.deb.name}", 300)
    server.check(f"{INSTALLED} start {ADDRESSES['dr']}")
    server.check(f"{INSTALLED} start --tunnel {ADDRESSES['tunnel']}")
    pair.second.run(f"{SCRIPT} start {ADDRESSES['dr']}")
    return server.check(f"{INSTALLED} status {ADDRESSES['dr']} {ADDRESSES['tunnel']}").replace("\n", "; ")


def start(pair):
    """A restart of the unit on each node, since a running lb has given up what layer 4 needs."""
    for node in pair.nodes:
        node.prepare_layer4()
    configure_both(pair, LAYER4)
    wait_for(lambda: not problems(pair), 60, lambda: f"doctor: {'; '.join(problems(pair))}")
    hooks = []
    for node in pair.nodes:
        require(node.state() == "active", f"{node.name}: the unit is {node.state()}: {node.complaint()}")
        require(node.restarts() == 0, f"{node.name}: systemd started it {node.restarts()} times again")
        chosen = {hook for _, hook, _ in node.hooks()}
        require(chosen == {HOOKS[node.name]}, f"{node.name}: {node.told_hooks()}")
        hooks.append(f"{node.name} ({node.check('uname -r').split('-')[0]}): {node.told_hooks()}")
    wait_for(lambda: pair.holders() == ["lb-a"], 60, lambda: f"the addresses are on {pair.holders()}, not on lb-a")
    return "; ".join(hooks)


def problems(pair) -> list[str]:
    """What doctor finds on either node once both run."""
    told = [(node.name, node.run("sudo lb doctor").output) for node in pair.nodes]
    return [f"{name}: {line}" for name, text in told for line in text.splitlines() if line.startswith("PROBLEM")]


def connection(mode):
    def curl(pair):
        return pair.served(f"http://{ADDRESSES[mode]}/")

    return curl


def layer7(pair):
    return f"{pair.served(f'http://{VIP}/')}; IPv6: {pair.served('http://[2001:db8:1::10]/')}"


STEPS = [
    Step("real servers with lb-real-server of the package", real_servers),
    Step("layer 4 starts under the unit, on both kernels", start),
    *(Step(f"a client is served through {mode}", connection(mode)) for mode in ADDRESSES),
    Step("and through layer 7 beside it", layer7),
]
