CITADEL_SRC := $(filter-out citadel/main.c,$(wildcard citadel/*.c citadel/*/*.c))
$(eval $(call library,citadel,$(CITADEL_SRC)))
CITADEL_LIBS := $(LIB_citadel) $(LIB_meltemi)
$(eval $(call program,citadel,$(wildcard citadel/main.c),$(CITADEL_LIBS)))
