/* All generated message descriptors, sorted by full name; the table is generated from proto/. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

extern const ProtobufCMessageDescriptor *const mt_pb_types[];
extern const size_t mt_pb_types_n;
