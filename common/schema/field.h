/* Reflection over protobuf-c descriptors that its own API lacks: JSON names, maps, oneofs.
 * Pure; threads: any. Private to schema. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "common/base/macros.h"

/* By proto name or JSON (camelCase) name; NULL. */
const ProtobufCFieldDescriptor *mt_field_find(
	const ProtobufCMessageDescriptor *d, const char *name);
/* "httpStatus" for http_status; returns buf. */
const char *mt_field_json_name(const ProtobufCFieldDescriptor *f, char *buf, size_t n);
/* The descriptor of a map's entries (key = 1, value = 2) when the field is a map, else NULL. */
const ProtobufCMessageDescriptor *mt_field_map(
	const ProtobufCMessageDescriptor *d, const ProtobufCFieldDescriptor *f);
size_t mt_field_size(const ProtobufCFieldDescriptor *f); /* of one value */
static inline bool mt_field_in_oneof(const ProtobufCFieldDescriptor *f)
{
	return f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF;
}

/* The nearest of a list of words for "did you mean"; next gives word i or NULL at the end. NULL when
 * nothing is near. */
const char *mt_nearest(
	const char *word, const char *(*next)(const void *ctx, size_t i), const void *ctx);
