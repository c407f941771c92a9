# Everything a newcomer needs: `make demo` and `make test`. Each target installs what is missing (see .ci/setup).
CARGO ?= cargo
FOR ?=
ONLY ?=
SECONDS ?= 60
PREFIX ?= /usr/local
DESTDIR ?=
SHARED = $(addprefix share/,bash-completion/completions zsh/site-functions fish/vendor_completions.d)

.PHONY: help build demo demo-pair test test-machines lint fuzz bench-failover bench-l4 bench-l7 install deb clean
.DEFAULT_GOAL := help

help: ## show this
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build target/release/lb
	@.ci/setup build
	$(CARGO) build --release --bin lb

demo: build ## balance over three toy servers inside the process; FOR=20s ends by itself
	target/release/lb demo $(if $(FOR),--for $(FOR))

demo-pair: build ## two nodes in namespaces, and what clients see when the active one goes (root); INTERVAL=10ms
	@.ci/setup demo-pair
	deploy/demo-pair/run $(if $(INTERVAL),--interval $(INTERVAL))

test: ## run every test and print the totals
	@.ci/setup build test fuzz
	@.ci/test

test-machines: ## two nodes, a client and real servers as machines that boot (root); ONLY="install failover"
	@.ci/setup build machines
	tests/machines/run $(ONLY)

lint: ## formatting, clippy, documentation, shell and Python syntax
	@.ci/setup build lint
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" $(CARGO) doc --workspace --no-deps --document-private-items --quiet
	shellcheck $$(git ls-files .ci 'benches/*.sh' 'deploy/*.sh' deploy/debian/p* deploy/real-server/lb-real-server 'tests/*.sh')
	{ git ls-files -z '*.py'; git grep -Ilz '^#!/usr/bin/env python3'; } | xargs -0r /usr/bin/python3 -B -c 'import ast, sys; [ast.parse(open(f).read(), f) for f in sys.argv[1:]]'

fuzz: ## run each fuzz target for SECONDS (60)
	@.ci/setup build fuzz
	@.ci/fuzz $(SECONDS)

bench-failover: build ## what a client sees of a failover, beside keepalived (root)
	@.ci/setup build bench-failover
	benches/failover/run

bench-l4: ## price of a packet, and packets per second against nftables (root)
	@.ci/setup build bench-l4
	benches/l4/run

bench-l7: build ## compare with HAProxy and nginx, one pinned worker each
	@.ci/setup bench
	benches/l7/run

# Not after build: root, who installs, may have no Rust toolchain, and should leave nothing in target/.
install: ## install what was built, its man pages, completions and systemd unit below PREFIX
	@test -x target/release/lb || { echo "there is nothing to install yet: make build" >&2; exit 1; }
	install -Dm755 target/release/lb $(DESTDIR)$(PREFIX)/bin/lb
	install -Dm644 deploy/schema/lb.schema.json $(DESTDIR)$(PREFIX)/share/lb/lb.schema.json
	install -Dm644 deploy/systemd/lb.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/lb.conf
	install -d $(addprefix $(DESTDIR)$(PREFIX)/,lib/systemd/system share/man/man5 $(SHARED))
	sed 's|/usr/bin/lb|$(PREFIX)/bin/lb|' deploy/systemd/lb.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/lb.service
	target/release/lb man $(DESTDIR)$(PREFIX)/share/man/man1
	target/release/lb man --config >$(DESTDIR)$(PREFIX)/share/man/man5/lb.yaml.5
	target/release/lb completions bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/lb
	target/release/lb completions zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_lb
	target/release/lb completions fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/lb.fish

deb: build ## a Debian package, in target/debian
	@command -v cargo-deb >/dev/null || $(CARGO) install --locked cargo-deb
	rm -rf target/share
	install -d target/share/man/man5 target/share/completions
	target/release/lb man target/share/man/man1
	target/release/lb man --config >target/share/man/man5/lb.yaml.5
	target/release/lb completions bash >target/share/completions/lb.bash
	target/release/lb completions zsh >target/share/completions/_lb
	target/release/lb completions fish >target/share/completions/lb.fish
	$(CARGO) deb --no-build

clean: ## remove what was built
	$(CARGO) clean
	rm -rf tests/fuzz/target
