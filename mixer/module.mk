MIXER_SRC := $(filter-out mixer/main.c,$(wildcard mixer/*.c mixer/*/*.c mixer/adapter/*/*.c))
$(eval $(call library,mixer,$(MIXER_SRC)))
MIXER_LIBS := $(LIB_mixer) $(LIB_meltemi)
$(eval $(call program,mixer,$(wildcard mixer/main.c),$(MIXER_LIBS)))
