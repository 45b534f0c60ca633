# Tests, and the small programs that they run.
# tests/unit/<module>/**/<name>_test.c: one Check program each, linked with that module's libraries
# (a first folder that is not a daemon is one of common/: the common library alone).
UNIT_SRC := $(if $(wildcard tests/unit),$(shell find tests/unit -name '*_test.c' | LC_ALL=C sort))
# What tests share (any other .c below tests/unit) is an archive: a program links what it uses.
UNIT_HELP_SRC := $(filter-out %_test.c,$(wildcard tests/unit/*.c tests/unit/*/*.c))
$(eval $(call library,unit,$(UNIT_HELP_SRC)))
unit_bin = $(patsubst tests/unit/%.c,$(B)/tests/%,$(1))
unit_libs_galley := $(GALLEY_LIBS)
unit_libs_pilot := $(PILOT_LIBS)
unit_libs_citadel := $(CITADEL_LIBS)
unit_libs_mixer := $(MIXER_LIBS)
unit_libs_agent := $(AGENT_LIBS)
unit_libs_ctl := $(CTL_LIBS)
unit_module = $(word 3,$(subst /, ,$(1)))
unit_libs = $(or $(unit_libs_$(call unit_module,$(1))),$(LIB_meltemi))
ALL_SRC += $(UNIT_SRC)

define test_program
$(1): $(call objs,$(2)) $(3)
	$$(call say,LD,$$@)
	$$(Q)mkdir -p $$(@D) && $$(CC) $$(LINKFLAGS) $(4) -o $$@ $(call objs,$(2)) \
		-Wl,--start-group $(3) -Wl,--end-group $(5) $$(LIBS)
endef
$(foreach t,$(UNIT_SRC),$(eval $(call test_program,$(call unit_bin,$(t)),$(t), \
	$(LIB_unit) $(call unit_libs,$(t)),,-lcheck -lsubunit)))

UNIT_RUN := $(if $(T),$(foreach t,$(T),$(filter %/$(t)_test.c,$(UNIT_SRC))),$(UNIT_SRC))
unit: $(call unit_bin,$(UNIT_RUN))
	@tools/run_unit $(B) $(call unit_bin,$(UNIT_RUN))

# Golden: tests/golden/*.c is the runner, each folder beside it a case.
GOLDEN_SRC := $(wildcard tests/golden/*.c)
ALL_SRC += $(GOLDEN_SRC)
$(eval $(call test_program,$(B)/tests/golden-run,$(GOLDEN_SRC),$(PILOT_LIBS) $(LIB_galley-validate),, \
	-lcheck -lsubunit))
# What the cases expect is also given to a real Envoy.
golden: deps $(B)/tests/golden-run
	@$(B)/tests/golden-run tests/golden $(T)
	@$(PYTHON) tests/golden/envoy_validate.py build/envoy/envoy $(T)

# Fuzz: tests/fuzz/<name>_fuzz.c, built by clang in build/fuzz with everything instrumented.
FUZZ_SRC := $(wildcard tests/fuzz/*_fuzz.c)
FUZZ_RUN := $(if $(T),$(foreach t,$(T),$(filter %/$(t)_fuzz.c,$(FUZZ_SRC))),$(FUZZ_SRC))
FUZZ_BIN := $(FUZZ_RUN:tests/fuzz/%.c=build/fuzz/bin/fuzz/%)
FUZZ_SANITIZE := fuzzer-no-link,address,undefined
ifeq ($(SANITIZE),$(FUZZ_SANITIZE))
ALL_SRC += $(FUZZ_SRC)
FUZZ_LIBS := $(GALLEY_LIBS) $(filter-out $(LIB_meltemi),$(PILOT_LIBS) $(CITADEL_LIBS) $(MIXER_LIBS) \
	$(AGENT_LIBS))
$(foreach t,$(FUZZ_SRC),$(eval $(call test_program,$(t:tests/fuzz/%.c=$(B)/bin/fuzz/%),$(t), \
	$(FUZZ_LIBS),-fsanitize=fuzzer)))
fuzz-build: $(FUZZ_BIN)
else
fuzz-build:
	+@$(MAKE) --no-print-directory SANITIZE=$(FUZZ_SANITIZE) CC='$(FUZZ_CC)' fuzz-build
endif
fuzz: fuzz-build
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tools/run_fuzz $(FUZZ_BIN)

# Sample applications: tests/apps/<name>.c, each with the helpers in tests/apps/common.
APPS_SRC := $(wildcard tests/apps/*.c)
APPS_HELP_SRC := $(wildcard tests/apps/common/*.c)
$(eval $(call library,apps,$(APPS_HELP_SRC)))
$(foreach t,$(APPS_SRC),$(eval $(call program,apps/$(basename $(notdir $(t))),$(t),$(LIB_apps))))

# Benchmark programs: tests/bench/<name>.c or tests/bench/<name>/*.c, into build/bin/bench.
BENCH_LIBS_xds_load := -lnghttp2
BENCH_NAMES := $(sort $(basename $(notdir $(wildcard tests/bench/*.c))) \
	$(foreach d,$(wildcard tests/bench/*/),$(if $(wildcard $(d)*.c),$(notdir $(d:/=)))))
$(foreach n,$(BENCH_NAMES),$(eval $(call program,bench/$(n), \
	$(wildcard tests/bench/$(n).c tests/bench/$(n)/*.c),$(LIB_unit) $(LIB_meltemi), \
	$(BENCH_LIBS_$(n)))))
bench: deps
	+@$(MAKE) --no-print-directory all
	@exec tests/bench/run $(BENCH)

# Python tests, in an environment of their own.
VENV := build/venv
$(VENV)/.ready: $(wildcard tests/requirements.txt)
	@tools/venv $(VENV) $<
integration: deps $(VENV)/.ready all
	@ENVOY_VERSION=$(ENVOY_VERSION) tools/deps --envoy-also $(ENVOY_OLDEST)
	@$(VENV)/bin/python -m pytest tests/integration $(PYTEST)
# The tests that are marked so once more, with sanitized daemons: a leak at the end of one is a fault.
leaks: deps $(VENV)/.ready all
	+@$(MAKE) --no-print-directory SANITIZE=address,undefined all
	@MELTEMI_BUILD=build/asan MELTEMI_SEEDS=4 $(VENV)/bin/python -m pytest tests/integration \
		-m leaks $(PYTEST)
proto-test: $(VENV)/.ready
	@$(VENV)/bin/python -m pytest tests/proto $(PYTEST)
