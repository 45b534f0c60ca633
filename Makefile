# Meltemi: the build. `make help` lists the targets.
#
# Sources are found by wildcard, so a new file needs no edit here. Everything generated goes under
# build/: the plain variant in build/ itself, the others (SANITIZE=...) in a folder of their own, so
# that switching never rebuilds. The protobuf C files are generated once, for all variants.

VERSION := 0.1.0
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY: # generated files stay
MAKEFLAGS += --no-builtin-rules
SHELL := /bin/bash

# --- options -------------------------------------------------------------------------------------
ifeq ($(origin CC),default)
CC := gcc
endif
AR := ar
CFLAGS ?= -O2 -g
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60
FUZZ_CC ?= $(if $(findstring ccache,$(CC)),ccache )clang
PYTHON ?= python3
T ?=
PYTEST ?=
PORT ?=
UP ?=
ENVOY_VERSION := 1.40.0
ENVOY_OLDEST := 1.36.2

ifeq ($(V),1)
Q :=
say = @:
else
Q := @
say = @printf '  %-8s %s\n' '$(1)' '$(2)'
endif

# --- variants ------------------------------------------------------------------------------------
empty :=
comma := ,
ifeq ($(SANITIZE),)
B := build
HARDEN := -D_FORTIFY_SOURCE=2
else ifeq ($(SANITIZE),address,undefined)
B := build/asan
else ifeq ($(SANITIZE),thread)
B := build/tsan
else ifeq ($(SANITIZE),fuzzer-no-link,address,undefined)
B := build/fuzz
else
B := build/san-$(subst $(comma),-,$(SANITIZE))
endif
ifneq ($(SANITIZE),)
SANFLAGS := -fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=all
CFLAGS := -O1 -g
endif

G := build/gen
PB := build/proto
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Werror
# Instrumented code makes GCC see uninitialised values where there are none.
# (clang, which builds the fuzzers, does not know the option.)
ifneq ($(filter-out fuzzer%,$(SANITIZE)),)
WARN += -Wno-maybe-uninitialized
endif
CPPFLAGS += -D_GNU_SOURCE -DMT_VERSION='"$(VERSION)"' -I. -I$(PB)
HARDEN += -fstack-protector-strong -fPIE
BASEFLAGS := -std=gnu11 -pthread $(CFLAGS) $(HARDEN) $(SANFLAGS)
LINKFLAGS := -pie -pthread -Wl,-z,relro,-z,now -Wl,--as-needed $(SANFLAGS) $(LDFLAGS)
LIBS := -lgrpc -lgpr -lprotobuf-c -lmicrohttpd -lgnutls -ljansson -lyaml -luv -lcurl -lssl \
	-lcrypto -lpcre2-8 -lxxhash -lpthread -lm

# --- protobuf ------------------------------------------------------------------------------------
PROTO_OURS := $(if $(wildcard proto),$(shell find proto -name '*.proto' | LC_ALL=C sort))
PROTO_WKT := $(addprefix google/protobuf/,any.proto duration.proto timestamp.proto struct.proto \
	wrappers.proto empty.proto)
PROTO_NAMES := $(patsubst proto/%,%,$(PROTO_OURS)) $(PROTO_WKT)
PROTO_C := $(PROTO_NAMES:%.proto=$(PB)/%.pb-c.c)
PROTO_H := $(PROTO_C:.c=.h)
PROTO_O := $(PROTO_C:$(PB)/%.c=$(B)/obj/proto/%.o)

define protoc_rule
$(PB)/%.pb-c.c $(PB)/%.pb-c.h &: $(1)/%.proto
	$$(call say,PROTOC,$$*.proto)
	$$(Q)mkdir -p $$(@D)
	$$(Q)protoc-c -Iproto -I/usr/include --dependency_out=$(PB)/$$*.d --c_out=$(PB) $$*.proto
endef
$(eval $(call protoc_rule,proto))
$(eval $(call protoc_rule,/usr/include))
# A .proto that went away is no error for what was generated with it.
%.proto: ;

# Every generated message descriptor by full name: what Any is decoded with.
$(G)/pb_types.c: tools/gen_pb_types $(PROTO_C)
	$(call say,GEN,$@)
	$(Q)mkdir -p $(@D) && tools/gen_pb_types $(PROTO_NAMES:%.proto=%) > $@

$(B)/obj/proto/%.o: $(PB)/%.c | $(PROTO_H)
	$(call say,CC,proto/$*.c)
	$(Q)mkdir -p $(@D) && $(CC) -std=gnu11 -O1 -g $(HARDEN) $(SANFLAGS) -w -I$(PB) -MMD -MP \
		-U_FORTIFY_SOURCE -c $< -o $@

# --- C -------------------------------------------------------------------------------------------
objs = $(patsubst %.c,$(B)/obj/%.o,$(1))

$(B)/obj/%.o: %.c | $(PROTO_H)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(CPPFLAGS) $(BASEFLAGS) $(WARN) -MMD -MP -c $< -o $@

$(B)/obj/gen/%.o: $(G)/%.c | $(PROTO_H)
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(CPPFLAGS) $(BASEFLAGS) $(WARN) -MMD -MP -c $< -o $@

# library NAME,SOURCES[,MORE OBJECTS]: a thin archive build/lib/libNAME.a
ALL_SRC :=
define library
ALL_SRC += $(2)
LIB_$(1) := $(B)/lib/lib$(1).a
$(B)/lib/lib$(1).a: $(call objs,$(2)) $(3)
	$$(call say,AR,$$@)
	$$(Q)mkdir -p $$(@D) && rm -f $$@ && $$(AR) rcsDT $$@ $$^
endef

# program NAME,SOURCES,LIBRARIES,FLAGS OF MORE: build/bin/NAME, part of `all` when its sources exist
BINS :=
define program
ALL_SRC += $(2)
ifneq ($(strip $(2)),)
BINS += $(B)/bin/$(1)
endif
$(B)/bin/$(1): $(call objs,$(2)) $(3)
	$$(call say,LD,$$@)
	$$(Q)mkdir -p $$(@D) && $$(CC) $$(LINKFLAGS) -o $$@ $(call objs,$(2)) \
		-Wl,--start-group $(3) -Wl,--end-group $$(LIBS) $(4)
endef

include common/module.mk galley/module.mk pilot/module.mk citadel/module.mk mixer/module.mk
include agent/module.mk ctl/module.mk tests/module.mk

all: $(BINS)
-include $(sort $(patsubst %.c,$(B)/obj/%.d,$(ALL_SRC))) $(PROTO_O:.o=.d)
-include $(PROTO_C:.pb-c.c=.d)

# --- what people call ----------------------------------------------------------------------------
.PHONY: all help deps up down check lint format unit golden integration leaks proto-test fuzz
.PHONY: fuzz-build bench install clean docs

help:
	@echo 'make                 build all programs into build/bin'
	@echo 'make up | down       start | stop the embedded mesh and its sample application [PORT=8080]'
	@echo 'make check           everything below; what CI runs'
	@echo 'make lint | format   checks of style and structure | clang-format'
	@echo 'make unit [T=name]   unit tests'
	@echo 'make golden          configuration in, Envoy configuration out'
	@echo 'make proto-test      our protos against the official descriptors'
	@echo 'make integration [PYTEST="-k name"]'
	@echo 'make leaks           a part of them with sanitized daemons'
	@echo 'make fuzz [FUZZ_SECONDS=60] [T=name]'
	@echo 'make docs            the reference of options, metrics and debug pages, into build/docs'
	@echo 'make bench           benchmarks; results in build/bench'
	@echo 'make deps            install what is missing (Debian packages, the pinned Envoy)'
	@echo 'make install         DESTDIR, PREFIX'
	@echo 'Options: V=1, CC=..., CFLAGS=..., SANITIZE=address,undefined | thread'

docs:
	@$(PYTHON) tools/gen_reference build/docs/reference

deps:
	@ENVOY_VERSION=$(ENVOY_VERSION) tools/deps

up: deps
	+@$(MAKE) --no-print-directory all
	@exec deploy/local/up $(if $(PORT),--port $(PORT)) $(UP)

down:
	@exec deploy/local/down $(if $(PORT),--port $(PORT)) $(UP)

check: deps
	+@MAKE='$(MAKE)' tools/check

lint: $(PROTO_H)
	@tools/lint

format:
	@tools/lint --format

install: all
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 0755 $(filter-out $(B)/bin/apps/% $(B)/bin/bench/%,$(BINS)) $(DESTDIR)$(PREFIX)/bin

clean:
	rm -rf build/obj build/lib build/bin build/gen build/proto build/tests build/asan build/tsan \
		build/fuzz build/san-*
