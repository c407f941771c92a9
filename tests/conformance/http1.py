#!/usr/bin/env python3
"""HTTP/1 framing: raw requests through a proxy to an origin that records what arrives.

Without arguments it starts lb; `--against haproxy` or `nginx` starts those, which proves the suite;
`--port N --origin-port M` takes a frontend that already runs. Exit status 0: every case passed.
"""

import sys
import types

sys.dont_write_bytecode = True

from suites import frontends, report  # noqa: E402
from suites.http1 import bad_responses, chunked, connection, fields, length, request_line, responses, target_and_host  # noqa: E402
from suites.http1.origin import Origin  # noqa: E402

SECTIONS = [request_line, target_and_host, fields, length, chunked, connection, responses, bad_responses]


def main():
    options = frontends.arguments("HTTP/1 framing against RFC 9110 and 9112").parse_args()
    cases = report.choose([case for section in SECTIONS for case in section.cases()], options)
    origin = Origin(options.origin_port)
    with frontends.frontend(options, origin.port) as (port, check_alive):
        subject = types.SimpleNamespace(port=port, origin=origin, check_alive=check_alive)
        failed = report.run_all(cases, subject, options)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
