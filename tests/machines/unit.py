"""The unit: start, reload, restart, stop, and the watchdog, each on a node that clients use."""

import pathlib
import re

from failover import comes_back, home, limit
from layer4 import ADDRESSES
from pair import CONFIG, LAYER4, VIP, configure_both
from steps import Step, require, wait_for
from traffic import Traffic

FREEZE = pathlib.Path(__file__).with_name("freeze.py")
# WatchdogSec=30s, and a guest whose seconds are long.
WATCHDOG_SECONDS = 120
ROBOTS = 'routes: [{ path: /robots.txt, respond: { status: 200, body: "rs-none\\n" } }, { pool: web }]'
BROKEN = "frontends:\n  web: { mode: http, listen: nowhere }\n"


def settle(pair) -> None:
    """Both nodes run the file of layer 4, and lb-a is active."""
    for node in pair.nodes:
        # The verifier of an emulated kernel takes half a minute for the programs.
        wait_for(lambda: node.state() != "activating", 180, f"{node.name} is still starting")
        if node.state() != "active" or node.check(f"cat {CONFIG}") != LAYER4.strip():
            configure_both(pair, LAYER4)
            break
    home(pair)


def reload_good(pair):
    settle(pair)
    changed = LAYER4.replace('"203.0.113.10:80", pool: web }', f'"203.0.113.10:80", {ROBOTS} }}')
    require(changed != LAYER4, "the file of the test has no place for another route")
    with Traffic(pair, "new", VIP) as seen:
        for node in pair.nodes:
            node.configure(changed)
            node.check("systemctl reload lb")
    answer = pair.curl(f"http://{VIP}/robots.txt")
    require(answer == ["rs-none"], f"the new route answers {answer}")
    seen.none_refused()
    for node in pair.nodes:
        node.configure(LAYER4)
        node.check("systemctl reload lb")
    return f"the new route answers; {seen.lasted(limit(pair))}"


def reload_broken(pair):
    settle(pair)
    journal = pair.a.journal()
    pair.a.configure(BROKEN)
    with Traffic(pair, "new", VIP) as seen:
        answer = pair.a.run("systemctl reload lb")
    require(answer.code, "`systemctl reload` of a broken file succeeds")
    told = journal.says("nowhere")
    require(pair.a.state() == "active", f"the unit is {pair.a.state()}")
    seen.none_refused()
    pair.a.configure(LAYER4)
    pair.a.check("systemctl reload lb")
    return f"refused, and told: {told.strip()[:70]}; {seen.lasted(limit(pair))}"


def start_broken(pair):
    """On the standby: exit code 2, and no second try."""
    settle(pair)
    pair.b.configure(BROKEN)
    pair.b.run("systemctl restart lb", 120)
    state = wait_for(lambda: pair.b.state() == "failed" and "failed", 60, lambda: f"the unit is {pair.b.state()}")
    status = pair.b.check("systemctl show lb -p ExecMainStatus --value")
    restarts = pair.b.restarts()
    require((status, restarts) == ("2", 0), f"exit code {status}, {restarts} restarts")
    settle(pair)
    return f"{state}, exit code {status}, {restarts} restarts"


def restart(pair):
    """On the active node: its addresses are handed over, and its flows go on."""
    settle(pair)

    def event():
        pair.a.check("systemctl restart lb", 120)

    return with_clients(pair, event)


def stop(pair):
    settle(pair)

    def event():
        pair.a.check("systemctl stop lb", 120)
        require(pair.holders() == ["lb-b"], f"the address is on {pair.holders()}")

    return with_clients(pair, event, share=0.5)


def start(pair):
    def event():
        pair.a.check("systemctl start lb", 120)
        return comes_back(pair)

    return with_clients(pair, event)


def watchdog(freeze):
    """systemd ends an lb that does not answer, and starts it again; clients have gone to the other node before."""

    def step(pair):
        settle(pair)
        pid, journal = pair.a.main_pid(), pair.a.journal()
        what = freeze(pair.a, pid)
        wait_for(lambda: pair.a.main_pid() not in (0, pid), WATCHDOG_SECONDS, "the watchdog has not fired")
        told = journal.says("[Ww]atchdog")
        settle(pair)
        return f"{what}: {told.strip()[:70]}"

    return step


def process(node, pid):
    node.check(f"kill -STOP {pid}")
    return "the process is stopped"


def worker(node, pid):
    node.machine.put("/root/freeze.py", FREEZE.read_text())
    threads = node.check(f"grep -l '^lb-worker' /proc/{pid}/task/*/comm")
    thread = re.findall(r"/task/(\d+)/", threads)[0]
    node.check(f"(setsid python3 /root/freeze.py {thread} {2 * WATCHDOG_SECONDS} >/run/frozen 2>&1 &)"
               "; until grep -q . /run/frozen; do sleep 0.1; done; grep -q frozen /run/frozen")
    return "one worker is stuck"


def with_clients(pair, event, share=1.0):
    allowed = share * limit(pair)
    with Traffic(pair, "new", VIP) as web, Traffic(pair, "kept", ADDRESSES["dr"], connections=10) as flows:
        said = event()
    seen = f"layer 7: {web.lasted(allowed)}; flows: {flows.all_live()}"
    return f"{seen}; {said}" if said else seen


STEPS = [
    Step("systemctl reload of a good file", reload_good),
    Step("systemctl reload of a broken file", reload_broken),
    Step("a start with a broken file", start_broken),
    Step("systemctl restart of the active node", restart),
    Step("systemctl stop of the active node", stop),
    Step("systemctl start", start),
    Step("the watchdog fires on a stopped process", watchdog(process)),
    Step("the watchdog fires on a stuck worker", watchdog(worker)),
]
