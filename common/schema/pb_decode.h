/* Node tree -> message, guided by its descriptor; private to schema. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "common/base/buf.h"
#include "common/schema/node.h"
#include "common/schema/places.h"

/* A path is a list of steps on the stack, written out only for a diagnostic. */
struct mt_path {
	const struct mt_path *up;
	const char *key; /* NULL: an index */
	size_t index;
};

struct mt_pb_decode {
	struct mt_arena *a; /* of the message */
	struct mt_diags *diags;
	const char *file;
	const char *object;             /* title for diagnostics; may be NULL */
	struct mt_places_build *places; /* NULL: not wanted */
	bool open;         /* an Any of a type that is not known becomes a TypedStruct */
	bool bare_strings; /* a bare number or boolean is taken as its text: template instances,
			      whose strings are expressions */
};

/* Faults go to diags; the message then lacks what was wrong. NULL when there is no message at all. */
ProtobufCMessage *mt_pb_decode(struct mt_pb_decode *d, const ProtobufCMessageDescriptor *desc,
	const struct mt_node *n, const struct mt_path *path);
/* One scalar (not a message) of the field's type into *dst. */
bool mt_pb_decode_scalar(struct mt_pb_decode *d, const ProtobufCFieldDescriptor *f,
	const struct mt_node *n, const struct mt_path *path, void *dst);

/* Well-known types: true when desc is one, and *ret is its message or NULL. */
bool mt_pb_decode_wkt(struct mt_pb_decode *d, const ProtobufCMessageDescriptor *desc,
	const struct mt_node *n, const struct mt_path *path, ProtobufCMessage **ret);
/* Does null mean something for this type (Value), instead of "not set"? */
bool mt_pb_takes_null(const ProtobufCMessageDescriptor *desc);

void mt_pb_fault(struct mt_pb_decode *d, int line, int col, const struct mt_path *path,
	const char *fmt, ...) MT_PRINTF(5, 6);
void mt_pb_expected(struct mt_pb_decode *d, const struct mt_node *n, const struct mt_path *path,
	const char *what);
bool mt_node_is_null(const struct mt_node *n);
void mt_path_write(const struct mt_path *path, struct mt_buf *out);

/* Position by which a value is known: its own for a scalar, its key's for the rest. */
size_t mt_pb_place_open(
	struct mt_pb_decode *d, const char *key, const struct mt_pair *p, const struct mt_node *n);
void mt_pb_place_close(struct mt_pb_decode *d, size_t index);
