/* Resources, immutable sets of them, and snapshots: what a discovery server serves.
 *
 * A resource is encoded once. A set is sorted by name and shares resources with the set before it.
 * A snapshot is one set for each type of a server's table. All are reference counted and immutable;
 * threads: any. The difference of two sets is computed and encoded once and cached in the newer. */
#pragma once

#include "common/base/ref.h"
#include "common/rpc/slice.h"

#include <protobuf-c/protobuf-c.h>

enum { MT_XDS_TYPES_MAX = 96 };

struct mt_res {
	struct mt_ref ref;
	uint64_t hash;  /* content: type URL and bytes; its hex is the version */
	uint32_t *prov; /* ids of the configuration objects that shaped it, sorted */
	uint32_t nprov;
	uint32_t nslices; /* of the packed google.protobuf.Any */
	size_t bytes;     /* their sum */
	mt_slice *slices;
	char name[]; /* NUL terminated */
};

/* Packs msg as an Any of its descriptor's type URL. prov may be NULL (copied, and sorted). */
struct mt_res *mt_res_new(
	const char *name, const ProtobufCMessage *msg, const uint32_t *prov, size_t nprov);
/* The same with the value's bytes given as a rope: pieces of the packed message, in order (a
 * reference of each is taken over, small neighbours are joined into slices of 16 kB or more). */
struct mt_res *mt_res_new_rope(const char *name, const char *type_url, mt_slice *pieces, size_t n,
	const uint32_t *prov, size_t nprov);
struct mt_res *mt_res_ref(struct mt_res *r);
void mt_res_unref(struct mt_res *r); /* NULL allowed */
/* The message inside, unpacked into the arena (debug pages). NULL when its type is unknown. */
struct mt_arena;
ProtobufCMessage *mt_res_unpack(const struct mt_res *r, struct mt_arena *a);

struct mt_set;
/* Takes over one reference of each; sorts; of two with one name the later stays. */
struct mt_set *mt_set_new(struct mt_res **res, size_t n);
/* base with some replaced or added (references taken over) and some names removed. Same pointers for
 * the rest. Equal content returns a reference to base itself. */
struct mt_set *mt_set_patch(struct mt_set *base, struct mt_res **res, size_t n,
	const char *const *removed, size_t nremoved);
struct mt_set *mt_set_ref(struct mt_set *s);
void mt_set_unref(struct mt_set *s);                                  /* NULL allowed */
size_t mt_set_size(const struct mt_set *s);                           /* NULL: 0 */
struct mt_res *mt_set_at(const struct mt_set *s, size_t i);           /* borrowed */
struct mt_res *mt_set_find(const struct mt_set *s, const char *name); /* borrowed, NULL */
/* Calls fn with each resource of newer that old (NULL: empty) has not or has with other content; was:
 * the old one, NULL when there is none. Runs that both share are skipped. */
void mt_set_each_changed(struct mt_set *old, struct mt_set *newer,
	void (*fn)(void *ctx, struct mt_res *was, struct mt_res *is), void *ctx);
/* newer, and what only old has. A new reference. */
struct mt_set *mt_set_union(struct mt_set *old, struct mt_set *newer);
uint64_t mt_set_hash(
	const struct mt_set *s); /* of names and content hashes; equal sets, equal hash */
size_t mt_set_bytes(const struct mt_set *s);

struct mt_snapshot {
	struct mt_ref ref;
	uint64_t id;     /* grows with each snapshot that its owner makes */
	int64_t made_ns; /* mono clock: when the change that led to it was first seen */
	size_t n;
	struct mt_set *sets[]; /* NULL: nothing of this type; one reference each */
};
struct mt_snapshot *mt_snapshot_new(
	uint64_t id, int64_t made_ns, size_t ntypes); /* sets all NULL */
struct mt_snapshot *mt_snapshot_ref(struct mt_snapshot *s);
void mt_snapshot_unref(struct mt_snapshot *s);
