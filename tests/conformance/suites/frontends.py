"""The proxy under test: one that already runs, or lb, HAProxy or nginx started on free ports."""

import argparse
import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]

LB = """
workers: 1
frontends:
  http:
    mode: http
    listen: 127.0.0.1:{port}
    pool: origin
pools:
  origin:
    timeouts: {{ response: 5s, connect: 2s }}
    backends: ["127.0.0.1:{origin}"]
metrics: off
admin: {{ socket: {directory}/admin.sock }}
log: {{ level: error }}
"""

HAPROXY = """
defaults
    mode http
    timeout connect 2s
    timeout client 10s
    timeout server 5s
    timeout tunnel 10s
    retries 1
frontend http
    bind 127.0.0.1:{port} {bind}
    default_backend origin
backend origin
    server origin 127.0.0.1:{origin}
"""

NGINX = """
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
worker_processes 1;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {directory}/1;
    proxy_temp_path {directory}/2;
    fastcgi_temp_path {directory}/3;
    uwsgi_temp_path {directory}/4;
    scgi_temp_path {directory}/5;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    upstream origin {{ server 127.0.0.1:{origin}; keepalive 16; }}
    server {{
        listen 127.0.0.1:{port} {listen};
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_request_buffering off;
            proxy_buffering off;
        }}
    }}
}}
"""


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, help="a frontend that already runs and forwards to --origin-port")
    parser.add_argument("--origin-port", type=int, default=0, help="where the suite's own origin listens")
    parser.add_argument("--against", choices=["lb", "haproxy", "nginx"], default="lb", help="what is started (lb)")
    parser.add_argument("--lb", type=pathlib.Path, help="this binary instead of a debug build of the tree")
    parser.add_argument("--only", default="", help="cases whose section or name holds this text")
    parser.add_argument("--level", choices=["all", "must", "should", "policy"], default="all")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the cases that passed as well")
    return parser


@contextlib.contextmanager
def frontend(options, origin_port, h2=False):
    """Yields the port to connect to, and a function that raises when the frontend has died."""
    if options.port:
        yield options.port, lambda: None
        return
    with tempfile.TemporaryDirectory(prefix="lb-conformance-") as directory:
        port = free_port()
        os.chmod(directory, 0o755)
        command = COMMANDS[options.against](options, pathlib.Path(directory), port, origin_port, h2)
        with open(f"{directory}/log", "wb") as log:
            process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log)
        try:
            wait_for(port, process)
            yield port, lambda: check_alive(process, directory)
        finally:
            process.terminate()
            process.wait(10)


def check_alive(process, directory):
    if process.poll() is not None:
        log = pathlib.Path(directory, "log").read_text(errors="replace")
        raise SystemExit(f"the frontend died with status {process.returncode}:\n{log[-3000:]}")


def lb(options, directory, port, origin, _h2):
    config = directory / "lb.yaml"
    config.write_text(LB.format(port=port, origin=origin, directory=directory))
    return [options.lb or build(), "run", "-c", config]


def build():
    subprocess.run(["cargo", "build", "--quiet", "--bin", "lb"], check=True, cwd=REPOSITORY)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    return target / "debug" / "lb"


def haproxy(_options, directory, port, origin, h2):
    config = directory / "haproxy.cfg"
    config.write_text(HAPROXY.format(port=port, origin=origin, bind="proto h2" if h2 else ""))
    return [find("haproxy"), "-q", "-db", "-f", config]


def nginx(_options, directory, port, origin, h2):
    config = directory / "nginx.conf"
    config.write_text(NGINX.format(port=port, origin=origin, directory=directory, listen="http2" if h2 else ""))
    return [find("nginx"), "-e", directory / "error.log", "-c", config]


COMMANDS = {"lb": lb, "haproxy": haproxy, "nginx": nginx}


def find(program):
    return shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin:/sbin")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port, process, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit(f"the frontend did not start (exit status {process.poll()})")
