"""HTTP/1 framing: raw requests through the proxy to an origin that records what arrives."""
