/* Merging messages, and reading messages whose extensions may be unknown here. Pure; threads: any. */
#pragma once

#include "common/schema/pb.h"
#include "google/protobuf/struct.pb-c.h"

/* src over dst, both of one type: scalars that are set replace, messages merge, lists are appended
 * (replace_lists: replaced), maps by key. An Any merges into one of the same type and replaces one of
 * another. A Duration or Timestamp is one value. Messages are copied, so that dst may be changed
 * further; texts are shared with src, which must live as long. */
void mt_pb_merge(
	ProtobufCMessage *dst, const ProtobufCMessage *src, struct mt_arena *a, bool replace_lists);

/* As mt_pb_from_json(), but an Any of a type that is not known here becomes a TypedStruct, which Envoy
 * turns into the message itself. */
ProtobufCMessage *mt_pb_from_json_open(const ProtobufCMessageDescriptor *d, const json_t *j,
	const char *path, struct mt_arena *a, struct mt_diags *diags);
