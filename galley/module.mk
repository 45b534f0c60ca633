# libgalley-validate is pure: the command links it too.
GALLEY_VALIDATE_SRC := $(wildcard galley/validate/*.c)
GALLEY_SRC := $(filter-out galley/main.c $(GALLEY_VALIDATE_SRC),$(wildcard galley/*.c galley/*/*.c))
$(eval $(call library,galley-validate,$(GALLEY_VALIDATE_SRC)))
$(eval $(call library,galley,$(GALLEY_SRC)))
GALLEY_LIBS := $(LIB_galley) $(LIB_galley-validate) $(LIB_meltemi)
$(eval $(call program,galley,$(wildcard galley/main.c),$(GALLEY_LIBS)))
