"""The harness of benches/failover."""
