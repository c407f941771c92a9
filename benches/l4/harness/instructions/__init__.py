"""Instructions per packet, counted in a guest: `benches/l4/ipvs`."""
