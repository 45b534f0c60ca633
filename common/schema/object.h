/* A configuration object: metadata and a typed, immutable spec, one reference-counted block.
 * Threads: any (immutable once made). Everything it points to lives in its own arena. */
#pragma once

#include "common/base/arena.h"
#include "common/base/diag.h"
#include "common/base/ref.h"
#include "common/schema/kind.h"

struct mt_kv {
	const char *key;
	const char *value;
};

struct mt_places; /* field path -> line and column; private to schema */

struct mt_object {
	struct mt_ref ref;
	struct mt_arena *arena;
	const struct mt_kind *kind;
	const char *name;
	const char *ns; /* "" for cluster scope; "default" when a namespaced object names none */
	struct mt_kv *labels; /* sorted by key */
	size_t nlabels;
	struct mt_kv *annotations;
	size_t nannotations;
	int64_t created_ns;  /* wall clock; 0 unknown. Older wins where Istio says so */
	uint64_t generation; /* grows with each change of content that Galley saw */
	struct mt_pos pos;   /* where it was written; file may be NULL */
	uint64_t hash;       /* of kind, name, ns, labels, annotations and the packed spec */
	const ProtobufCMessage *spec;   /* of kind->spec */
	const struct mt_places *places; /* NULL when it did not come from text */
};

/* For those who make objects: fill what mt_object_new() returns (all of it in its arena), then seal it:
 * labels and annotations are sorted, the hash is computed, and it is immutable from then on. */
struct mt_object *mt_object_new(
	const struct mt_kind *kind, size_t size); /* about how many bytes it will have */
void mt_object_seal(struct mt_object *o);

struct mt_object *mt_object_ref(const struct mt_object *o);
void mt_object_unref(struct mt_object *o); /* NULL allowed */
MT_DEFINE_FREEP(struct mt_object *, mt_object_unrefp, mt_object_unref)

/* "VirtualService default/reviews" into buf; returns buf. */
const char *mt_object_title(const struct mt_object *o, char *buf, size_t n);
/* "default/reviews" ("reviews" for cluster scope): the resource name on the wire. */
const char *mt_object_key(const struct mt_object *o, char *buf, size_t n);
/* Place of a field path such as "spec.http[2].timeout", or of its nearest written ancestor. */
struct mt_pos mt_object_place(const struct mt_object *o, const char *path);
const char *mt_object_label(const struct mt_object *o, const char *key); /* NULL when absent */
const char *mt_object_annotation(const struct mt_object *o, const char *key);
/* Adds a diagnostic with the object's title and the field's place. Returns MT_INVALID. */
int mt_object_diag(const struct mt_object *o, struct mt_diags *d, enum mt_severity sev,
	const char *path, const char *fmt, ...) MT_PRINTF(5, 6);
