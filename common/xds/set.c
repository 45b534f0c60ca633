/* Immutable sets of resources, and snapshots.
 *
 * A set is a table of chunks (chunk.h) in the order of names. A patch rebuilds the chunks that it
 * touches and shares the others; chunks that became small are joined with the next. The hash is a sum
 * over (name, content), so it does not depend on how the set came to be. */
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/xds/diff.h"

enum { SMALL = MT_CHUNK_SIZE / 4, LARGE = 2 * MT_CHUNK_SIZE };

static _Atomic uint64_t last_number;

typedef MT_VEC(struct mt_chunk *) chunks;
typedef MT_VEC(struct mt_res *) run; /* one reference each */

/* Takes over the references in list. */
static struct mt_set *set_make(const chunks *list)
{
	struct mt_set *s = mt_alloc(sizeof(*s) + list->n * sizeof(s->chunks[0]));
	mt_ref_init(&s->ref);
	pthread_mutex_init(&s->mu, NULL);
	s->nchunks = list->n;
	for (size_t i = 0; i < list->n; i++) {
		struct mt_chunk *c = list->v[i];
		s->chunks[i].c = c;
		s->chunks[i].start = s->n;
		s->n += c->n;
		s->bytes += c->bytes;
		s->sum += c->sum;
		s->names += c->names;
	}
	s->number = s->n ? atomic_fetch_add(&last_number, 1) + 1 : 0;
	return s;
}

/* Cuts a run into chunks of about the right size and empties it. */
static void cut(chunks *out, run *r)
{
	size_t pieces = r->n > LARGE ? (r->n + MT_CHUNK_SIZE - 1) / MT_CHUNK_SIZE : 1;
	for (size_t i = 0; r->n && i < pieces; i++) {
		size_t from = r->n * i / pieces, to = r->n * (i + 1) / pieces;
		mt_vec_push(out, mt_chunk_new(r->v + from, to - from));
	}
	r->n = 0;
}

struct ordered {
	struct mt_res *res;
	size_t at;
};

static int ordered_cmp(const void *a, const void *b)
{
	const struct ordered *x = a, *y = b;
	int c = strcmp(x->res->name, y->res->name);
	return c ? c : (x->at > y->at) - (x->at < y->at);
}

/* Sorted copy of res where the later of two with one name stays; the other is released. */
static struct mt_res **sorted(struct mt_res **res, size_t n, size_t *ret_n)
{
	struct ordered *o = mt_reallocarray(NULL, n + 1, sizeof(*o));
	for (size_t i = 0; i < n; i++)
		o[i] = (struct ordered){ res[i], i };
	qsort(o, n, sizeof(*o), ordered_cmp);
	struct mt_res **out = mt_reallocarray(NULL, n + 1, sizeof(struct mt_res *));
	size_t k = 0;
	for (size_t i = 0; i < n; i++) {
		if (k && strcmp(out[k - 1]->name, o[i].res->name) == 0)
			mt_res_unref(out[--k]);
		out[k++] = o[i].res;
	}
	mt_free(o);
	*ret_n = k;
	return out;
}

struct mt_set *mt_set_new(struct mt_res **res, size_t n)
{
	size_t k;
	run all = { 0 };
	chunks list = { 0 };
	all.v = sorted(res, n, &k);
	all.n = all.cap = k;
	cut(&list, &all);
	struct mt_set *s = set_make(&list);
	mt_vec_clear(&all);
	mt_vec_clear(&list);
	return s;
}

/* ---- patching ---- */

/* What is still to be merged into the base; all sorted. */
struct patch {
	struct mt_res **res;
	size_t n, at;
	const char **gone;
	size_t ngone, gone_at;
};

static bool same_prov(const struct mt_res *a, const struct mt_res *b)
{
	return a->nprov == b->nprov &&
		(!a->nprov || memcmp(a->prov, b->prov, a->nprov * sizeof(*a->prov)) == 0);
}

/* Does the patch concern names below end (NULL: any that are left)? */
static bool touches(const struct patch *p, const struct mt_chunk *c, const char *end)
{
	if (p->at < p->n && (!end || strcmp(p->res[p->at]->name, end) < 0))
		return true;
	size_t g = p->gone_at;
	while (g < p->ngone && strcmp(p->gone[g], c->res[0]->name) < 0)
		g++;
	return g < p->ngone && strcmp(p->gone[g], c->res[c->n - 1]->name) <= 0;
}

/* Appends the chunk to out with the patch's names below end merged in. True when it changed. */
static bool merge(run *out, const struct mt_chunk *c, struct patch *p, const char *end)
{
	bool changed = false;
	for (uint32_t i = 0;
		i < c->n || (p->at < p->n && (!end || strcmp(p->res[p->at]->name, end) < 0));) {
		struct mt_res *r = i < c->n ? c->res[i] : NULL;
		struct mt_res *q = p->at < p->n ? p->res[p->at] : NULL;
		int d = !q ? -1 : !r ? 1 : strcmp(r->name, q->name);
		if (d < 0) {
			int g = 1;
			while (p->gone_at < p->ngone &&
				(g = strcmp(p->gone[p->gone_at], r->name)) < 0)
				p->gone_at++;
			bool goes = p->gone_at < p->ngone && g == 0;
			if (!goes)
				mt_vec_push(out, mt_res_ref(r));
			changed |= goes;
			i++;
			continue;
		}
		/* Equal content: the old one stays, so that its bytes stay shared. */
		if (d == 0 && q->hash == r->hash && same_prov(q, r)) {
			mt_vec_push(out, mt_res_ref(r));
			mt_res_unref(q);
		} else {
			mt_vec_push(out, q);
			changed = true;
		}
		p->at++;
		i += d == 0;
	}
	return changed;
}

static struct mt_set *apply(struct mt_set *base, struct patch *p)
{
	chunks list = { 0 };
	run pending = { 0 };
	bool changed = false;
	for (size_t k = 0; k < base->nchunks; k++) {
		struct mt_chunk *c = base->chunks[k].c;
		const char *end =
			k + 1 < base->nchunks ? base->chunks[k + 1].c->res[0]->name : NULL;
		if (!pending.n && !touches(p, c, end)) {
			mt_vec_push(&list, mt_chunk_ref(c));
			continue;
		}
		size_t before = pending.n;
		bool here = merge(&pending, c, p, end);
		changed |= here;
		if (!here && !before) {
			mt_vec_each (&pending, r)
				mt_res_unref(*r);
			pending.n = 0;
			mt_vec_push(&list, mt_chunk_ref(c));
		} else if (pending.n > SMALL || !end) {
			cut(&list, &pending);
		}
	}
	for (; p->at < p->n; p->at++) { /* only when base is empty */
		mt_vec_push(&pending, p->res[p->at]);
		changed = true;
	}
	cut(&list, &pending);
	struct mt_set *s;
	if (changed) {
		s = set_make(&list);
	} else {
		mt_vec_each (&list, c)
			mt_chunk_unref(*c);
		s = mt_set_ref(base);
	}
	mt_vec_clear(&list);
	mt_vec_clear(&pending);
	return s;
}

static int str_cmpp(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

struct mt_set *mt_set_patch(struct mt_set *base, struct mt_res **res, size_t n,
	const char *const *removed, size_t nremoved)
{
	if (!base)
		return mt_set_new(res, n);
	struct patch p = { .ngone = nremoved };
	p.res = sorted(res, n, &p.n);
	p.gone = mt_reallocarray(NULL, nremoved + 1, sizeof(*p.gone));
	for (size_t i = 0; i < nremoved; i++)
		p.gone[i] = removed[i];
	qsort(p.gone, nremoved, sizeof(*p.gone), str_cmpp);
	struct mt_set *s = apply(base, &p);
	mt_free(p.gone);
	mt_free(p.res);
	return s;
}

/* ---- looking ---- */

struct mt_set *mt_set_ref(struct mt_set *s)
{
	mt_ref_get(&s->ref);
	return s;
}

void mt_set_unref(struct mt_set *s)
{
	if (!s || !mt_ref_put(&s->ref))
		return;
	mt_set_drop_steps(s);
	for (size_t i = 0; i < s->nchunks; i++)
		mt_chunk_unref(s->chunks[i].c);
	pthread_mutex_destroy(&s->mu);
	mt_free(s);
}

size_t mt_set_size(const struct mt_set *s)
{
	return s ? s->n : 0;
}

struct mt_res *mt_set_at(const struct mt_set *s, size_t i)
{
	size_t lo = 0, hi = s->nchunks;
	while (hi - lo > 1) {
		size_t mid = (lo + hi) / 2;
		if (s->chunks[mid].start <= i)
			lo = mid;
		else
			hi = mid;
	}
	return s->chunks[lo].c->res[i - s->chunks[lo].start];
}

struct mt_res *mt_set_find(const struct mt_set *s, const char *name)
{
	if (!s || !s->n)
		return NULL;
	size_t lo = 0, hi = s->nchunks;
	while (hi - lo > 1) {
		size_t mid = (lo + hi) / 2;
		if (strcmp(s->chunks[mid].c->res[0]->name, name) <= 0)
			lo = mid;
		else
			hi = mid;
	}
	const struct mt_chunk *c = s->chunks[lo].c;
	for (lo = 0, hi = c->n; lo < hi;) {
		size_t mid = (lo + hi) / 2;
		int d = strcmp(c->res[mid]->name, name);
		if (d == 0)
			return c->res[mid];
		if (d < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

uint64_t mt_set_hash(const struct mt_set *s)
{
	return s && s->n ? mt_hash_mix(s->sum, s->n) : 0;
}

size_t mt_set_bytes(const struct mt_set *s)
{
	return s ? s->bytes : 0;
}

/* ---- snapshots ---- */

struct mt_snapshot *mt_snapshot_new(uint64_t id, int64_t made_ns, size_t ntypes)
{
	struct mt_snapshot *s = mt_alloc(sizeof(*s) + ntypes * sizeof(struct mt_set *));
	mt_ref_init(&s->ref);
	s->id = id;
	s->made_ns = made_ns;
	s->n = ntypes;
	return s;
}

struct mt_snapshot *mt_snapshot_ref(struct mt_snapshot *s)
{
	mt_ref_get(&s->ref);
	return s;
}

void mt_snapshot_unref(struct mt_snapshot *s)
{
	if (!s || !mt_ref_put(&s->ref))
		return;
	for (size_t i = 0; i < s->n; i++)
		mt_set_unref(s->sets[i]);
	mt_free(s);
}
