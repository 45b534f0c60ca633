/* Shared lists of names: see names.h. A list is one block: offsets, then the NUL-terminated strings.
 * The table is weak: a list leaves it with its last reference.
 *
 * A thousand proxies subscribe to the same thousands of names, each in an order of its own. So the table
 * is looked at before anything is sorted, by the count and the sum of the names' hashes, and long lists
 * of the table have an index by which each of the names is then found. */
#include "common/xds/names.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <uthash.h>

#include "common/base/hash.h"
#include "common/base/mem.h"

enum { INDEX_MIN = 32 }; /* shorter lists have none */

struct mt_names {
	atomic_uint refs; /* lists of a table: changed under its mutex */
	uint32_t n;
	size_t bytes;    /* of the strings, their NULs counted */
	uint64_t sum;    /* of the names' hashes: order does not matter */
	uint64_t hash;   /* of sum and n: key in the table */
	uint32_t *index; /* places + 1 by hash, 0 empty; NULL: search by halves */
	uint32_t index_mask;
	struct mt_names_table *table; /* NULL: not shared */
	UT_hash_handle hh;
	uint32_t off[]; /* n offsets into the strings, which follow */
};

struct mt_names_table {
	pthread_mutex_t mu;
	struct mt_names *lists; /* by hash; of two with one hash the second stays unshared */
};

struct mt_names_table *mt_names_table_new(void)
{
	struct mt_names_table *t = MT_NEW(struct mt_names_table);
	pthread_mutex_init(&t->mu, NULL);
	return t;
}

void mt_names_table_free(struct mt_names_table *t)
{
	if (!t)
		return;
	pthread_mutex_destroy(&t->mu);
	mt_free(t);
}

size_t mt_names_table_size(struct mt_names_table *t)
{
	pthread_mutex_lock(&t->mu);
	size_t n = HASH_COUNT(t->lists);
	pthread_mutex_unlock(&t->mu);
	return n;
}

static char *strings(const struct mt_names *n)
{
	return (char *)(n->off + n->n);
}

static int view_cmp(struct mt_view a, struct mt_view b)
{
	int c = memcmp(a.p, b.p, MT_MIN(a.n, b.n));
	return c ? c : (a.n > b.n) - (a.n < b.n);
}

static int view_cmpp(const void *a, const void *b)
{
	return view_cmp(*(const struct mt_view *)a, *(const struct mt_view *)b);
}

static void sort_views(struct mt_view *v, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		if (view_cmp(v[i - 1], v[i]) > 0) {
			qsort(v, n, sizeof(*v), view_cmpp);
			return;
		}
	}
}

static struct mt_view view_at(const struct mt_names *n, size_t i)
{
	const char *s = strings(n) + n->off[i];
	size_t next = i + 1 < n->n ? n->off[i + 1] : n->bytes;
	return (struct mt_view){ s, next - n->off[i] - 1 };
}

/* Merges base and add without del; all sorted. Returns how many came out, duplicates gone. */
static size_t merge(struct mt_view *out, const struct mt_names *base, const struct mt_view *add,
	size_t nadd, const struct mt_view *del, size_t ndel)
{
	size_t i = 0, j = 0, d = 0, k = 0, nbase = mt_names_size(base);
	while (i < nbase || j < nadd) {
		struct mt_view b = i < nbase ? view_at(base, i) : (struct mt_view){ 0 };
		int c = i == nbase ? 1 : j == nadd ? -1 : view_cmp(b, add[j]);
		if (c < 0) {
			while (d < ndel && view_cmp(del[d], b) < 0)
				d++;
			if (d == ndel || view_cmp(del[d], b) != 0)
				out[k++] = b;
			i++;
			continue;
		}
		if (!k || view_cmp(out[k - 1], add[j]) != 0)
			out[k++] = add[j];
		i += c == 0;
		j++;
	}
	return k;
}

static struct mt_names *build(const struct mt_view *v, size_t n)
{
	size_t bytes = 0;
	for (size_t i = 0; i < n; i++)
		bytes += v[i].n + 1;
	struct mt_names *l = mt_alloc(sizeof(*l) + n * sizeof(l->off[0]) + bytes);
	atomic_init(&l->refs, 1);
	l->n = (uint32_t)n;
	l->bytes = bytes;
	char *s = strings(l);
	for (size_t i = 0, at = 0; i < n; i++) {
		l->off[i] = (uint32_t)at;
		memcpy(s + at, v[i].p, v[i].n);
		at += v[i].n + 1;
		l->sum += mt_hash(v[i].p, v[i].n);
	}
	return l;
}

static void index_build(struct mt_names *l)
{
	size_t slots = 1;

	if (l->n < INDEX_MIN)
		return;
	while (slots < 2 * (size_t)l->n)
		slots *= 2;
	l->index = mt_alloc(slots * sizeof(*l->index));
	l->index_mask = (uint32_t)slots - 1;
	for (uint32_t i = 0; i < l->n; i++) {
		struct mt_view v = view_at(l, i);
		uint32_t at = (uint32_t)mt_hash(v.p, v.n) & l->index_mask;
		while (l->index[at])
			at = (at + 1) & l->index_mask;
		l->index[at] = i + 1;
	}
}

static bool index_has(const struct mt_names *l, struct mt_view name)
{
	for (uint32_t at = (uint32_t)mt_hash(name.p, name.n) & l->index_mask; l->index[at];
		at = (at + 1) & l->index_mask)
		if (view_cmp(view_at(l, l->index[at] - 1), name) == 0)
			return true;
	return false;
}

/* The list of the table that has these names, in whatever order, and no others. A new reference. */
static struct mt_names *find(struct mt_names_table *t, const struct mt_view *v, size_t n)
{
	struct mt_names *l;
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += mt_hash(v[i].p, v[i].n);
	uint64_t key = mt_hash_mix(sum, n);
	pthread_mutex_lock(&t->mu);
	HASH_FIND(hh, t->lists, &key, sizeof(key), l);
	if (l)
		atomic_fetch_add(&l->refs, 1);
	pthread_mutex_unlock(&t->mu);
	bool same = l && l->n == n && l->sum == sum;
	for (size_t i = 0; same && i < n; i++)
		same = mt_names_has_view(l, v[i]);
	if (same)
		return l;
	mt_names_unref(l);
	return NULL;
}

/* Gives back the list of the table that equals l (which is freed), or puts l there. */
static struct mt_names *intern(struct mt_names_table *t, struct mt_names *l)
{
	l->hash = mt_hash_mix(l->sum, l->n);
	struct mt_names *there;
	pthread_mutex_lock(&t->mu);
	HASH_FIND(hh, t->lists, &l->hash, sizeof(l->hash), there);
	if (!there) {
		l->table = t;
		index_build(l);
		HASH_ADD(hh, t->lists, hash, sizeof(l->hash), l);
	} else if (there->bytes == l->bytes && memcmp(strings(there), strings(l), l->bytes) == 0) {
		atomic_fetch_add(&there->refs, 1);
		mt_free(l);
		l = there;
	}
	pthread_mutex_unlock(&t->mu);
	return l;
}

struct mt_names *mt_names_edit(struct mt_names_table *t, struct mt_names *base, struct mt_view *add,
	size_t nadd, struct mt_view *del, size_t ndel)
{
	size_t nbase = mt_names_size(base);
	struct mt_names *l = t && nadd && !nbase && !ndel ? find(t, add, nadd) : NULL;
	if (l)
		return l;
	sort_views(add, nadd);
	sort_views(del, ndel);
	struct mt_view *out = mt_reallocarray(NULL, nbase + nadd + 1, sizeof(*out));
	size_t n = merge(out, base, add, nadd, del, ndel);
	bool same = n == nbase;
	for (size_t i = 0; same && i < n; i++)
		same = view_cmp(out[i], view_at(base, i)) == 0;
	if (same)
		l = base ? mt_names_ref(base) : NULL;
	else if (n)
		l = build(out, n);
	mt_free(out);
	return l && !same && t ? intern(t, l) : l;
}

struct mt_names *mt_names_ref(struct mt_names *n)
{
	atomic_fetch_add(&n->refs, 1);
	return n;
}

void mt_names_unref(struct mt_names *n)
{
	if (!n)
		return;
	struct mt_names_table *t = n->table;
	if (t)
		pthread_mutex_lock(&t->mu);
	bool last = atomic_fetch_sub(&n->refs, 1) == 1;
	if (last && t)
		HASH_DEL(t->lists, n);
	if (t)
		pthread_mutex_unlock(&t->mu);
	if (last) {
		mt_free(n->index);
		mt_free(n);
	}
}

size_t mt_names_size(const struct mt_names *n)
{
	return n ? n->n : 0;
}

uint64_t mt_names_sum(const struct mt_names *n)
{
	return n ? n->sum : 0;
}

const char *mt_names_at(const struct mt_names *n, size_t i)
{
	return strings(n) + n->off[i];
}

bool mt_names_has_view(const struct mt_names *n, struct mt_view name)
{
	size_t lo = 0, hi = mt_names_size(n);
	if (n && n->index)
		return index_has(n, name);
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int d = view_cmp(view_at(n, mid), name);
		if (d == 0)
			return true;
		if (d < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return false;
}

bool mt_names_has(const struct mt_names *n, const char *name)
{
	return n && mt_names_has_view(n, (struct mt_view){ name, strlen(name) });
}

bool mt_names_same(const struct mt_names *n, const struct mt_view *v, size_t nv)
{
	if (mt_names_size(n) != nv)
		return false;
	uint64_t sum = 0;
	for (size_t i = 0; i < nv; i++)
		sum += mt_hash(v[i].p, v[i].n);
	return !n || sum == n->sum;
}
