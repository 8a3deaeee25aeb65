# make help lists the targets.
CARGO ?= cargo
TARGET ?= $(shell rustc -vV | sed -n 's/^host: //p')
BINARY := target/$(TARGET)/release/check_conntrack

# One statically linked file: it runs on any distribution of this architecture, and needs nothing while a host is in trouble.
export CARGO_TARGET_DIR := $(CURDIR)/target
STATIC := RUSTFLAGS="$(RUSTFLAGS) -C target-feature=+crt-static"

.PHONY: build run demo test kernels check check-flow bench clean help

build: ## the static binary
	@$(STATIC) $(CARGO) build --quiet --locked --release --target $(TARGET)
	@echo "built $(BINARY), $$(stat -c %s $(BINARY)) bytes"

run: build ## builds, then checks this host's own kernel
	@tests/run-here $(BINARY) $(ARGS)

demo: build ## an OK, a WARNING and a CRITICAL on recorded kernel files, anywhere; then a live one where the kernel permits
	@tests/demo $(BINARY)

test: build ## every test; as root on Debian and Ubuntu installs the test hosts first (NO_INSTALL=1: does not)
	@CHECK_CONNTRACK=$(CURDIR)/$(BINARY) CARGO=$(CARGO) tests/run

kernels: build ## the check on real kernels, 5.10 to the newest, in virtual machines (KERNELS='5.10 newest': these alone)
	@tests/kernels/run $(BINARY) $(KERNELS)

check: check-flow ## formatting, lints, documentation
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items

# Data flows one way: what decides and what prints opens nothing, asks no clock and does not know who calls it.
PURE := $(patsubst %,src/%.rs,assess baseline entry error hint metric namespace own owner range ranking report socket table tally \
	text threshold) $(wildcard src/tally/*.rs)
check-flow: ## the one-way dependencies of docs/design.md
	@! grep -nE 'std::(fs|io|os|process|time|env)|rustix|nix::|procfs::|crate::(reading|args|process|privilege|survey)' $(PURE)
	@! grep -rnE 'crate::(args|assess|hint|metric|process|ranking|report|survey|tally|threshold)|clap|nagiosplugin' src/reading
	@! grep -nE 'std::(fs|io|os|process|time|net)|rustix|nix::|crate::(reading|process|report)' src/args.rs
	@! grep -rnlE 'unsafe *\{|unsafe fn|allow\(unsafe_code\)' src | grep -v '^src/process.rs$$'
	@! grep -rnlE 'nagiosplugin::.*(CheckResult|PerfString|Resource|Unit)' src | grep -v '^src/report.rs$$'

bench: build ## start-up, memory; as root the table, --netns all: beside an empty program, check_load, conntrack (ROUNDS=1: quick)
	@tests/bench/startup $(BINARY)
	@tests/bench/top $(BINARY)
	@tests/bench/netns $(BINARY)

clean: ## removes everything built
	$(CARGO) clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST)
