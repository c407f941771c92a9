"""From two bare machines to a pair, as README's "A pair in five minutes" says it."""

import readme
from pair import CONFIG, VIP
from steps import Step, require, wait_for
from traffic import Pings


def boot(pair):
    return pair.boot()


def install(pair):
    """Step 1 of README, in the folder that holds the package."""
    command = readme.chapters()[1].block
    pair.on_both(lambda node: node.check(f"cd /root && {command}", 300))
    for node in pair.nodes:
        require(node.state() == "inactive", f"{node.name}: without a configuration the unit is {node.state()}")
    return pair.deb.name


def configure(pair):
    """Steps 2 and 3: one file, a secret, and both copied to the other node."""
    chapters = readme.chapters()
    pair.a.machine.put(CONFIG, chapters[2].block)
    for script in chapters[3].blocks:
        pair.a.check(f"set -e -o pipefail\n{script}")
    for node in pair.nodes:
        secret = node.check("stat -c '%U:%G %a' /etc/lb/sync.key")
        require(secret == "root:lb 640", f"{node.name}: the secret is {secret}")
    files = {node.check("cat /etc/lb/lb.yaml /etc/lb/sync.key | sha256sum") for node in pair.nodes}
    require(len(files) == 1, "the nodes have different files")
    return f"{len(chapters[3].blocks)} scripts on lb-a"


def open_firewall(pair):
    """Step 4, on both nodes, and kept for the next boot."""
    for node in pair.nodes:
        node.check(f"set -e\n{readme.chapters()[4].block}")
        node.keep_firewall()
    return "kept for the next boot as well"


def ask_and_start(pair):
    """Step 5, on each machine."""
    pair.on_both(lambda node: node.check(f"set -e\n{readme.chapters()[5].block}", 180))
    wait_for(lambda: (pair.a.role(), pair.b.role()) == ("active", "backup"), 60,
             "lb-a should become active, lb-b backup")
    return "lb-a is active, lb-b is backup"


def clients(pair):
    require(pair.holders() == ["lb-a"], f"the address is on {pair.holders()}")
    wait_for(lambda: "2 of 2 available" in pair.a.check("lb status"), 30, "the backends are not up")
    return pair.served(f"http://{VIP}/")


def see_it_move(pair):
    """Step 6: a ping from the client while lb-a hands over to lb-b, and lb-b to lb-a."""
    command = readme.chapters()[6].quoted("sudo lb vrrp yield")
    with Pings(pair.client, VIP) as pings:
        for node, other in ((pair.a, "lb-b"), (pair.b, "lb-a")):
            node.check(command)
            require(pair.holders() == [other], f"the address is on {pair.holders()}")
    seen = f"{pings.lost} of {pings.sent} pings lost"
    require(not pings.lost, seen)
    return f"there and back: {seen}"


STEPS = [
    Step("two Debians, and a real server, boot", boot),
    Step("apt installs the package, and starts nothing", install),
    Step("README's file and secret stand on both nodes", configure),
    Step("README's rules go into a firewall that drops", open_firewall),
    Step("doctor finds no problem, the unit starts", ask_and_start),
    Step("a client is served through the virtual address", clients),
    Step("README's handover loses no ping", see_it_move),
]
SHORT = STEPS[:-1]
