"""The harness of tests/kernels."""
