/* The inside of a set: runs of resources that sets share. Private to common/xds.
 * Threads: any (immutable and reference counted; the encodings are published atomically). */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "common/base/hash.h"
#include "common/xds/body.h"

enum { MT_CHUNK_SIZE = 64 };

/* A run of a set, encoded as it stands in a response. */
struct mt_encoded {
	size_t nslices;
	size_t bytes;
	mt_slice slices[];
};

struct mt_chunk {
	struct mt_ref ref;
	uint32_t n;     /* never 0 */
	uint64_t sum;   /* of mt_set_term() */
	uint64_t names; /* of the names' hashes */
	size_t bytes;
	atomic_uint asked[2];                    /* how often it was encoded, by mode */
	_Atomic(struct mt_encoded *) encoded[2]; /* kept from the second time on */
	struct mt_res *res[];                    /* sorted by name */
};

/* What a resource adds to the sum of its set. */
static inline uint64_t mt_set_term(uint64_t name_hash, uint64_t content_hash)
{
	return mt_hash_mix(name_hash, content_hash);
}

/* Takes over the references in res, which are sorted and distinct. */
struct mt_chunk *mt_chunk_new(struct mt_res *const *res, size_t n);
struct mt_chunk *mt_chunk_ref(struct mt_chunk *c);
void mt_chunk_unref(struct mt_chunk *c);
/* Appends the encoded run to a list of slices (new references). Returns its bytes. */
size_t mt_chunk_encode(struct mt_chunk *c, enum mt_xds_mode mode, struct mt_body *b);

struct mt_set_step; /* a difference or a union, with the number of the set that it starts from */

struct mt_set {
	struct mt_ref ref;
	uint64_t number; /* unique in this process, 0 for an empty set */
	uint64_t sum;
	uint64_t names;
	size_t n;
	size_t bytes;
	pthread_mutex_t mu; /* of the cache: steps, nsteps, next */
	struct mt_set_step *steps;
	uint8_t nsteps;
	uint8_t next; /* the one to be replaced */
	size_t nchunks;
	struct {
		struct mt_chunk *c;
		size_t start; /* index of its first resource */
	} chunks[];
};

void mt_set_drop_steps(struct mt_set *s);

/* A place in a set. */
struct mt_cursor {
	const struct mt_set *set; /* NULL: empty */
	size_t chunk;
	uint32_t at;
};
static inline struct mt_res *mt_cursor_res(const struct mt_cursor *c)
{
	return c->set && c->chunk < c->set->nchunks ? c->set->chunks[c->chunk].c->res[c->at] : NULL;
}
static inline void mt_cursor_next(struct mt_cursor *c)
{
	if (++c->at == c->set->chunks[c->chunk].c->n) {
		c->at = 0;
		c->chunk++;
	}
}
/* Walks both in the order of names. False at the end; else one of the two is NULL (the other side
 * does not have the name) or both are there. Runs that are the same are skipped. */
bool mt_cursor_pair(
	struct mt_cursor *a, struct mt_cursor *b, struct mt_res **ret_a, struct mt_res **ret_b);
