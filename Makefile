# make help lists the targets.
CARGO ?= cargo
# what is installed by a user without Rust is what another one built
TARGET ?= $(or $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p'),$(patsubst target/%/release/check_conntrack,%, \
	$(firstword $(wildcard target/*/release/check_conntrack))))
BINARY := target/$(TARGET)/release/check_conntrack
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)

# cd in a script goes where it says
unexport CDPATH

# One statically linked file: it runs on any distribution of this architecture, and needs nothing while a host is in trouble.
export CARGO_TARGET_DIR := $(CURDIR)/target
# Where it was built does not show in it, so that it has the same bytes wherever that was, and with vendored sources.
# The words are separated by the byte 0x1f, because a path may have a blank.
CARGO_HOME ?= $(HOME)/.cargo
# Packed relocations take 62 KB less. The static start-up code of the C library knows them from glibc 2.36 on.
PACKED := $(if $(findstring x86_64-unknown-linux-gnu,$(TARGET)),$(shell getconf GNU_LIBC_VERSION 2>/dev/null | awk \
	'{ split($$2, version, ".") } $$1 == "glibc" && (version[1] > 2 || version[2] >= 36) \
	{ print "-C link-arg=-Wl,-z,pack-relative-relocs" }'))
# A panic ends the process before anything is unwound, so no table of where to unwind to is needed: 33 KB.
TABLES := -C force-unwind-tables=no -C link-arg=-Wl,--no-eh-frame-hdr
STATIC := CARGO_ENCODED_RUSTFLAGS="$$(printf '%s\037' $(RUSTFLAGS) -C target-feature=+crt-static $(PACKED) $(TABLES) \
	"--remap-path-prefix=$(CURDIR)=/check_conntrack" "--remap-path-prefix=$(CURDIR)/vendor=/crates"; \
	printf -- '--remap-path-prefix=%s=/crates\037' "$(CARGO_HOME)"/registry/src/* | sed 's/.$$//')"

# For every time stamp in what is packaged. A source tarball has the time of its commit at each file.
SOURCE_DATE_EPOCH ?= $(shell { [ -e .git ] && git -c safe.directory='*' log -1 --format=%ct 2>/dev/null; } \
	|| stat -c %Y CHANGELOG.md)
export SOURCE_DATE_EPOCH

.PHONY: all build run demo test oracle kernels fuzz soak mutants check check-flow owners coverage toolchains supply-chain bench \
	instructions test-packages test-icingaweb man completions licences definitions install uninstall epoch dist deb deb-src rpm rpm-src clean help

all: build man licences ## what install installs

build: ## the static binary
	@# before their folder is asked for; without a network what is there has to do
	@$(CARGO) fetch --quiet --locked --target $(TARGET) 2>/dev/null || true
	@$(STATIC) $(CARGO) build --quiet --locked --release --target $(TARGET)
	@echo "built $(BINARY), $$(stat -c %s $(BINARY)) bytes"

run: build ## builds, then checks this host's own kernel
	@tests/run-here $(BINARY) $(ARGS)

demo: build ## an OK, a WARNING and a CRITICAL on recorded kernel files, anywhere; then a live one where the kernel permits
	@tests/demo $(BINARY)

test: build ## every test; as root on Debian and Ubuntu installs the test hosts first (NO_INSTALL=1: does not)
	@CHECK_CONNTRACK='$(CURDIR)/$(BINARY)' CARGO='$(CARGO)' tests/run

oracle: build ## ORACLE_CASES (100000) thresholds and as many lines of captures, against a second implementation in Python
	@CHECK_CONNTRACK='$(CURDIR)/$(BINARY)' tests/oracle/run $(addprefix --seed ,$(ORACLE_SEED)) \
		--runs $(or $(ORACLE_CASES),100000) --lines $(or $(ORACLE_CASES),100000)

soak: build ## SOAK_RUNS (10000) runs under churn, as many with signals, every call failing with each of its errors
	@CHECK_CONNTRACK='$(CURDIR)/$(BINARY)' CARGO='$(CARGO)' tests/soak

kernels: build ## the check on real kernels, 5.10 to the newest, in virtual machines (KERNELS='5.10 newest': these alone)
	@tests/kernels/run $(BINARY) $(KERNELS)

fuzz: ## every fuzz target for FUZZ_SECONDS (60), or FUZZ_TARGETS='state pipeline' alone; needs cargo-fuzz
	@CARGO='$(CARGO)' FUZZ_DIR='$(CURDIR)/target/fuzz' tests/fuzz/run

mutants: ## planted mistakes that no test notices, in the files that decide (FILES='src/judge/range.rs': in these alone)
	@CARGO='$(CARGO)' MUTANTS_DIR='$(CURDIR)/target/mutants' FILES='$(FILES)' ONLY='$(ONLY)' nice -n 19 tests/mutants/run

check: check-flow ## formatting, lints, documentation, sizes of files and functions, prose of comments
	@tests/code/sizes
	@tests/code/prose
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path tests/fuzz/.package/Cargo.toml
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items

# Data flows one way: each folder of src is a stage, and no stage reaches one that it may not know.
check-flow: ## the one-way dependencies of docs/internals/design.md
	@tests/code/flow
	@! grep -rnE 'std::(fs|io|os|process|time|net)|rustix|nix::' src/cli
	@! grep -rnE 'clap|nagiosplugin' src/source
	@! grep -rnlE 'unsafe *(\{|\(|fn|impl|extern|trait)|allow\(unsafe_code\)' src \
		| grep -v '^src/runtime/unsafe_calls.rs$$'
	@! grep -rnlE 'nagiosplugin::.*(CheckResult|PerfString|Resource|Unit)' src | grep -vE '^src/report/(mod|perfdata).rs$$'

coverage: ## which lines of src the tests run (MISSING=1: those they do not, too); needs cargo-llvm-cov
	@CARGO='$(CARGO)' tests/coverage

bench: build ## what a run, the table, --netns all and the recorder cost, in ten minutes (ROUNDS=1: quick; UPDATE=1)
	@tests/bench/run $(BINARY)

owners: build ## the cost and the answer of --top on a host of 200000 connections in 50000 processes; as root
	@tests/bench/owners $(BINARY)

instructions: build ## how many instructions a run takes, beside those kept in tests/bench (UPDATE=1: keeps these)
	@tests/bench/instructions $(BINARY)

toolchains: ## the oldest compiler that is supported, and tests for ARM and for a big-endian processor, emulated; as root
	@tests/toolchains $(TOOLCHAINS)

supply-chain: ## licences, sources, duplicates and known defects of the dependencies
	@tests/supply-chain $(CARGO) $(TARGET)

test-packages: ## the packages: built, looked at, and as root installed in a Debian of their own
	@tests/packages/run

test-icingaweb: deb ## Icinga Web 2, Director, Graphite and Nagios with the package; pictures in target/screenshots; as root
	@tests/icingaweb/run

# ---- packages -------------------------------------------------------------------------------------------------------

MANUAL := target/manual
LICENCES := target/licences/THIRD-PARTY
SBOM := target/licences/sbom.cdx.json

man: ## the man page and the completions of bash, zsh and fish, in target/manual
	@$(CARGO) run --quiet --locked --example manual -- \
		$(MANUAL) "$$(date -u -d @$(SOURCE_DATE_EPOCH) +%Y-%m-%d)" $(VERSION)

completions: man ## likewise

licences: ## the licences and the bill of materials (SBOM) of what is linked into the binary, in target/licences
	@mkdir -p $(dir $(LICENCES))
	@packaging/licences "$(CARGO)" $(TARGET) >$(LICENCES).new
	@mv $(LICENCES).new $(LICENCES)
	@packaging/sbom "$(CARGO)" $(TARGET) $(VERSION) >$(SBOM).new
	@mv $(SBOM).new $(SBOM)

definitions: ## packaging/icingaweb2 and packaging/grafana anew, after a change of an option or a label
	@$(CARGO) run --quiet --locked --example definitions -- packaging

PREFIX ?= /usr/local
PLUGINDIR ?= $(PREFIX)/lib/nagios/plugins
DATADIR ?= $(PREFIX)/share
DOCDIR ?= $(DATADIR)/doc/check-conntrack
MANDIR ?= $(DATADIR)/man
BASHDIR ?= $(DATADIR)/bash-completion/completions
ZSHDIR ?= $(DATADIR)/zsh/site-functions
FISHDIR ?= $(DATADIR)/fish/vendor_completions.d
# where agents read definitions; what is given none stays an example beside the documentation
NRPEDIR ?=
NAGIOSDIR ?=
ICINGADIR ?=
# where systemd reads units: the recorder is put there, and stays off
UNITDIR ?=
# not exported: deb and rpm call install anew, with folders of their own
FOLDERS = $(foreach name,DESTDIR PLUGINDIR DOCDIR MANDIR BASHDIR ZSHDIR FISHDIR NRPEDIR NAGIOSDIR ICINGADIR UNITDIR BINARY MANUAL \
	LICENCES SBOM,$(name)='$($(name))')

install: ## what was built, below PREFIX (/usr/local), PLUGINDIR (PREFIX/lib/nagios/plugins) and DESTDIR
	@$(FOLDERS) packaging/install install

uninstall: ## takes away what install put there, under the same variables
	@$(FOLDERS) packaging/install uninstall

epoch: # for tests/packages
	@echo $(SOURCE_DATE_EPOCH)

dist: ## the source of the commit, or of the tree where there is no git, in target/packages (VENDOR=1: with all it needs)
	@packaging/dist check_conntrack-$(VERSION) $(if $(filter 1,$(VENDOR)),"$(CARGO)")

# what a package needs is looked for before anything is built
deb: ## the Debian package, in target/packages
	@packaging/needs dpkg-deb=dpkg
	@$(MAKE) --no-print-directory build man licences
	@VERSION=$(VERSION) TARGET=$(TARGET) MAKE="$(MAKE)" packaging/deb/build

deb-src: ## the Debian source package, for dpkg-buildpackage, in target/packages
	@packaging/needs dpkg-source=dpkg-dev
	@$(MAKE) --no-print-directory dist VENDOR=1
	@VERSION=$(VERSION) packaging/deb/source/build

rpm: ## the RPM package, in target/packages
	@packaging/needs rpmbuild=rpm
	@$(MAKE) --no-print-directory build man licences
	@VERSION=$(VERSION) TARGET=$(TARGET) MAKE="$(MAKE)" packaging/rpm/build

rpm-src: ## the RPM source package, for rpmbuild --rebuild, in target/packages
	@packaging/needs rpmbuild=rpm
	@$(MAKE) --no-print-directory dist VENDOR=1
	@VERSION=$(VERSION) TARGET=$(TARGET) MAKE="$(MAKE)" packaging/rpm/build source

clean: ## removes everything built
	$(CARGO) clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST)
