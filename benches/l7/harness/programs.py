"""The programs that are run: the origin, the three proxies, and what they find on disk."""

import pathlib
import string
import subprocess

from .process import OTHER_CPU, PROXY_CPU, Process

CONFIGS = pathlib.Path(__file__).resolve().parent.parent / "configs"

PORTS = {"origin_port": 9000, "plain_port": 8080, "tls_port": 8443, "metrics_port": 9600}

# How users of each peer tune for bodies of the size; everything else is common to all cases. README.md has the figures
# of what was tried.
TUNING = {
    "nginx": {
        "small": {"buffers": ""},
        "medium": {"buffers": "proxy_buffer_size 32k; proxy_buffers 8 32k; proxy_busy_buffers_size 64k;"},
        "large": {
            "buffers": "proxy_buffering off; proxy_buffer_size 512k; proxy_buffers 8 512k; proxy_busy_buffers_size 1m;"
        },
    },
    "haproxy": {
        "small": {"buffers": "", "splice": ""},
        "medium": {"buffers": "tune.bufsize 32768", "splice": ""},
        "large": {"buffers": "tune.bufsize 65536\n    tune.pipesize 262144", "splice": "option splice-response"},
    },
}


class Site:
    """A scratch directory with the certificate and the files that the origin serves."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        # Workers of nginx give up root and must still read the files.
        self.directory.chmod(0o755)
        www = self.directory / "www"
        www.mkdir()
        for size in (16 << 10, 1 << 20):
            (www / str(size)).write_bytes(b"x" * size)
        self.make_certificate()

    def make_certificate(self):
        key, cert = self.directory / "key.pem", self.directory / "cert.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
            + ["-keyout", key, "-out", cert, "-days", "30", "-subj", "/CN=localhost"]
            + ["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"],
            check=True,
            capture_output=True,
        )
        (self.directory / "both.pem").write_text(cert.read_text() + key.read_text())

    def configure(self, template, **values):
        """Fills a template of `configs/`; returns the file."""
        text = (CONFIGS / template).read_text()
        values = {**PORTS, "dir": self.directory, "body128": "x" * 128, **values}
        path = self.directory / template
        path.write_text(string.Template(text).substitute(values))
        return path


def start_origin(site):
    config = site.configure("origin.conf")
    origin = Process(OTHER_CPU, ["nginx", "-c", config], site.directory / "origin.out")
    origin.wait_for_port(PORTS["origin_port"])
    return origin


def start_proxy(name, case, site, lb, wrap=()):
    """`wrap`: a command that the proxy is started under, for the profile."""
    command, log = COMMANDS[name](site, case, lb), site.directory / f"{name}.out"
    proxy = Process(PROXY_CPU, [*wrap, *command], log)
    proxy.wait_for_port(port_of(case))
    return proxy


def port_of(case):
    return PORTS["tls_port" if case.tls else "plain_port"]


def haproxy(site, case, _lb):
    config = site.configure("haproxy.cfg", **TUNING["haproxy"][case.size])
    return ["haproxy", "-db", "-f", config]


def nginx(site, case, _lb):
    config = site.configure("nginx.conf", **TUNING["nginx"][case.size])
    return ["nginx", "-c", config]


def lb(site, _case, binary):
    return [binary, "run", "-c", site.configure("lb.yaml")]


COMMANDS = {"lb": lb, "haproxy": haproxy, "nginx": nginx}


def versions(lb_binary):
    return {
        "haproxy": first_line(["haproxy", "-v"]),
        "nginx": first_line(["nginx", "-v"]),
        "lb": first_line([lb_binary, "--version"]) if lb_binary else None,
        "h2load": first_line(["h2load", "--version"]),
        "openssl": first_line(["openssl", "version"]),
    }


def first_line(command):
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    return (result.stdout + result.stderr).splitlines()[0].strip()
