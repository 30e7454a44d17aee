# flipd: moves MySQL and MariaDB masters without losing a write. `make help` explains.
# No configure step; all build output is under build/. SAN=1 builds with ASan and UBSan under build/san.

PREFIX  ?= /usr/local
DESTDIR ?=
VERSION := 0.1.0
COMMIT  := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
PY      ?= /usr/bin/python3
V       ?= 0
ifeq ($(V),0)
Q := @
endif

ifeq ($(SAN),1)
B := build/san
SANFLAGS := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -DFLIPD_ASAN=1
FORTIFY :=
else ifeq ($(COV),1)
B := build/cov
SANFLAGS := --coverage -O0
FORTIFY :=
else
B := build
SANFLAGS :=
FORTIFY := -D_FORTIFY_SOURCE=2
endif

PKGS := libmariadb libevent libcares libcurl libldns yaml-0.1 jansson libsystemd sqlite3 libcrypto
# Before `make deps` has run the packages may be missing; the build then says so.
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null || echo -I/usr/include/mariadb)
PKG_LIBS := $(shell pkg-config --libs libmariadb libevent libcares libcurl yaml-0.1 jansson libsystemd sqlite3 libcrypto 2>/dev/null) -lldns -lpthread

CC ?= gcc
CFLAGS ?= -O2 -g
WARN := -Wall -Wextra -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes -Werror \
	-Werror=frame-larger-than=16384
HARDEN := -fstack-clash-protection -fstack-protector-strong $(FORTIFY) -fcf-protection -fPIE
ALL_CFLAGS := -std=c17 -D_GNU_SOURCE $(CFLAGS) $(WARN) $(HARDEN) $(SANFLAGS) -I. $(PKG_CFLAGS) \
	-DFLIPD_VERSION='"$(VERSION)"' -DFLIPD_COMMIT='"$(COMMIT)"' -MMD -MP
ALL_LDFLAGS := $(SANFLAGS) -pie -Wl,-z,relro,-z,now $(LDFLAGS)

LIB_SRC    := $(wildcard lib/*/*.c)
DAEMON_SRC := $(wildcard daemon/*.c)
LIB_OBJ    := $(LIB_SRC:%.c=$(B)/%.o)
DAEMON_OBJ := $(DAEMON_SRC:%.c=$(B)/%.o)
CTL_OBJ    := $(patsubst %.c,$(B)/%.o,$(wildcard tools/flipctl*.c))
UNIT_SRC   := $(wildcard tests/unit/test_*.c)
UNIT_BIN   := $(UNIT_SRC:tests/unit/%.c=$(B)/tests/unit/%)

.PHONY: all
all: $(B)/flipd $(B)/flipctl

$(B)/libflipd.a: $(LIB_OBJ)
	$(Q)rm -f $@ && ar rcs $@ $^

$(B)/flipd: $(DAEMON_OBJ) $(B)/libflipd.a
	@echo "  LD   $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(DAEMON_OBJ) $(B)/libflipd.a $(PKG_LIBS)

# flipctl stands on lib/base and lib/model alone: no server library comes with it.
$(B)/flipctl: $(CTL_OBJ) $(B)/libflipd.a
	@echo "  LD   $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(CTL_OBJ) $(B)/libflipd.a $(shell pkg-config --libs jansson 2>/dev/null)

$(B)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC   $<"
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(B)/tests/unit/%: $(B)/tests/unit/%.o $(B)/libflipd.a
	@echo "  LD   $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $< $(B)/libflipd.a -lcmocka $(PKG_LIBS)

# The lab's own programs: writers, the bench's floor, a proxy that delays. They share nothing with flipd but libraries.
BENCH := $(B)/tests/bench
LAB_BIN := $(BENCH)/load $(BENCH)/floor $(BENCH)/delay
$(BENCH)/load: $(BENCH)/load.o $(BENCH)/writer.o $(BENCH)/resolve.o $(BENCH)/tally.o
$(BENCH)/floor: $(BENCH)/floor.o $(BENCH)/nameserver.o
$(BENCH)/delay: $(BENCH)/delay.o
$(LAB_BIN):
	@echo "  LD   $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(PKG_LIBS) -lresolv -lm

-include $(LIB_OBJ:.o=.d) $(DAEMON_OBJ:.o=.d) $(UNIT_BIN:=.d) $(CTL_OBJ:.o=.d)

# --- what the project needs, from Debian 12 ------------------------------------------------------------------
BUILD_DEBS := build-essential pkg-config git libmariadb-dev libevent-dev libc-ares-dev libcurl4-openssl-dev libldns-dev \
	libyaml-dev libjansson-dev libsystemd-dev libsqlite3-dev libssl-dev
TEST_DEBS := libcmocka-dev mariadb-server-core mariadb-client-core bind9 bind9-dnsutils openssl iproute2 nftables \
	python3 python3-pytest python3-pymysql python3-dnspython python3-yaml universal-ctags clang-format-14 \
	clang-14 libclang-rt-14-dev mandoc procps
DEBS := $(BUILD_DEBS) $(TEST_DEBS)

.PHONY: deps
deps: ## installs what is missing of the Debian packages that building, demo and check need
	$(Q)missing=; for p in $(DEBS); do \
		dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
		sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
		echo "installing:$$missing"; \
		$$sudo apt-get update -qq && \
		$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing </dev/null; fi

# --- the demo ------------------------------------------------------------------------------------------------
.PHONY: demo
demo: deps ## flips a disposable lab there, back and there again under load; KEEP=1 leaves it running
	$(Q)$(MAKE) --no-print-directory all lab
	$(Q)tools/flip-lab demo $(if $(KEEP),--keep)

# --- tests ---------------------------------------------------------------------------------------------------
.PHONY: check check-all lint lab unit
lab: $(LAB_BIN)

unit: $(UNIT_BIN)
	$(Q)rc=0; for t in $(UNIT_BIN); do $$t || rc=1; done; exit $$rc

lint:
	$(Q)tools/check-layers
	$(Q)tools/check-style
	$(Q)git ls-files -co --exclude-standard '*.c' '*.h' | xargs clang-format-14 --dry-run -Werror

SUITES = "lint=$(MAKE) lint" "unit=$(MAKE) unit" "unit-san=$(MAKE) SAN=1 unit"

check: deps ## the one test command: everything, in a bounded form
	$(Q)$(MAKE) --no-print-directory -j2 all lab
	$(Q)$(PY) tests/check.py $(SUITES)

check-all: deps ## the same without bounds
	$(Q)$(MAKE) --no-print-directory -j2 all lab
	$(Q)FLIPD_CHECK_ALL=1 $(PY) tests/check.py $(SUITES)

.PHONY: help clean
help: ## this list
	$(Q)grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

clean:
	$(Q)rm -rf build
