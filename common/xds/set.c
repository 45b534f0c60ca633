/* Immutable sets of resources, and snapshots.
 *
 * A set is one block: the header and the pointers to its resources, sorted by name. A patch copies
 * the pointers (8 bytes a resource) and shares the resources. */
#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/xds/diff.h"

static _Atomic uint64_t last_number;

static uint64_t res_sum(const struct mt_res *r)
{
	return mt_hash_mix(mt_hash_str(r->name), r->hash);
}

struct mt_set *mt_set_make(struct mt_res *const *res, size_t n)
{
	struct mt_set *s = mt_alloc(sizeof(*s) + n * sizeof(struct mt_res *));
	mt_ref_init(&s->ref);
	s->number = n ? atomic_fetch_add(&last_number, 1) + 1 : 0;
	s->n = n;
	pthread_mutex_init(&s->mu, NULL);
	for (size_t i = 0; i < n; i++) {
		s->res[i] = res[i];
		s->bytes += res[i]->bytes;
		s->sum += res_sum(res[i]);
	}
	return s;
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
	struct mt_res **list = sorted(res, n, &k);
	struct mt_set *s = mt_set_make(list, k);
	mt_free(list);
	return s;
}

/* Merges: patch wins over base, what gone names falls out. Takes references of what base gives. */
static size_t merge(struct mt_res **out, const struct mt_set *base, struct mt_res **patch, size_t n,
	const char **gone, size_t ngone)
{
	size_t i = 0, j = 0, g = 0, k = 0;
	while (i < base->n || j < n) {
		int c = i == base->n ? 1 : j == n ? -1 : strcmp(base->res[i]->name, patch[j]->name);
		if (c >= 0) {
			out[k++] = patch[j++];
			i += c == 0;
			continue;
		}
		struct mt_res *r = base->res[i++];
		int d = 1;
		while (g < ngone && (d = strcmp(gone[g], r->name)) < 0)
			g++;
		if (g == ngone || d != 0)
			out[k++] = mt_res_ref(r);
	}
	return k;
}

/* Equal content of base is taken instead of a new resource: the old bytes stay shared. */
static void take_equal(const struct mt_set *base, struct mt_res **patch, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct mt_res *old = mt_set_find(base, patch[i]->name);
		if (old && old != patch[i] && old->hash == patch[i]->hash &&
			old->nprov == patch[i]->nprov &&
			(!old->nprov ||
				memcmp(old->prov, patch[i]->prov,
					old->nprov * sizeof(*old->prov)) == 0)) {
			mt_res_unref(patch[i]);
			patch[i] = mt_res_ref(old);
		}
	}
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
	size_t npatch;
	struct mt_res **patch = sorted(res, n, &npatch);
	take_equal(base, patch, npatch);
	const char **gone = mt_reallocarray(NULL, nremoved + 1, sizeof(*gone));
	for (size_t i = 0; i < nremoved; i++)
		gone[i] = removed[i];
	qsort(gone, nremoved, sizeof(*gone), str_cmpp);
	struct mt_res **out = mt_reallocarray(NULL, base->n + npatch + 1, sizeof(struct mt_res *));
	size_t k = merge(out, base, patch, npatch, gone, nremoved);
	mt_free(gone);
	mt_free(patch);
	bool same = k == base->n && (!k || memcmp(out, base->res, k * sizeof(out[0])) == 0);
	struct mt_set *s;
	if (same) {
		for (size_t i = 0; i < k; i++)
			mt_res_unref(out[i]);
		s = mt_set_ref(base);
	} else {
		s = mt_set_make(out, k);
	}
	mt_free(out);
	return s;
}

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
	for (size_t i = 0; i < s->n; i++)
		mt_res_unref(s->res[i]);
	pthread_mutex_destroy(&s->mu);
	mt_free(s);
}

size_t mt_set_size(const struct mt_set *s)
{
	return s ? s->n : 0;
}

struct mt_res *mt_set_at(const struct mt_set *s, size_t i)
{
	return s->res[i];
}

struct mt_res *mt_set_find(const struct mt_set *s, const char *name)
{
	size_t lo = 0, hi = mt_set_size(s);
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int c = strcmp(s->res[mid]->name, name);
		if (c == 0)
			return s->res[mid];
		if (c < 0)
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
