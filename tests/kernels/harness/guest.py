"""One guest: what is in it, and what it says."""

import pathlib
import re
import tempfile

from guests import initramfs, kernels, qemu

from .binaries import stripped

# Those of the host that start others as well (env, xargs, timeout): busybox's would prefer busybox's own programs.
PROGRAMS = """
    ip tc ethtool nft nsenter setpriv env sysctl curl nginx dnsmasq dig ping iperf3 xargs timeout
""".split()
MODULES = """
    veth bridge dummy bonding 8021q vrf macvlan ipip ip6_tunnel
    sch_ingress cls_bpf sch_netem sch_prio cls_u32
    nf_tables nft_ct nft_nat nft_chain_nat nft_reject_inet nft_meta_bridge nft_limit
""".split()
REAL_SERVER = kernels.REPOSITORY / "deploy" / "real-server" / "lb-real-server"

# One process for each test, as cargo nextest has it. What a test says is shown where it failed.
ONE = """#!/bin/sh
number=$1 limit=$2 tries=$3 binary=$4 test=$5 said=/tmp/said.$1
echo "job $number: begins"
began=$(date +%s)
for try in $(seq "$tries"); do
  timeout -s KILL "$limit" "$binary" --exact "$test" --include-ignored --nocapture >"$said" 2>&1 </dev/null
  status=$?
  [ $status -eq 0 ] && break
  tail -n 60 "$said" | sed "s|^|job $number: said: |"
done
rm "$said"
echo "job $number: ended with $status at try $try after $(($(date +%s) - began)) s"
"""

# A machine that is not told otherwise filters by reverse path and sends few ICMP errors; tests set what they need.
ALL = """#!/bin/sh
export LB_TEST_REQUIRE=1 LB_TEST_EMULATED=1 RUST_BACKTRACE=0
for step in /jobs/*; do
  xargs -P "${step##*.}" -L 1 /one <"$step"
done
"""


class Guest:
    def __init__(self, kernel, binaries):
        self.kernel = kernel
        self.binaries = binaries

    def run(self, jobs, seconds, ended):
        """`ended` is given each job, its exit status and the rest as it ends. Returns how the guest itself ended,
        and the jobs that were under way or had not begun by then."""
        listener = Listener(jobs, ended)
        with tempfile.TemporaryDirectory(prefix="lb-kernels-") as folder:
            image = self.image(jobs).write(pathlib.Path(folder, "initramfs"))
            shape = {"memory": 1536 + image.stat().st_size // 2**20, "cpus": 2}
            result = qemu.boot(self.kernel, image, seconds=seconds, say=listener.hear, **shape)
        return result, listener.running, listener.waiting

    def image(self, jobs):
        root = initramfs.Initramfs(self.kernel)
        root.program(*PROGRAMS)
        root.modules(*MODULES)
        root.text("/etc/passwd", "root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/:/bin/sh\nnobody:x:65534:65534::/:/\n")
        root.text("/etc/group", "root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n")
        root.file(REAL_SERVER)
        # Where the tests look for it.
        root.executable(stripped(self.binaries["lb"]), self.binaries["lb"])
        for name in {job.step.binary for job in jobs}:
            root.executable(stripped(self.binaries[name]), f"/tests/{'-'.join(name)}")
        steps = list(dict.fromkeys(job.step for job in jobs))
        for nth, step in enumerate(steps):
            lines = "".join(line(job) for job in jobs if job.step == step)
            root.text(f"/jobs/{nth:02}.{step.at_once}", lines)
        root.text("/one", ONE, 0o755)
        root.script(ALL)
        return root


def line(job):
    return f"{job.number} {job.step.limit} {job.step.tries} /tests/{'-'.join(job.step.binary)} {job.test}\n"


class Listener:
    """Takes apart what the guest says of its jobs."""

    def __init__(self, jobs, ended):
        self.waiting = {job.number: job for job in jobs}
        self.running = {}
        self.said = {}
        self.ended = ended

    def hear(self, text):
        match = re.match(r"job (\d+): (begins|said: |ended with )(.*)", text)
        if match is None:
            return
        number, what, rest = int(match.group(1)), match.group(2), match.group(3)
        if what == "begins":
            self.running[number] = self.waiting.pop(number)
            self.said[number] = []
        elif what == "said: ":
            self.said[number].append(rest)
        else:
            status, tries, seconds = re.match(r"(\d+) at try (\d+) after (\d+) s", rest).groups()
            self.ended(self.running.pop(number), int(status), int(tries), int(seconds), self.said.pop(number))
