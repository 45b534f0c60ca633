/* Strict YAML and JSON to configuration objects. An unknown field, a wrong type, a duplicate key, an
 * unknown kind is an error that names file, line, column and field path. Both camelCase and the
 * proto's own snake_case field names are accepted (as protobuf JSON does); enums by name (or
 * number), int64 as number or string, Duration, Timestamp, wrappers, Struct, Value, Any ("@type").
 * Pure; threads: any. */
#pragma once

#include <jansson.h>

#include "common/schema/object.h"

struct mt_decode_limits {
	size_t bytes;   /* of the text, default 4 MiB */
	size_t depth;   /* default 64 */
	size_t nodes;   /* after alias expansion, default 1,000,000: a YAML bomb is refused */
	size_t objects; /* in one text, default 10,000 */
};

struct mt_objects {
	struct mt_object **v; /* owned references */
	size_t n;
	size_t cap;
};
void mt_objects_clear(struct mt_objects *o);

/* text: YAML stream of documents (JSON is YAML); `kind: List` is unrolled. file names it in
 * diagnostics (copied). Objects that decoded go to out (appended) even when others had errors;
 * returns 0, or MT_INVALID when anything was added to diags as an error. limits NULL: defaults. */
int mt_decode_text(const char *file, const char *text, size_t n,
	const struct mt_decode_limits *limits, struct mt_objects *out, struct mt_diags *diags);
/* One object already parsed (Kubernetes API, REST). */
int mt_decode_json(const char *file, json_t *doc, struct mt_objects *out, struct mt_diags *diags);
/* YAML to json_t without a schema (mesh configuration files use it with mt_pb_from_json). */
int mt_yaml_to_json(const char *file, const char *text, size_t n,
	const struct mt_decode_limits *limits, json_t **ret, struct mt_diags *diags);

/* Whole object as Kubernetes would show it: apiVersion, kind, metadata, spec. */
json_t *mt_object_to_json(const struct mt_object *o);
/* YAML text of a json_t, keys in the order given, block style. Heap (mt_free). */
char *mt_json_to_yaml(const json_t *doc);
