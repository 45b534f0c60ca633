AGENT_SRC := $(filter-out agent/main.c,$(wildcard agent/*.c agent/*/*.c))
$(eval $(call library,agent,$(AGENT_SRC)))
AGENT_LIBS := $(LIB_agent) $(LIB_meltemi)
$(eval $(call program,meltemi-agent,$(wildcard agent/main.c),$(AGENT_LIBS)))
