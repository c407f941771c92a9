"""The parts of `make demo-pair`."""
