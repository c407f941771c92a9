"""Runs one case against one proxy and says what came of it."""

import json
import pathlib
import re
import subprocess

from .process import OTHER_CPU, Process
from .programs import port_of


class Wrong(Exception):
    """A response was missing or not what it had to be: the row is void."""


def measure(case, proxy, site, load, requests):
    if case.h2_streams:
        return measure_h2(case, proxy, site, requests)
    if case.idle:
        return measure_idle(case, proxy, site, load)
    return measure_http1(case, proxy, site, load, requests)


def measure_http1(case, proxy, site, load, requests):
    with Load(load, case, site, requests) as generator:
        generator.expect("ready")
        proxy.begin()
        generator.proceed()
        done = generator.expect("done")
        cpu = proxy.end()
        rss, pss = proxy.memory()
    result = done["result"]
    check_http1(case, result, requests)
    return {
        "cpu_per_100k": cpu / requests * 100_000,
        "requests_per_second": requests / done["seconds"],
        "p50_us": result["p50_us"],
        "p99_us": result["p99_us"],
        "rss": rss,
        "pss": pss,
        "full_handshakes": result["full_handshakes"],
    }


def check_http1(case, result, requests):
    if result["correct"] != requests:
        raise Wrong(json.dumps(result))
    new = requests if case.close else 0
    if result["connections"] != new and case.close:
        raise Wrong(f"{result['connections']} connections for {requests} requests")
    if case.tls and (result["resumed_handshakes"] or result["full_handshakes"] != result["connections"]):
        raise Wrong(f"handshakes were resumed: {json.dumps(result)}")


def measure_idle(case, proxy, site, load):
    """Memory before any connection, and with all of them waiting; then every one must still answer."""
    warm(case, site, load)
    rss, pss = proxy.memory()
    with Load(load, case, site, case.connections) as generator:
        opened = generator.expect("ready")["result"]
        check_http1(case, opened, case.connections)
        rss_idle, pss_idle = proxy.memory()
        generator.proceed()
        answered = generator.expect("done")["result"]
    if answered["correct"] != case.connections or answered["connections"]:
        raise Wrong(f"not all idle connections were kept: {json.dumps(answered)}")
    return {
        "rss_per_connection": (rss_idle - rss) / case.connections,
        "pss_per_connection": (pss_idle - pss) / case.connections,
        "rss": rss_idle,
        "pss": pss_idle,
    }


def warm(case, site, load):
    """What a proxy allocates for its first connections is not the price of an idle one."""
    with Load(load, case, site, 64, connections=64) as generator:
        generator.expect("ready")


class Load:
    """The generator of `load/`, and the words it exchanges."""

    def __init__(self, binary, case, site, requests, connections=None):
        connections = connections or case.connections
        command = [binary, f"127.0.0.1:{port_of(case)}", "--path", case.path, "--body", case.body]
        command += ["--connections", connections, "--requests", requests, "--warmup", max(requests // 20, connections)]
        command += ["--ca", site.directory / "cert.pem"] if case.tls else []
        command += ["--close"] if case.close else []
        command += ["--idle", 64] if case.idle else []
        self.log = site.directory / "load.out"
        self.process = Process(OTHER_CPU, command, self.log, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.child.stdin.close()
        self.process.stop()
        self.process.child.stdout.close()

    def expect(self, event):
        line = self.process.child.stdout.readline()
        if not line:
            raise Wrong(f"the generator gave up: {self.log.read_text()[-500:]}")
        message = json.loads(line)
        if message["event"] != event:
            raise Wrong(f"expected {event}, got {line}")
        return message

    def proceed(self):
        self.process.child.stdin.write("\n")
        self.process.child.stdin.flush()


def measure_h2(case, proxy, site, requests):
    latencies = site.directory / "h2load.log"
    latencies.unlink(missing_ok=True)
    command = ["-n", requests, "-c", case.connections, "-m", case.h2_streams, "--log-file", latencies]
    command += [f"https://localhost:{port_of(case)}{case.path}"]
    proxy.begin()
    output = subprocess.run(
        ["taskset", "-c", OTHER_CPU, "h2load", *map(str, command)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    ).stdout
    cpu = proxy.end()
    rss, pss = proxy.memory()
    check_h2(output, case, requests)
    p50, p99 = percentiles(latencies)
    return {
        "cpu_per_100k": cpu / requests * 100_000,
        "requests_per_second": float(re.search(r"([\d.]+) req/s", output)[1]),
        "p50_us": p50,
        "p99_us": p99,
        "rss": rss,
        "pss": pss,
        "full_handshakes": case.connections,
    }


def check_h2(output, case, requests):
    """h2load offers no session, so that its handshakes are full ones."""
    succeeded = re.search(r"(\d+) succeeded", output)
    ok = re.search(r"(\d+) 2xx", output)
    data = re.search(r"\((\d+)\) data", output)
    protocol = re.search(r"Application protocol: (\S+)", output)
    if not (succeeded and ok and data and protocol):
        raise Wrong(output[-500:])
    if (int(succeeded[1]), int(ok[1]), protocol[1]) != (requests, requests, "h2"):
        requests_line = re.search(r"requests: .*", output)
        raise Wrong(f"{protocol[1]}, {requests_line[0] if requests_line else output[-300:]}")
    if int(data[1]) != requests * case.body:
        raise Wrong(f"{data[1]} bytes of bodies, not {requests * case.body}")


def percentiles(log):
    """Of h2load's lines: start, status, microseconds."""
    rows = pathlib.Path(log).read_text().splitlines()
    sorted_us = sorted(int(row.split("\t")[2]) for row in rows)
    return sorted_us[(len(sorted_us) - 1) // 2], sorted_us[(len(sorted_us) - 1) * 99 // 100]
