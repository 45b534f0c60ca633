/* protobuf-c made safe and reflective. Pure; threads: any. */
#pragma once

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/diag.h"
#include "common/base/err.h"
#include "google/protobuf/any.pb-c.h"

/* Unpacks untrusted bytes: first a bounded walk (depth 64, wire types, UTF-8 of strings, against the
 * descriptor), then protobuf-c into the arena, whose limit bounds amplification. NULL on error. */
ProtobufCMessage *mt_pb_unpack(const ProtobufCMessageDescriptor *d, struct mt_arena *a,
	const void *p, size_t n, struct mt_err *err);
int mt_pb_check(const ProtobufCMessageDescriptor *d, const void *p, size_t n, struct mt_err *err);

/* Appends the packed bytes. Maps are written in key order when the message was built sorted. */
void mt_pb_pack(const ProtobufCMessage *m, struct mt_buf *out);
/* Hash of the packed bytes. */
uint64_t mt_pb_hash(const ProtobufCMessage *m);

/* A zero-initialised message of the descriptor in the arena. */
ProtobufCMessage *mt_pb_new(const ProtobufCMessageDescriptor *d, struct mt_arena *a);
/* Deep copy into the arena. */
ProtobufCMessage *mt_pb_dup(const ProtobufCMessage *m, struct mt_arena *a);

/* Protobuf JSON mapping, strict. path is the prefix of reported paths ("spec"). NULL on error. */
ProtobufCMessage *mt_pb_from_json(const ProtobufCMessageDescriptor *d, const json_t *j,
	const char *path, struct mt_arena *a, struct mt_diags *diags);
/* Canonical protobuf JSON: lowerCamelCase, defaults left out, enums by name, Any with "@type" when
 * the type is in the registry (else {"@type", "value": base64}). */
json_t *mt_pb_to_json(const ProtobufCMessage *m);

/* All message types of proto/, by full name or by "type.googleapis.com/" URL. NULL when unknown. */
const ProtobufCMessageDescriptor *mt_pb_type(const char *name_or_url);

/* Any around a message: type_url and packed value live in the arena. */
Google__Protobuf__Any *mt_pb_any(struct mt_arena *a, const ProtobufCMessage *m);
/* Unpacks an Any of a known type. */
ProtobufCMessage *mt_pb_any_unpack(
	const Google__Protobuf__Any *any, struct mt_arena *a, struct mt_err *err);
