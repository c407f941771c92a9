#!/usr/bin/env python3
"""HTTP/2 from frames up: what a client may send, what it must not, and floods, through a proxy to an HTTP/1.1 origin.

In clear text with prior knowledge. Without arguments it starts lb; `--against haproxy` or `nginx` starts those;
`--port N --origin-port M` takes a frontend that already runs. Exit status 0: every case passed.
"""

import sys
import types

sys.dont_write_bytecode = True

from suites import frontends, report  # noqa: E402
from suites.http1.origin import Origin  # noqa: E402
from suites.http2 import compression, floods, flow, frames, messages, responses, streams  # noqa: E402

SECTIONS = [frames, flow, streams, messages, compression, responses, floods]


def main():
    options = frontends.arguments("HTTP/2 against RFC 9113 and 7541").parse_args()
    cases = report.choose([case for section in SECTIONS for case in section.cases()], options)
    origin = Origin(options.origin_port)
    with frontends.frontend(options, origin.port, h2=True) as (port, check_alive):
        subject = types.SimpleNamespace(port=port, origin=origin, check_alive=check_alive)
        failed = report.run_all(cases, subject, options)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
