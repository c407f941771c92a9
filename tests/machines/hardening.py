"""The unit's hardening holds all that the file can ask for: whatever works, works as the user lb."""

import re

from failover import home
from pair import LAYER4, VIP, configure_both
from steps import Step, require, wait_for
from unit import settle

EXPOSURE = 2.5
# The five that the unit offers, of which a file with layer 4 and virtual routers needs all.
CAPABILITIES = {"cap_net_bind_service", "cap_net_admin", "cap_net_raw", "cap_bpf", "cap_perfmon"}

# It leaves word of who it was, where lb may write: a line for each kind of script.
SCRIPT = """#!/bin/sh
echo "$1 $(id -un) $(sed -n 's/^CapEff:\\t0*//p' /proc/self/status)" >>/var/log/lb/scripts
"""
# Patient, as an emulated machine may take a second to start a process.
SCRIPTED = [
    ("  public:\n", '  public:\n    virtual_mac: true\n    notify: [/usr/local/lib/lb-script, notify]\n'
                    '    track: [{ script: [/usr/local/lib/lb-script, track], interval: 10s, timeout: 9s }]\n'),
    ("  tunnel:\n    backends", "  tunnel:\n    check: { script: [/usr/local/lib/lb-script, check], interval: 10s, timeout: 9s }\n"
                                "    backends"),
    ("frontends:\n", 'frontends:\n  secure:\n    mode: http\n    listen: "203.0.113.10:443"\n    pool: web\n'
                     "    tls: { certificates: [{ cert: /etc/lb/site.crt, key: /etc/lb/site.key }] }\n"),
    ("metrics:", "log: { access: /var/log/lb/access.log }\nmetrics:"),
]
CERTIFICATE = ("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=test -days 2 "
               "-keyout /etc/lb/site.key -out /etc/lb/site.crt 2>/dev/null; "
               "chgrp lb /etc/lb/site.key; chmod 640 /etc/lb/site.key")


def full() -> str:
    text = LAYER4
    for old, new in SCRIPTED:
        require(old in text, f"the file of the test has no `{old.strip()}`")
        text = text.replace(old, new, 1)
    return text


def exposure(pair):
    seen = []
    for node in pair.nodes:
        told = node.run("systemd-analyze security --no-pager lb").output
        found = re.search(r"exposure level for lb\.service: ([\d.]+)", told)
        require(found, f"{node.name}: {told[-200:]}")
        seen.append(f"{node.name} {found[1]}")
        require(float(found[1]) <= EXPOSURE, f"{node.name}: exposure {found[1]}")
    return ", ".join(seen)


def everything(pair):
    """Layer 4, virtual routers with a virtual MAC, all kinds of scripts, TLS and an access log in one file."""
    for node in pair.nodes:
        node.machine.put("/usr/local/lib/lb-script", SCRIPT, "755")
        node.check(CERTIFICATE)
    configure_both(pair, full())
    home(pair)
    for node in pair.nodes:
        require((node.state(), node.restarts()) == ("active", 0), f"{node.name}: {node.state()}: {node.complaint()}")
    return f"active on both; {pair.served(f'http://{VIP}/')}"


def identity(pair):
    for node in pair.nodes:
        pid = node.main_pid()
        user = node.check(f"stat -c %U /proc/{pid}")
        told = node.check(f"getpcaps {pid} 2>&1")
        held = set(re.findall(r"cap_\w+", told))
        require(user == "lb", f"{node.name}: lb runs as {user}")
        require(held <= CAPABILITIES, f"{node.name}: it has {told}")
    return f"user lb, {', '.join(sorted(held))}"


def scripts(pair):
    def look():
        lines = set(pair.a.run("cat /var/log/lb/scripts").output.splitlines())
        return lines if {line.split()[0] for line in lines} >= {"check", "track", "notify"} else None

    lines = wait_for(look, 60, "not every kind of script has run")
    wrong = [line for line in lines if line.split()[1:] not in (["lb"], ["lb", "0"])]
    require(not wrong, f"ran with more than it should: {wrong}")
    return "checks, tracked scripts and hooks run as lb, without capabilities"


def tls(pair):
    answers = pair.curl(f"-k https://{VIP}/", 3)
    require(all(line.startswith("rs-") for line in answers), f"{answers}")
    return "served over TLS with a key of mode 640"


def virtual_mac(pair):
    shown = pair.client.run("ip neigh flush all; ping -c 1 -W 2 203.0.113.10 >/dev/null; ip neigh show 203.0.113.10")
    require("00:00:5e:00:01:33" in shown, f"the client sees {shown}")
    return "the client sees 00:00:5e:00:01:33"


def access_log(pair):
    """Written as lb, and again after logrotate of the system has been at it."""
    node = pair.a
    log = "/var/log/lb/access.log"
    pair.served(f"http://{VIP}/")
    wait_for(lambda: node.run(f"test -s {log}").code == 0, 10, "nothing is written")
    owner = node.check(f"stat -c '%U %a' {log}")
    require(owner == "lb 640", f"it belongs to {owner}")
    require(node.run("ls /etc/logrotate.d/lb").code == 0, "the package brings no file for logrotate")
    node.check("logrotate -f /etc/logrotate.d/lb")
    pair.served(f"http://{VIP}/")
    wait_for(lambda: node.run(f"test -s {log} && test -s {log}.1").code == 0, 10, "nothing is written after logrotate")
    return f"{owner}; written on after logrotate"


def as_before(pair):
    configure_both(pair, LAYER4)
    settle(pair)
    return "with the file of layer 4"


STEPS = [
    Step("systemd-analyze security", exposure),
    Step("all that a file can ask for starts under the unit", everything),
    Step("lb is an ordinary user with what it needs", identity),
    Step("checks, tracked scripts and hooks", scripts),
    Step("a TLS key that only the group lb can read", tls),
    Step("a virtual MAC", virtual_mac),
    Step("the access log, and logrotate", access_log),
    Step("the pair is as before", as_before),
]
