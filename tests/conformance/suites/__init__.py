"""Protocol suites that share no code with lb: they speak raw bytes over sockets, from the RFCs alone."""
