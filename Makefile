# The chores of this project; `cargo xtask` does the work, and says more with no argument.

TARGET := $(or $(CARGO_TARGET_DIR),target)
KSCOPE := $(TARGET)/release/kscope
PREFIX ?= /usr/local
COMPLETIONS := $(DESTDIR)$(PREFIX)/share
# What `make run` runs.
ARGS ?= opensnoop --duration 10

.PHONY: all release run test test-all install bench bench-peers

all: release

# One static binary of at most 8 MB. The flag goes to the last crate alone: as a global one it breaks proc-macros.
release:
	cargo rustc --release -p kscope --bin kscope -- -C target-feature=+crt-static
	cargo xtask check-release $(KSCOPE)

# Traces which process opens which file, for ten seconds; needs root.
run: release
	$(KSCOPE) $(ARGS)

# Everything that ends within 25 minutes: format, lints, pure tests, tests of this kernel, guests. To a user the tests of
# this kernel are skipped and counted, as "needs root"; all else runs as it does for root.
test:
	cargo xtask test

# The same with the tests that take longer.
test-all:
	cargo xtask test --ignored

# Binary, manual pages, completions, and of kdump the unit (not enabled) and the configuration (all of it comments; one that
# is there stays); PREFIX and DESTDIR as usual.
install: release
	install -D -m 755 $(KSCOPE) $(DESTDIR)$(PREFIX)/bin/kscope
	install -d $(DESTDIR)$(PREFIX)/share/man/man1
	$(KSCOPE) man $(DESTDIR)$(PREFIX)/share/man/man1
	install -d $(COMPLETIONS)/bash-completion/completions $(COMPLETIONS)/zsh/site-functions \
		$(COMPLETIONS)/fish/vendor_completions.d
	$(KSCOPE) completions bash > $(COMPLETIONS)/bash-completion/completions/kscope
	$(KSCOPE) completions zsh > $(COMPLETIONS)/zsh/site-functions/_kscope
	$(KSCOPE) completions fish > $(COMPLETIONS)/fish/vendor_completions.d/kscope.fish
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)/etc/kscope
	$(KSCOPE) kdump unit --program $(PREFIX)/bin/kscope > $(DESTDIR)$(PREFIX)/lib/systemd/system/kscope-kdump.service
	test -e $(DESTDIR)/etc/kscope/kdump.conf || $(KSCOPE) kdump config > $(DESTDIR)/etc/kscope/kdump.conf

# Figures beside those of other libraries and of the installed bpftrace; needs root.
bench:
	cargo xtask bench

# Figures beside those of Debian sid's bpftrace and crash, in a folder of its own, and of drgn; needs root and debootstrap, and
# for those of dumps KSCOPE_FIXTURES.
bench-peers:
	cargo xtask bench --peers
