"""The harness of benches/l4."""
