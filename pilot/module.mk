# libpilot-translate is pure: the command and the golden tests link it too.
PILOT_TRANSLATE_SRC := $(wildcard pilot/model/*.c pilot/translate/*.c pilot/filter/*.c)
PILOT_SRC := $(filter-out pilot/main.c $(PILOT_TRANSLATE_SRC),$(wildcard pilot/*.c pilot/*/*.c))
$(eval $(call library,pilot-translate,$(PILOT_TRANSLATE_SRC)))
$(eval $(call library,pilot,$(PILOT_SRC)))
PILOT_LIBS := $(LIB_pilot) $(LIB_pilot-translate) $(LIB_meltemi)
$(eval $(call program,pilot,$(wildcard pilot/main.c),$(PILOT_LIBS)))
