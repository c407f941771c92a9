#!/usr/bin/env python3
"""A web server that says its own name and the client's address: `server.py NAME PORT...`."""

import http.server
import socket
import sys
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # One write for an answer: two of them wait for each other's acknowledgement.
    wbufsize = -1

    def do_GET(self):
        body = f"{NAME} {self.client_address[0]}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 1024

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


NAME = sys.argv[1]
for port in sys.argv[2:]:
    threading.Thread(target=Server(("::", int(port)), Handler).serve_forever).start()
