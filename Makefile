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
SANFLAGS := --coverage -O0 -DFLIPD_COVERAGE=1
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
# Without optimisation every compound literal has a place of its own on the stack: the bound is for what is shipped.
WARN := -Wall -Wextra -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes -Werror \
	-Werror=frame-larger-than=$(if $(filter 1,$(COV)),131072,16384)
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

.SECONDARY:
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
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(B)/libflipd.a -lcmocka $(PKG_LIBS)

# The daemon's own rooms, all but main.
DAEMON_UNITS := test_watch test_requests test_server test_lookers
$(DAEMON_UNITS:%=$(B)/tests/unit/%): $(filter-out $(B)/daemon/main.o,$(DAEMON_OBJ))
# The test's own flip, and the fiber that it would begin.
$(B)/tests/unit/test_requests: ALL_LDFLAGS += -Wl,--wrap=flip_explain,--wrap=flip_set_word,--wrap=flip_get_state \
	-Wl,--wrap=flip_id,--wrap=flip_document,--wrap=run_begin
# A name service that takes its time.
$(B)/tests/unit/test_server: ALL_LDFLAGS += -Wl,--wrap=getgrnam_r

# The lab's own programs: writers, the bench's floor, a proxy that delays. They share nothing with flipd but libraries.
BENCH := $(B)/tests/bench
LAB_BIN := $(BENCH)/load $(BENCH)/floor $(BENCH)/delay
$(BENCH)/load: $(BENCH)/load.o $(BENCH)/writer.o $(BENCH)/resolve.o $(BENCH)/tally.o
$(BENCH)/floor: $(BENCH)/floor.o $(BENCH)/nameserver.o
$(BENCH)/delay: $(BENCH)/delay.o
$(LAB_BIN):
	@echo "  LD   $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(PKG_LIBS) -lresolv -lm

# Live programs that the python tests start, and the shim that kills flipd at a journal write.
LIVE := $(B)/tests/live
LIVE_BIN := $(LIVE)/dns_live $(LIVE)/db_live $(LIVE)/node_live
$(LIVE)/dns_live: $(LIVE)/dns_live.o $(B)/libflipd.a
$(LIVE)/db_live: $(LIVE)/db_live.o $(B)/libflipd.a
$(LIVE)/node_live: $(LIVE)/node_live.o $(LIVE)/node_live_verbs.o $(LIVE)/node_live_flip.o $(B)/libflipd.a
$(LIVE_BIN):
	@echo "  LD   $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(B)/libflipd.a $(PKG_LIBS)

FAULT_BIN := $(B)/tests/fault/journal_driver
$(FAULT_BIN): $(B)/tests/fault/journal_driver.o $(B)/libflipd.a
	@echo "  LD   $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $< $(B)/libflipd.a $(PKG_LIBS)

SHIM := $(B)/tests/fault/crashpoint.so $(B)/tests/fault/impatient.so
$(SHIM): $(B)/%.so: %.c
	@mkdir -p $(@D)
	@echo "  CC   $<"
	$(Q)$(CC) -std=c17 -D_GNU_SOURCE -O2 -g $(WARN) -fPIC -shared -o $@ $< -ldl -lpthread

# The heart over in-memory servers and a virtual clock: the fakes are linked first and win over the archive's members.
WORLD_OBJ := $(patsubst %.c,$(B)/%.o,$(filter-out tests/scenario/scenario.c,$(wildcard tests/scenario/*.c)))
KTH_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard tests/kth/*.c))
KTH := $(B)/tests/kth/kth
$(KTH): $(WORLD_OBJ) $(KTH_OBJ) $(B)/libflipd.a
	@echo "  LD   $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(WORLD_OBJ) $(KTH_OBJ) $(B)/libflipd.a $(PKG_LIBS)

SCENARIO := $(B)/tests/scenario/scenario
SCENARIO_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard tests/scenario/script/*.c)) $(B)/tests/scenario/scenario.o
$(SCENARIO): $(WORLD_OBJ) $(SCENARIO_OBJ) $(B)/libflipd.a
	@echo "  LD   $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $(WORLD_OBJ) $(SCENARIO_OBJ) $(B)/libflipd.a $(PKG_LIBS)

# --- fuzzing -------------------------------------------------------------------------------------------------
FUZZ_SECONDS ?= 3600
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_BIN := $(FUZZ_SRC:tests/fuzz/%.c=build/fuzz/%)
FUZZ_CFLAGS := -std=c17 -D_GNU_SOURCE -DFLIPD_ASAN=1 -g -O1 -I. $(PKG_CFLAGS) -DFLIPD_VERSION='"$(VERSION)"' \
	-DFLIPD_COMMIT='"fuzz"' -MMD -MP
FUZZ_OBJ := $(LIB_SRC:%.c=build/fuzz/obj/%.o) $(patsubst %.c,build/fuzz/obj/%.o,$(filter-out daemon/main.c,$(DAEMON_SRC)))
# What a target puts its own in the place of: who is at the other end, the journal's rows, what a hook answered.
build/fuzz/fuzz_control: FUZZ_LDFLAGS := -Wl,--wrap=listen_peer_read
build/fuzz/fuzz_journal: FUZZ_LDFLAGS := -Wl,--wrap=journal_call,--wrap=journal_sql_flips,--wrap=journal_sql_records
build/fuzz/fuzz_hook: FUZZ_LDFLAGS := -Wl,--wrap=proc_run,--wrap=http_do

build/fuzz/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "  FUZZ $<"
	$(Q)clang-14 $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link,address,undefined -c -o $@ $<

build/fuzz/libflipd.a: $(FUZZ_OBJ)
	$(Q)rm -f $@ && ar rcs $@ $^

$(FUZZ_BIN): build/fuzz/%: build/fuzz/obj/tests/fuzz/%.o build/fuzz/libflipd.a
	@echo "  LD   $@"
	$(Q)clang-14 -g -fsanitize=fuzzer,address,undefined $(FUZZ_LDFLAGS) -o $@ $^ $(PKG_LIBS)

.PHONY: fuzz
fuzz: $(FUZZ_BIN) ## runs every fuzz target, two at a time, for FUZZ_SECONDS each (3600); make check runs them 20 s each
	$(Q)printf '%s\n' $(FUZZ_BIN) | xargs -P 2 -n 1 tests/fuzz/run $(FUZZ_SECONDS)
	@echo "$(words $(FUZZ_BIN)) passed, 0 failed"

-include $(LIB_OBJ:.o=.d) $(DAEMON_OBJ:.o=.d) $(UNIT_BIN:=.d) $(CTL_OBJ:.o=.d)
-include $(FUZZ_OBJ:.o=.d) $(FUZZ_SRC:%.c=build/fuzz/obj/%.d)
-include $(WORLD_OBJ:.o=.d) $(KTH_OBJ:.o=.d) $(SCENARIO_OBJ:.o=.d)
-include $(LIVE_BIN:=.d) $(LIVE)/node_live_verbs.d $(LIVE)/node_live_flip.d

# --- what the project needs, from Debian 12 ------------------------------------------------------------------
BUILD_DEBS := build-essential pkg-config git libmariadb-dev libevent-dev libc-ares-dev libcurl4-openssl-dev libldns-dev \
	libyaml-dev libjansson-dev libsystemd-dev libsqlite3-dev libssl-dev
TEST_DEBS := libcmocka-dev mariadb-server mariadb-client-core bind9 bind9-dnsutils openssl iproute2 nftables \
	python3 python3-pytest python3-pytest-timeout python3-pymysql python3-dnspython python3-yaml universal-ctags clang-format-14 \
	clang-14 libclang-rt-14-dev clang-tidy-14 cppcheck valgrind gdb mandoc procps spin gcovr
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
.PHONY: check check-all check-build lint lab unit scenario kth
lab: $(LAB_BIN)

unit: $(UNIT_BIN)
	$(Q)rc=0; for t in $(UNIT_BIN); do $$t || rc=1; done; exit $$rc

scenario: $(SCENARIO)
	$(Q)$(SCENARIO)

kth: $(KTH)
	$(Q)$(KTH)

# What the test programs without servers reach of lib/flip, lib/store and lib/model; every run counts from nothing.
.PHONY: coverage coverage-run
coverage: ## line coverage of the heart by unit, scenario and kth tests; fails below 95 %
	$(Q)$(MAKE) --no-print-directory COV=1 coverage-run

coverage-run: $(UNIT_BIN) $(SCENARIO) $(KTH)
	$(Q)find $(B) -name '*.gcda' -delete
	$(Q)for t in $(UNIT_BIN) $(SCENARIO) $(KTH); do $$t >$$t.log 2>&1 || { cat $$t.log; exit 1; }; done
	$(Q)$(PY) tests/coverage.py $(B)

# Static analysis keeps a stamp for each file, so that only what has changed is looked at again.
ANALYSE_SRC := $(LIB_SRC) $(DAEMON_SRC) $(wildcard tools/*.c)
ANALYSE_CFLAGS := -std=c17 -D_GNU_SOURCE -DFLIPD_ANALYSE -I. $(PKG_CFLAGS) -DFLIPD_VERSION='"$(VERSION)"' -DFLIPD_COMMIT='"lint"'
ANALYSED := $(ANALYSE_SRC:%.c=build/lint/%.gcc) $(ANALYSE_SRC:%.c=build/lint/%.tidy)

build/lint/%.gcc: %.c
	@mkdir -p $(@D)
	$(Q)gcc $(ANALYSE_CFLAGS) -O2 -Werror -fanalyzer -MMD -MP -MF build/lint/$*.d -MT '$@ $(@:.gcc=.tidy)' -c -o /dev/null $<
	@touch $@

build/lint/%.tidy: %.c .clang-tidy
	@mkdir -p $(@D)
	$(Q)clang-tidy-14 --quiet $< -- $(ANALYSE_CFLAGS) 2>$@.log || { cat $@.log; exit 1; }
	@touch $@

build/lint/cppcheck: $(ANALYSE_SRC) $(wildcard lib/*/*.h daemon/*.h tools/*.h) tools/cppcheck.suppress
	@mkdir -p build/lint/cppcheck.d
	$(Q)cppcheck -q -j2 --enable=warning,performance,portability --std=c11 --inline-suppr --error-exitcode=1 \
		--suppressions-list=tools/cppcheck.suppress --cppcheck-build-dir=build/lint/cppcheck.d -I. -D__linux__ \
		-DFLIPD_VERSION='"0"' -DFLIPD_COMMIT='"0"' lib daemon tools
	@touch $@

-include $(ANALYSE_SRC:%.c=build/lint/%.d)

.PHONY: analyse
analyse: $(ANALYSED) build/lint/cppcheck

lint:
	$(Q)tools/check-layers
	$(Q)tools/check-style
	$(Q)tools/man-tables --check
	$(Q)git ls-files -co --exclude-standard '*.c' '*.h' | xargs clang-format-14 --dry-run -Werror
	$(Q)begun=$$(date +%s); $(MAKE) --no-print-directory -k -j2 analyse && \
		echo "figure: $(words $(ANALYSE_SRC)) files clean to gcc -fanalyzer, clang-tidy and cppcheck, $$(($$(date +%s) - begun)) s"

PYTEST = $(PY) -m pytest -q -p no:cacheprovider --timeout $(if $(FLIPD_CHECK_ALL),1200,300) --timeout-method signal --durations=0 --durations-min=30
# NAME=COMMAND, in this order: the cheap ones first, fuzz, which only takes time, last. What looks for lines or for memory errors needs the sample of kth alone.
SUITES = "lint=$(MAKE) -s lint" "unit=$(MAKE) -s unit" "unit-san=$(MAKE) -s SAN=1 -j2 unit" \
	"scenario=$(SCENARIO)" "drawn=$(PY) tests/scenario/drawn.py" "kth=$(KTH)" "coverage=FLIPD_CHECK_ALL= $(MAKE) -s -j2 coverage" \
	"scenario-san=$(MAKE) -s SAN=1 -j2 scenario" "kth-san=FLIPD_CHECK_ALL= $(MAKE) -s SAN=1 -j2 kth" \
	"model=$(PY) tests/model/run.py" "live=$(PYTEST) tests/live" "live-san=$(MAKE) -s live-san" "fault=$(PYTEST) tests/fault" \
	"soak=$(PY) tests/fault/soak.py --flips $(if $(FLIPD_CHECK_ALL),500,40)" \
	"fuzz=$(MAKE) -s fuzz FUZZ_SECONDS=$(if $(FLIPD_CHECK_ALL),200,20)"

check-build:
	$(Q)$(MAKE) --no-print-directory -j2 all lab $(LIVE_BIN) $(FAULT_BIN) $(SHIM) $(UNIT_BIN) $(SCENARIO) $(KTH) $(FUZZ_BIN)

check: deps ## the one test command: everything, in a bounded form
	$(Q)$(MAKE) --no-print-directory check-build
	$(Q)$(PY) tests/check.py $(SUITES)

check-all: FLIPD_CHECK_ALL := 1
check-all: deps ## the same without bounds
	$(Q)$(MAKE) --no-print-directory check-build
	$(Q)FLIPD_CHECK_ALL=1 $(PY) tests/check.py $(SUITES)

# What the outside can send, against a flipd that notices every use of freed memory.
.PHONY: live-san
live-san:
	$(Q)$(MAKE) --no-print-directory -s SAN=1 -j2 all lab
	$(Q)FLIPD_BUILD=build/san $(PYTEST) tests/live/test_storm.py tests/live/test_control.py

.PHONY: soak
soak: deps ## flips under load with faults drawn at random; FLIPS=50, SEED=1
	$(Q)$(MAKE) --no-print-directory check-build
	$(Q)$(PY) tests/fault/soak.py --flips $(or $(FLIPS),50) --seed $(or $(SEED),1)

# --- bench ---------------------------------------------------------------------------------------------------
.PHONY: bench
bench: deps ## flipd's blackout against the floor's, in the same run; FLIPS=20, CASE=name
	$(Q)$(MAKE) --no-print-directory -j2 all lab
	$(Q)$(PY) tests/bench/bench.py $(if $(FLIPS),--flips $(FLIPS)) $(if $(CASE),--case $(CASE))

# --- install -------------------------------------------------------------------------------------------------
.PHONY: install
install: all ## installs under DESTDIR and PREFIX (/usr/local)
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 \
		$(DESTDIR)$(PREFIX)/share/man/man5 $(DESTDIR)$(PREFIX)/share/man/man8 \
		$(DESTDIR)$(PREFIX)/share/doc/flipd $(DESTDIR)$(PREFIX)/lib/systemd/system
	install -m 0755 build/flipd $(DESTDIR)$(PREFIX)/sbin/flipd
	install -m 0755 build/flipctl $(DESTDIR)$(PREFIX)/bin/flipctl
	install -m 0644 man/flipctl.1 $(DESTDIR)$(PREFIX)/share/man/man1/
	install -m 0644 man/flipd.yaml.5 $(DESTDIR)$(PREFIX)/share/man/man5/
	install -m 0644 man/flipd.8 $(DESTDIR)$(PREFIX)/share/man/man8/
	install -m 0644 README.md LICENSE conf/flipd.yaml $(DESTDIR)$(PREFIX)/share/doc/flipd/
	install -m 0644 systemd/*.socket $(DESTDIR)$(PREFIX)/lib/systemd/system/
	sed 's|/usr/local/sbin|$(PREFIX)/sbin|' systemd/flipd.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/flipd.service

.PHONY: help clean
help: ## this list
	$(Q)grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

clean:
	$(Q)rm -rf build
