# The library under everything, with the generated protobuf code.
COMMON_SRC := $(wildcard common/*/*.c)
$(eval $(call library,meltemi,$(COMMON_SRC),$(B)/obj/gen/pb_types.o $(PROTO_O)))
