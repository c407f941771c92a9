"""The site that all steps share: two nodes, a client, two real servers, two Ethernet segments.

            public 203.0.113.0/24                          inside 10.0.0.0/24
    client .50 ──┬── .2 lb-a (Debian 12) .2 ──┬
                 ├── .3 lb-b (Debian 13) .3 ──┤
                 ├── .21 rs-1 (Debian 13) .11 ┤
                 └── .22 rs-2 (a namespace) .12
"""

import pathlib
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Callable

import packages
import readme
from guests import machine, network, root
from steps import require, wait_for
from waiting import Waiting

HERE = pathlib.Path(__file__).parent
VIP = "203.0.113.10"
NODES = ("lb-a", "lb-b")
CONFIG = "/etc/lb/lb.yaml"
# A package that apt takes for an upgrade, where each node has it.
LAYER4 = (HERE / "layer4.yaml").read_text()
NEWER = "/root/newer/lb.deb"

# A careful administrator's: what is not wanted is dropped, so that README's rules have something to open.
FIREWALL = """#!/usr/sbin/nft -f
flush ruleset
table inet filter {
    chain input {
        type filter hook input priority filter; policy drop;
        iifname "lo" accept
        ct state established,related accept
        meta l4proto { 1, 58 } accept
        tcp dport { 22, 443, 9600 } accept
    }
    chain forward {
        type filter hook forward priority filter; policy accept;
    }
    chain output {
        type filter hook output priority filter; policy accept;
    }
}
"""

HOSTS = """127.0.0.1 localhost
203.0.113.2 lb-a
203.0.113.3 lb-b
203.0.113.21 rs-1
"""


WEB_SERVICE = "[Service]\nExecStart=/usr/bin/python3 /usr/local/lib/server.py rs-1 80 8080\n"


def networkd(card: str, *lines: str) -> dict[str, str]:
    """One card as systemd-networkd is told of it."""
    network_lines = "\n".join(["IPv6AcceptRA=no", *lines])
    return {f"/etc/systemd/network/10-{card}.network": f"[Match]\nName={card}\n[Network]\n{network_lines}\n"}


def addresses(last: int, inside: int) -> dict[str, str]:
    return {
        **networkd("eth0", f"Address=203.0.113.{last}/24", f"Address=2001:db8:1::{last:x}/64"),
        **networkd("eth1", f"Address=10.0.0.{inside}/24", f"Address=2001:db8:2::{inside:x}/64"),
    }


class Node:
    """One of the two machines that lb runs on, as an administrator at its keyboard."""

    def __init__(self, name: str, image: root.Image, last: int, directory: pathlib.Path, debs: dict[str, bytes]):
        self.name = name
        self.address = f"203.0.113.{last}"
        files = {
            **addresses(last, last),
            "/etc/hosts": HOSTS,
            "/etc/nftables.conf": FIREWALL,
            # apt asks nobody, and there is nobody to ask on the network.
            "/etc/apt/apt.conf.d/90test": 'APT::Get::Assume-Yes "true";\nDPkg::Options { "--force-confold"; };\n',
            "/etc/apt/sources.list": "",
            **debs,
        }
        # One node by XDP, the other by tc, as `attach: auto` has it.
        options = machine.SEGMENTS if name == "lb-a" else ""
        cards = [
            machine.Nic("public", f"52:54:00:00:01:{last:02x}", options=options),
            machine.Nic("inside", f"52:54:00:00:02:{last:02x}", options=options),
        ]
        self.machine = machine.Machine(name, image, cards, directory, files)
        self.run, self.check = self.machine.run, self.machine.check

    def holds(self, vip: str = VIP) -> bool:
        return f" {vip}/" in self.check("ip -o -4 address show; ip -o -6 address show")

    def role(self) -> str:
        """As `lb vrrp status` has it, in one word for the virtual router `public`."""
        answer = self.run("lb vrrp status")
        found = re.search(r"\b(active|backup|fault|init)\b", answer.output)
        return found[1] if found and not answer.code else f"unknown ({answer.output.strip()[:80]})"

    def restarts(self) -> int:
        return int(self.check("systemctl show lb -p NRestarts --value"))

    def state(self) -> str:
        return self.run("systemctl is-active lb").output.strip()

    def main_pid(self) -> int:
        return int(self.check("systemctl show lb -p MainPID --value"))

    def journal(self) -> "Journal":
        return Journal(self)

    def complaint(self) -> str:
        """The last thing that lb said before it gave up."""
        lines = self.run("journalctl -u lb -o cat --no-pager -n 40").output.splitlines()
        return next((line for line in reversed(lines) if "ERROR" in line or "error" in line), lines[-1] if lines else "")

    def hooks(self) -> list[tuple[str, str, str]]:
        return hooks(self.check("lb status"))

    def told_hooks(self) -> str:
        """Which hook each interface of layer 4 got, and why, as `lb status` says it."""
        return ", ".join(f"{name} by {hook} ({why})" for name, hook, why in self.hooks())

    def keep_firewall(self) -> None:
        """The rules as they are, for the next boot, as README advises."""
        self.check("(echo 'flush ruleset'; nft list ruleset) >/run/rules && cp /run/rules /etc/nftables.conf")

    def prepare_layer4(self) -> None:
        """What README asks for besides: virtual routers may speak inside and by IPv6 too, and the host routes."""
        self.check("set -e\n" + readme.chapters()[4].block.replace("203.0.113.", "10.0.0."))
        self.check("nft insert rule inet filter input ip6 saddr fe80::/10 meta l4proto 112 accept")
        self.keep_firewall()
        self.check("echo net.ipv4.ip_forward=1 >/etc/sysctl.d/90-lb.conf; sysctl -q --system")

    def configure(self, text: str) -> None:
        self.machine.put(CONFIG, text)
        self.check(f"chgrp lb {CONFIG}; chmod 640 {CONFIG}")


def hooks(status: str) -> list[tuple[str, str, str]]:
    """Each interface of layer 4, its hook, and why that one, from what `lb status` prints."""
    return re.findall(r"^ *interface (\S+) by (\w+): (.*)$", status, re.MULTILINE)


class Journal:
    """What the unit has logged since this was made."""

    def __init__(self, node: Node):
        self.node = node
        shown = node.run("journalctl -n 0 --show-cursor -o cat").output
        self.cursor = shown.rsplit("-- cursor: ", 1)[-1].strip()

    def text(self, extra: str = "-u lb") -> str:
        return self.node.run(f"journalctl {extra} -o cat --no-pager --after-cursor='{self.cursor}'").output

    def says(self, pattern: str, seconds: float = 20) -> str:
        """The line that matches, as soon as there is one."""
        def look():
            return next((line for line in self.text().splitlines() if re.search(pattern, line)), None)

        return wait_for(look, seconds, f"the journal of {self.node.name} does not say `{pattern}`")


def second_server() -> network.Host:
    server = network.Host("rs-2")
    server.plug("eth0", "public", "203.0.113.22/24", "2001:db8:1::22/64")
    server.plug("eth1", "inside", "10.0.0.12/24", "2001:db8:2::12/64")
    server.start(f"{sys.executable} {HERE / 'server.py'} rs-2 80 8080")
    return server


def configure_both(pair: "Pair", text: str) -> None:
    """The file on both nodes, the unit anew; the standby first, so that somebody holds the addresses."""
    for node in sorted(pair.nodes, key=lambda node: node.holds()):
        node.configure(text)
        node.check("systemctl reset-failed lb; systemctl restart lb", 120)


class Pair:
    def __init__(self, deb: pathlib.Path, directory: pathlib.Path):
        self.deb, self.directory = deb, directory
        bookworm, trixie = root.image(root.BOOKWORM), root.image(root.TRIXIE)
        for segment in ("public", "inside"):
            network.bridge(segment)
        self.client = network.Host("client")
        self.client.plug("eth0", "public", "203.0.113.50/24", "2001:db8:1::50/64")
        debs = {
            f"/root/{deb.name}": deb.read_bytes(),
            NEWER: packages.newer(deb, directory).read_bytes(),
        }
        self.a = Node("lb-a", bookworm, 2, directory, debs)
        self.b = Node("lb-b", trixie, 3, directory, debs)
        self.real_server = self.first_server(trixie)
        self.second = second_server()
        self.waiting = Waiting(self.machines)

    @property
    def nodes(self) -> tuple[Node, Node]:
        return self.a, self.b

    @property
    def machines(self) -> list[machine.Machine]:
        return [self.a.machine, self.b.machine, self.real_server]

    def first_server(self, image: root.Image) -> machine.Machine:
        files = {
            **addresses(21, 11),
            "/etc/hosts": HOSTS,
            "/etc/nftables.conf": "flush ruleset\n",
            f"/root/{self.deb.name}": self.deb.read_bytes(),
            "/usr/local/lib/server.py": (HERE / "server.py").read_text(),
            "/etc/systemd/system/web.service": WEB_SERVICE,
            "/etc/systemd/system/multi-user.target.d/web.conf": "[Unit]\nWants=web.service\n",
        }
        cards = [machine.Nic("public", "52:54:00:00:01:21"), machine.Nic("inside", "52:54:00:00:02:11")]
        return machine.Machine("rs-1", image, cards, self.directory, files, memory=512)

    def boot(self) -> str:
        for guest in self.machines:
            guest.install()
            guest.start()
        return ", ".join(f"{guest.name} after {guest.wait():.0f} s" for guest in self.machines)

    def switch_off(self) -> None:
        for guest in self.machines:
            if guest.running:
                guest.power_off()

    # -- what anybody can see from outside

    def holders(self, vip: str = VIP) -> list[str]:
        return [node.name for node in self.nodes if node.holds(vip)]

    def active(self, seconds: float = 30) -> Node:
        """The node that holds the address, as soon as it is one."""
        def only():
            holders = [node for node in self.nodes if node.machine.running and node.holds()]
            return holders[0] if len(holders) == 1 else None

        return wait_for(only, seconds, "not exactly one node holds the virtual address")

    def on_both(self, work: Callable[[Node], object]) -> list:
        """The same on both nodes at once."""
        with ThreadPoolExecutor() as pool:
            return list(pool.map(work, self.nodes))

    def standby_of(self, node: Node) -> Node:
        return self.b if node is self.a else self.a

    def curl(self, url: str, count: int = 1, seconds: float = 5) -> list[str]:
        """What came back, request by request; what did not, as curl's error."""
        command = f"for i in $(seq {count}); do curl -sS -m {seconds} {url} 2>&1 || echo; done"
        return self.client.run(command, count * seconds + 10).splitlines()

    def served(self, url: str, count: int = 10) -> str:
        answers = self.curl(url, count)
        good = [line for line in answers if line.startswith("rs-")]
        others = sorted({re.sub(r"after \d+ ms", "", line) for line in answers if line and line not in good})
        require(len(good) == count, f"{len(good)} of {count} requests served: {'; '.join(others[:2])}")
        names = sorted({line.split()[0] for line in good})
        return f"{count} of {count} served by {' and '.join(names)}"
