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
# A panic ends the process before anything is unwound, so no table of where to unwind to is needed: 180 KB. The path is
# relative, because an absolute one would change the bytes with the folder.
TABLES := -C force-unwind-tables=no -C link-arg=-Wl,--no-eh-frame-hdr -C link-arg=-Wl,-T,packaging/link/no-unwind-tables.ld
STATIC := CARGO_ENCODED_RUSTFLAGS="$$(printf '%s\037' $(RUSTFLAGS) -C target-feature=+crt-static $(PACKED) $(TABLES) \
	"--remap-path-prefix=$(CURDIR)=/check_conntrack" "--remap-path-prefix=$(CURDIR)/vendor=/crates"; \
	printf -- '--remap-path-prefix=%s=/crates\037' "$(CARGO_HOME)"/registry/src/* | sed 's/.$$//')"

# For every time stamp in what is packaged. A source tarball has the time of its commit at each file.
SOURCE_DATE_EPOCH ?= $(shell { [ -e .git ] && git -c safe.directory='*' log -1 --format=%ct 2>/dev/null; } \
	|| stat -c %Y CHANGELOG.md)
export SOURCE_DATE_EPOCH

.PHONY: all build run demo test oracle kernels fuzz soak mutants check check-flow coverage toolchains supply-chain bench owners \
	instructions test-packages test-icingaweb man completions licences definitions install uninstall epoch dist deb deb-src rpm rpm-src clean help

all: build man licences ## build everything that install needs

build: ## build the static binary
	@# before their folder is asked for; without a network what is there has to do
	@$(CARGO) fetch --quiet --locked --target $(TARGET) 2>/dev/null || true
	@$(STATIC) $(CARGO) build --quiet --locked --release --target $(TARGET)
	@echo "built $(BINARY), $$(stat -c %s $(BINARY)) bytes"

run: build ## build, then check this host (ARGS='--top -v' adds options)
	@tests/run-here $(BINARY) $(ARGS)

demo: build ## show OK, WARNING and CRITICAL on recorded kernel files; then on a live table, if the kernel permits
	@tests/demo $(BINARY)

test: build ## run every test; as root on Debian and Ubuntu install missing test hosts first (NO_INSTALL=1: install nothing)
	@CHECK_CONNTRACK='$(CURDIR)/$(BINARY)' CARGO='$(CARGO)' tests/run

oracle: build ## compare ORACLE_CASES (100000) thresholds and lines of captures with a second implementation in Python
	@CHECK_CONNTRACK='$(CURDIR)/$(BINARY)' tests/oracle/run $(addprefix --seed ,$(ORACLE_SEED)) \
		--runs $(or $(ORACLE_CASES),100000) --lines $(or $(ORACLE_CASES),100000)

soak: build ## run the check SOAK_RUNS (10000) times under churn and with signals, and let each system call fail with each error
	@CHECK_CONNTRACK='$(CURDIR)/$(BINARY)' CARGO='$(CARGO)' tests/soak

kernels: build ## run the check on real kernels, 5.10 to the newest, in virtual machines (KERNELS='5.10 newest': only these)
	@tests/kernels/run $(BINARY) $(KERNELS)

fuzz: ## fuzz every target for FUZZ_SECONDS (60), or only FUZZ_TARGETS='state pipeline'; needs cargo-fuzz
	@CARGO='$(CARGO)' FUZZ_DIR='$(CURDIR)/target/fuzz' tests/fuzz/run

mutants: ## plant mistakes in the files that decide (FILES='src/judge/range.rs': only these), and list those that no test notices
	@CARGO='$(CARGO)' MUTANTS_DIR='$(CURDIR)/target/mutants' FILES='$(FILES)' ONLY='$(ONLY)' nice -n 19 tests/mutants/run

check: check-flow ## check formatting, lints, documentation, sizes of files and functions, prose of comments
	@tests/code/sizes
	@tests/code/prose
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path tests/fuzz/.package/Cargo.toml
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items

# Data flows one way: each folder of src is a stage, and no stage reaches one that it may not know.
check-flow: ## check the one-way dependencies of docs/internals/design.md
	@tests/code/flow
	@! grep -rnE 'std::(fs|io|os|process|time|net)|rustix|nix::' src/cli
	@! grep -rnE 'clap|nagiosplugin' src/source
	@! grep -rnlE 'unsafe *(\{|\(|fn|impl|extern|trait)|allow\(unsafe_code\)' src \
		| grep -v '^src/runtime/unsafe_calls.rs$$'
	@! grep -rnlE 'nagiosplugin::.*(CheckResult|PerfString|Resource|Unit)' src | grep -vE '^src/report/(mod|perfdata).rs$$'

coverage: ## count the lines of src that the tests run (MISSING=1: also list the other lines); needs cargo-llvm-cov
	@CARGO='$(CARGO)' tests/coverage

bench: build ## measure a run, the table, --netns all and the recorder beside other programs (ROUNDS=1: quick; UPDATE=1: write the page)
	@tests/bench/run $(BINARY)

owners: build ## measure --top on a host of 200000 connections in 50000 processes; as root
	@tests/bench/owners $(BINARY)

instructions: build ## count the instructions of a run, and compare with tests/bench/instructions.txt (UPDATE=1: write it)
	@tests/bench/instructions $(BINARY)

toolchains: ## test with the oldest supported compiler, and on an emulated ARM and an emulated big-endian CPU; as root
	@tests/toolchains $(TOOLCHAINS)

supply-chain: ## check licences, sources, duplicates and known defects of the dependencies
	@tests/supply-chain $(CARGO) $(TARGET)

test-packages: ## build and inspect the packages; as root also install them in a new Debian (PAGES=1: follow the pages of docs)
	@tests/packages/run

test-icingaweb: deb ## test Icinga Web 2, Director, Graphite and Nagios with the package; screenshots in target/screenshots; as root
	@tests/icingaweb/run

# ---- packages -------------------------------------------------------------------------------------------------------

MANUAL := target/manual
LICENCES := target/licences/THIRD-PARTY
SBOM := target/licences/sbom.cdx.json

man: ## build the man page and the completions of bash, zsh and fish, in target/manual
	@$(CARGO) run --quiet --locked --example manual -- \
		$(MANUAL) "$$(date -u -d @$(SOURCE_DATE_EPOCH) +%Y-%m-%d)" $(VERSION)

completions: man ## build the completions, together with the man page

licences: ## write the licences and the bill of materials (SBOM) of the linked libraries, in target/licences
	@mkdir -p $(dir $(LICENCES))
	@packaging/licences "$(CARGO)" $(TARGET) >$(LICENCES).new
	@mv $(LICENCES).new $(LICENCES)
	@packaging/sbom "$(CARGO)" $(TARGET) $(VERSION) >$(SBOM).new
	@mv $(SBOM).new $(SBOM)

definitions: ## write packaging/icingaweb2 and packaging/grafana, after a change of an option or a label
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

install: ## install under PREFIX (/usr/local) and PLUGINDIR (PREFIX/lib/nagios/plugins), below DESTDIR
	@$(FOLDERS) packaging/install install

uninstall: ## remove the installed files (same variables as install)
	@$(FOLDERS) packaging/install uninstall

epoch: # for tests/packages
	@echo $(SOURCE_DATE_EPOCH)

dist: ## pack the source of the commit, or of the tree without git, in target/packages (VENDOR=1: with all crates)
	@packaging/dist check_conntrack-$(VERSION) $(if $(filter 1,$(VENDOR)),"$(CARGO)")

# what a package needs is looked for before anything is built
deb: ## build the Debian package, in target/packages
	@packaging/needs dpkg-deb=dpkg
	@$(MAKE) --no-print-directory build man licences
	@VERSION=$(VERSION) TARGET=$(TARGET) MAKE="$(MAKE)" packaging/deb/build

deb-src: ## build the Debian source package, for dpkg-buildpackage, in target/packages
	@packaging/needs dpkg-source=dpkg-dev
	@$(MAKE) --no-print-directory dist VENDOR=1
	@VERSION=$(VERSION) packaging/deb/source/build

rpm: ## build the RPM package, in target/packages
	@packaging/needs rpmbuild=rpm
	@$(MAKE) --no-print-directory build man licences
	@VERSION=$(VERSION) TARGET=$(TARGET) MAKE="$(MAKE)" packaging/rpm/build

rpm-src: ## build the RPM source package, for rpmbuild --rebuild, in target/packages
	@packaging/needs rpmbuild=rpm
	@$(MAKE) --no-print-directory dist VENDOR=1
	@VERSION=$(VERSION) TARGET=$(TARGET) MAKE="$(MAKE)" packaging/rpm/build source

clean: ## remove everything that was built
	$(CARGO) clean

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST)
