"""The side-by-side benchmark of layer 7; `benches/l7/README.md` says what is measured and why."""
