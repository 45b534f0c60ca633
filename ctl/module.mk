# The command may link the two pure libraries, and nothing else of a daemon.
CTL_SRC := $(filter-out ctl/main.c,$(wildcard ctl/*.c ctl/*/*.c))
$(eval $(call library,ctl,$(CTL_SRC)))
CTL_LIBS := $(LIB_ctl) $(LIB_galley-validate) $(LIB_pilot-translate) $(LIB_meltemi)
$(eval $(call program,meltemi,$(wildcard ctl/main.c),$(CTL_LIBS)))
