# Everything a newcomer needs: `make demo` and `make test`. Each target installs what is missing (see .ci/setup).
CARGO ?= cargo
FOR ?=
KERNELS ?=
ONLY ?=
SECONDS ?= 60
PREFIX ?= /usr/local
DESTDIR ?=
ZSH_COMPLETIONS ?= share/zsh/site-functions
# Where cargo builds; many have it set in their environment.
LB = $(or $(CARGO_TARGET_DIR),target)/release/lb
FOLDERS = lib/systemd/system share/man/man5 share/man/man8 share/bash-completion/completions \
	share/fish/vendor_completions.d $(ZSH_COMPLETIONS)

.PHONY: help build demo demo-pair test test-kernels test-machines lint fuzz bench-failover bench-l4 bench-l4-ipvs bench-l7 install deb clean
.DEFAULT_GOAL := help

help: ## show this
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build lb, in target/release or below CARGO_TARGET_DIR
	@.ci/setup build
	$(CARGO) build --release --bin lb

demo: build ## balance over three toy servers inside the process; FOR=20s ends by itself
	$(LB) demo $(if $(FOR),--for $(FOR))

demo-pair: build ## two nodes in namespaces, and what clients see when the active one goes (root); INTERVAL=10ms
	@.ci/setup demo-pair
	deploy/demo-pair/run $(if $(INTERVAL),--interval $(INTERVAL))

test: ## run every test and print the totals
	@.ci/setup build test fuzz kernels
	@.ci/test

test-machines: ## two nodes, a client and real servers as machines that boot (root); ONLY="install failover"
	@.ci/setup build machines
	tests/machines/run $(ONLY)

test-kernels: ## layer 4 on Debian's kernels, under QEMU; KERNELS="6.1 sid" for some of them
	tests/kernels/run $(KERNELS)

lint: ## formatting, clippy, documentation, shell and Python syntax
	@.ci/setup build lint
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" $(CARGO) doc --workspace --no-deps --document-private-items --quiet
	shellcheck $$(git ls-files .ci 'benches/*.sh' 'deploy/*.sh' deploy/debian/[bp]* deploy/real-server/lb-real-server 'tests/*.sh')
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

bench-l4-ipvs: ## instructions per packet beside IPVS, counted in a guest
	@.ci/setup build kernels bench-l4-ipvs
	benches/l4/ipvs

bench-l7: build ## compare with HAProxy and nginx, one pinned worker each
	@.ci/setup bench
	benches/l7/run

# Not after build: root, who installs, may have no Rust toolchain, and should leave nothing in target/. What stands in
# /etc is the operator's: it is installed once.
install: ## install what was built, its man pages, completions and systemd units below PREFIX, and /etc/default/lb
	@test -x $(LB) || { echo "there is no $(LB): make build (sudo takes no CARGO_TARGET_DIR along: make install CARGO_TARGET_DIR=...)" >&2; exit 1; }
	install -Dm755 $(LB) $(DESTDIR)$(PREFIX)/bin/lb
	install -Dm755 deploy/real-server/lb-real-server $(DESTDIR)$(PREFIX)/sbin/lb-real-server
	install -Dm644 deploy/schema/lb.schema.json $(DESTDIR)$(PREFIX)/share/lb/lb.schema.json
	install -Dm644 deploy/systemd/lb.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/lb.conf
	install -d $(addprefix $(DESTDIR)$(PREFIX)/,$(FOLDERS))
	sed 's|/usr/bin/lb|$(PREFIX)/bin/lb|' deploy/systemd/lb.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/lb.service
	sed 's|/usr/sbin/lb|$(PREFIX)/sbin/lb|' deploy/real-server/lb-real-server.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/lb-real-server.service
	install -Dm644 deploy/real-server/lb-real-server.8 $(DESTDIR)$(PREFIX)/share/man/man8/lb-real-server.8
	$(LB) man $(DESTDIR)$(PREFIX)/share/man/man1
	$(LB) man --config >$(DESTDIR)$(PREFIX)/share/man/man5/lb.yaml.5
	$(LB) completions bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/lb
	$(LB) completions zsh >$(DESTDIR)$(PREFIX)/$(ZSH_COMPLETIONS)/_lb
	$(LB) completions fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/lb.fish
	$(call once,lb.default,default/lb)
	$(call once,lb-real-server.default,default/lb-real-server)
	$(call once,lb.logrotate,logrotate.d/lb)

once = test -e $(DESTDIR)/etc/$(2) || install -Dm644 deploy/etc/$(1) $(DESTDIR)/etc/$(2)

deb: build ## a Debian package of it, in target/debian or below CARGO_TARGET_DIR
	@.ci/setup deb
	deploy/debian/build

clean: ## remove what was built
	$(CARGO) clean
	rm -rf tests/fuzz/target
