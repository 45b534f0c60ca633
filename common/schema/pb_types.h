/* Every protobuf message type that this build knows, by full name: what `Any` is decoded with.
 * The table is generated from the .proto files (build/gen/pb_types.c), sorted by `strcmp` on the
 * descriptors' full names so that it can be searched by halves. Map entries are in it too.
 * Threads: any (constant). */
#ifndef MT_SCHEMA_PB_TYPES_H
#define MT_SCHEMA_PB_TYPES_H

#include <stddef.h>

#include <protobuf-c/protobuf-c.h>

extern const ProtobufCMessageDescriptor *const mt_pb_types[];
extern const size_t mt_pb_types_n;

#endif
