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
$(B)/flipctl: $(B)/tools/flipctl.o $(B)/libflipd.a
	@echo "  LD   $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $< $(B)/libflipd.a $(shell pkg-config --libs jansson 2>/dev/null)

$(B)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC   $<"
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(B)/tests/unit/%: $(B)/tests/unit/%.o $(B)/libflipd.a
	@echo "  LD   $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $< $(B)/libflipd.a -lcmocka $(PKG_LIBS)

-include $(LIB_OBJ:.o=.d) $(DAEMON_OBJ:.o=.d) $(UNIT_BIN:=.d) $(B)/tools/flipctl.d
