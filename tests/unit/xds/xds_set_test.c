#include "common/xds/set.h"

#include <stdio.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/schema/pb.h"
#include "common/xds/diff.h"
#include "common/xds/names.h"
#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "envoy/service/discovery/v3/discovery.pb-c.h"
#include "tests/unit/unit.h"

static struct mt_res *cluster(const char *name, const char *alt)
{
	Cluster__Cluster c = CLUSTER__CLUSTER__INIT;
	c.name = (char *)name;
	c.alt_stat_name = (char *)alt;
	return mt_res_new(name, &c.base, (const uint32_t[]){ 3, 9 }, 2);
}

static struct mt_set *set_of(const char *names) /* "a b c": one letter each */
{
	struct mt_res *res[32];
	size_t n = 0;
	for (const char *p = names; *p; p++) {
		if (*p != ' ')
			res[n++] = cluster((char[]){ *p, 0 }, "");
	}
	return mt_set_new(res, n);
}

static uint8_t *join(const mt_slice *slices, size_t n, size_t *ret_n)
{
	size_t total = 0, at = 0;
	for (size_t i = 0; i < n; i++)
		total += mt_slice_n(slices[i]);
	uint8_t *bytes = mt_alloc(total + 1);
	for (size_t i = 0; i < n; i++) {
		memcpy(bytes + at, mt_slice_p(slices[i]), mt_slice_n(slices[i]));
		at += mt_slice_n(slices[i]);
	}
	*ret_n = total;
	return bytes;
}

START_TEST(resource_is_an_any)
{
	struct mt_res *r = cluster("outbound|80||a", "alt");
	size_t n;
	uint8_t *bytes = join(r->slices, r->nslices, &n);
	ck_assert_uint_eq(n, r->bytes);
	Google__Protobuf__Any *any = google__protobuf__any__unpack(NULL, n, bytes);
	ck_assert_ptr_nonnull(any);
	ck_assert_str_eq(any->type_url, "type.googleapis.com/envoy.config.cluster.v3.Cluster");
	google__protobuf__any__free_unpacked(any, NULL);
	mt_free(bytes);

	struct mt_arena *a = mt_arena_new(0);
	Cluster__Cluster *c = (Cluster__Cluster *)mt_res_unpack(r, a);
	ck_assert_str_eq(c->name, "outbound|80||a");
	ck_assert_str_eq(c->alt_stat_name, "alt");
	ck_assert_uint_eq(r->nprov, 2);
	ck_assert_uint_eq(r->prov[1], 9);
	mt_arena_free(a);
	mt_res_unref(r);

	Cluster__Cluster empty = CLUSTER__CLUSTER__INIT;
	r = mt_res_new("", &empty.base, NULL, 0);
	ck_assert_uint_eq(r->nprov, 0);
	mt_res_unref(r);
}
END_TEST

START_TEST(rope_equals_the_whole)
{
	Cluster__Cluster c = CLUSTER__CLUSTER__INIT;
	size_t big = 100000;
	char *alt = mt_alloc(big + 1);
	memset(alt, 'x', big);
	c.name = "n";
	c.alt_stat_name = alt;
	struct mt_res *whole = mt_res_new("n", &c.base, NULL, 0);
	size_t n = cluster__cluster__get_packed_size(&c);
	uint8_t *packed = mt_alloc(n);
	cluster__cluster__pack(&c, packed);

	static const size_t cuts[] = { 1, 10, 3000, 20000, 22000, 24000, 55000, 99000 };
	mt_slice pieces[MT_ARRAY_SIZE(cuts) + 2];
	size_t at = 0, k = 0;
	for (size_t i = 0; i < MT_ARRAY_SIZE(cuts); i++) {
		pieces[k++] = mt_slice_copy(packed + at, cuts[i] - at);
		at = cuts[i];
	}
	pieces[k++] = mt_slice_copy(packed + at, n - at);
	struct mt_res *rope = mt_res_new_rope(
		"n", "type.googleapis.com/envoy.config.cluster.v3.Cluster", pieces, k, NULL, 0);
	ck_assert_uint_eq(rope->hash, whole->hash);
	ck_assert_uint_eq(rope->bytes, whole->bytes);
	ck_assert_uint_gt(rope->nslices, 1);
	ck_assert_uint_lt(rope->nslices, k);
	for (uint32_t i = 0; i + 1 < rope->nslices; i++)
		ck_assert_uint_gt(mt_slice_n(rope->slices[i]), 1000); /* no crumbs */
	mt_res_unref(rope);

	rope = mt_res_new_rope("n", "x", NULL, 0, NULL, 0);
	ck_assert_uint_eq(rope->nslices, 1);
	mt_res_unref(rope);
	mt_res_unref(whole);
	mt_free(packed);
	mt_free(alt);
}
END_TEST

START_TEST(sets_sort_and_deduplicate)
{
	struct mt_res *res[] = { cluster("b", "1"), cluster("a", ""), cluster("b", "2") };
	struct mt_res *later = res[2];
	struct mt_set *s = mt_set_new(res, 3);
	ck_assert_uint_eq(mt_set_size(s), 2);
	ck_assert_str_eq(mt_set_at(s, 0)->name, "a");
	ck_assert_ptr_eq(mt_set_find(s, "b"), later);
	ck_assert_ptr_null(mt_set_find(s, "c"));
	ck_assert_uint_eq(mt_set_bytes(s), mt_set_at(s, 0)->bytes + later->bytes);
	mt_set_unref(s);

	struct mt_set *x = set_of("a b c"), *y = set_of("c b a"), *z = set_of("a b");
	ck_assert_uint_eq(mt_set_hash(x), mt_set_hash(y));
	ck_assert_uint_ne(mt_set_hash(x), mt_set_hash(z));
	mt_set_unref(x);
	mt_set_unref(y);
	mt_set_unref(z);
	ck_assert_uint_eq(mt_set_size(NULL), 0);
}
END_TEST

START_TEST(patch_shares_what_stays)
{
	struct mt_set *base = set_of("a b c");
	struct mt_res *b2 = cluster("b", "new"), *d = cluster("d", "");
	struct mt_set *p = mt_set_patch(
		base, (struct mt_res *[]){ d, b2 }, 2, (const char *const[]){ "nobody", "c" }, 2);
	ck_assert_uint_eq(mt_set_size(p), 3);
	ck_assert_ptr_eq(mt_set_find(p, "a"), mt_set_find(base, "a"));
	ck_assert_ptr_eq(mt_set_find(p, "b"), b2);
	ck_assert_ptr_eq(mt_set_find(p, "d"), d);
	ck_assert_ptr_null(mt_set_find(p, "c"));

	/* Equal content is no change; neither is nothing. */
	struct mt_res *same = cluster("a", "");
	struct mt_set *q = mt_set_patch(p, &same, 1, NULL, 0);
	ck_assert_ptr_eq(q, p);
	mt_set_unref(q);
	q = mt_set_patch(p, NULL, 0, (const char *const[]){ "zz" }, 1);
	ck_assert_ptr_eq(q, p);
	mt_set_unref(q);

	/* In a patch that both adds and removes a name, what is added stays. */
	struct mt_res *a2 = cluster("a", "2");
	q = mt_set_patch(p, &a2, 1, (const char *const[]){ "a" }, 1);
	ck_assert_ptr_eq(mt_set_find(q, "a"), a2);

	/* The hash of a patched set is that of one made at once. */
	struct mt_res *all[] = { cluster("a", "2"), cluster("b", "new"), cluster("d", "") };
	struct mt_set *r = mt_set_new(all, 3);
	ck_assert_uint_eq(mt_set_hash(q), mt_set_hash(r));
	mt_set_unref(r);
	mt_set_unref(q);
	mt_set_unref(p);
	mt_set_unref(base);
}
END_TEST

START_TEST(difference_is_encoded_once)
{
	struct mt_set *base = set_of("a b c");
	struct mt_res *add[] = { cluster("b", "new"), cluster("e", "") };
	struct mt_set *next = mt_set_patch(base, add, 2, (const char *const[]){ "a" }, 1);
	struct mt_diff *d = mt_set_diff(base, next, MT_XDS_DELTA);
	struct mt_diff *again = mt_set_diff(base, next, MT_XDS_DELTA);
	ck_assert_ptr_eq(d, again);
	ck_assert_uint_eq(d->n, 2);
	ck_assert_uint_eq(d->nremoved, 1);
	ck_assert_str_eq(d->removed[0], "a");
	ck_assert(mt_diff_has(d, "e") && mt_diff_has(d, "b") && !mt_diff_has(d, "c"));

	size_t n;
	uint8_t *bytes = join(d->slices, d->nslices, &n);
	ck_assert_uint_eq(n, d->bytes);
	Discovery__DeltaDiscoveryResponse *m =
		discovery__delta_discovery_response__unpack(NULL, n, bytes);
	ck_assert_ptr_nonnull(m);
	ck_assert_uint_eq(m->n_resources, 2);
	ck_assert_str_eq(m->resources[0]->name, "b");
	char version[17];
	mt_hash_hex(add[0]->hash, version);
	ck_assert_str_eq(m->resources[0]->version, version);
	ck_assert_str_eq(m->resources[0]->resource->type_url,
		"type.googleapis.com/envoy.config.cluster.v3.Cluster");
	ck_assert_uint_eq(m->n_removed_resources, 1);
	ck_assert_str_eq(m->removed_resources[0], "a");
	discovery__delta_discovery_response__free_unpacked(m, NULL);
	mt_free(bytes);

	struct mt_diff *sotw = mt_set_diff(NULL, next, MT_XDS_SOTW);
	bytes = join(sotw->slices, sotw->nslices, &n);
	Discovery__DiscoveryResponse *r = discovery__discovery_response__unpack(NULL, n, bytes);
	ck_assert_ptr_nonnull(r);
	ck_assert_uint_eq(r->n_resources, 3);
	discovery__discovery_response__free_unpacked(r, NULL);
	mt_free(bytes);
	mt_diff_unref(sotw);
	mt_diff_unref(d);
	mt_diff_unref(again);

	/* More bases than the cache keeps: always the right answer. */
	struct mt_set *old[20];
	for (size_t i = 0; i < MT_ARRAY_SIZE(old); i++) {
		old[i] = set_of("abcdefghijklmnopqrst" + i);
		for (int round = 0; round < 2; round++) {
			d = mt_set_diff(old[i], next, MT_XDS_DELTA);
			size_t missing = 0;
			for (size_t k = 0; k < mt_set_size(old[i]); k++)
				missing += !mt_set_find(next, mt_set_at(old[i], k)->name);
			ck_assert_uint_eq(d->nremoved, missing);
			mt_diff_unref(d);
		}
	}
	for (size_t i = 0; i < MT_ARRAY_SIZE(old); i++)
		mt_set_unref(old[i]);
	mt_set_unref(base);
	mt_set_unref(next);
}
END_TEST

/* Sets that were made step by step are what a set made at once is, and share what is the same. */
START_TEST(patches_at_random)
{
	enum { NAMES = 700, STEPS = 400 };
	int have[NAMES] = { 0 };
	struct mt_set *s = mt_set_new(NULL, 0);
	unsigned x = 12345;
	for (int step = 0; step < STEPS; step++) {
		struct mt_res *res[64], *all[NAMES];
		char names[64][16];
		const char *gone[64];
		size_t n = 0, g = 0, k = 0;
		for (int i = 0, many = step % 5 ? 3 : 60; i < many; i++) {
			x = x * 1103515245 + 12345;
			unsigned name = (x >> 8) % NAMES;
			snprintf(names[i], sizeof(names[i]), "n%u", name);
			if (x >> 28 < (step / 50 % 2 ? 12 : 3)) {
				have[name] = 0;
				gone[g++] = names[i];
				for (size_t j = 0; j < n; j++) { /* what is added stays: not here */
					if (strcmp(res[j]->name, names[i]) == 0) {
						mt_res_unref(res[j]);
						res[j--] = res[--n];
					}
				}
			} else {
				bool going = false;
				for (size_t j = 0; j < g; j++)
					going = going || strcmp(gone[j], names[i]) == 0;
				if (going)
					continue;
				have[name] = step + 1;
				char alt[16];
				snprintf(alt, sizeof(alt), "%d", step + 1);
				res[n++] = cluster(names[i], alt);
			}
		}
		struct mt_set *next = mt_set_patch(s, res, n, gone, g);
		struct mt_diff *d = mt_set_diff(s, next, MT_XDS_DELTA);
		struct mt_set *back =
			mt_set_patch(s, NULL, 0, (const char *const *)d->removed, d->nremoved);
		struct mt_res *items[64];
		for (size_t i = 0; i < d->n; i++)
			items[i] = mt_res_ref(mt_diff_at(d, i));
		struct mt_set *again = mt_set_patch(back, items, d->n, NULL, 0);
		ck_assert_uint_eq(mt_set_hash(again), mt_set_hash(next));
		mt_set_unref(again);
		mt_set_unref(back);
		mt_diff_unref(d);
		mt_set_unref(s);
		s = next;
		for (int i = 0; i < NAMES; i++) {
			char name[16], alt[16];
			snprintf(name, sizeof(name), "n%d", i);
			snprintf(alt, sizeof(alt), "%d", have[i]);
			ck_assert((mt_set_find(s, name) != NULL) == (have[i] != 0));
			if (have[i])
				all[k++] = cluster(name, alt);
		}
		struct mt_set *whole = mt_set_new(all, k);
		ck_assert_uint_eq(mt_set_size(s), k);
		ck_assert_uint_eq(mt_set_hash(s), mt_set_hash(whole));
		ck_assert_uint_eq(mt_set_bytes(s), mt_set_bytes(whole));
		d = mt_set_diff(whole, s, MT_XDS_SOTW);
		ck_assert_uint_eq(d->n + d->nremoved, 0);
		for (size_t i = 0; i < k; i++)
			ck_assert_str_eq(mt_set_at(s, i)->name, mt_set_at(whole, i)->name);
		ck_assert_uint_le(s->nchunks, k / 8 + 2);
		mt_diff_unref(d);
		mt_set_unref(whole);
	}
	mt_set_unref(s);
}
END_TEST

START_TEST(patched_sets_share_runs)
{
	struct mt_res *res[1000];
	char name[32];
	for (size_t i = 0; i < MT_ARRAY_SIZE(res); i++) {
		snprintf(name, sizeof(name), "s%zu", i);
		res[i] = cluster(name, "");
	}
	struct mt_set *base = mt_set_new(res, MT_ARRAY_SIZE(res));
	struct mt_res *own = cluster("inbound", "x");
	struct mt_set *mine = mt_set_patch(base, &own, 1, NULL, 0);
	size_t shared = 0;
	for (size_t i = 0; i < mine->nchunks; i++) {
		for (size_t k = 0; k < base->nchunks; k++)
			shared += mine->chunks[i].c == base->chunks[k].c;
	}
	ck_assert_uint_eq(shared, mine->nchunks - 1);
	/* The encoded bytes are the same memory, once two have asked. */
	mt_diff_unref(mt_set_diff(NULL, base, MT_XDS_DELTA));
	struct mt_diff *d = mt_set_diff(NULL, base, MT_XDS_DELTA);
	struct mt_diff *m = mt_set_diff(NULL, mine, MT_XDS_DELTA);
	ck_assert_ptr_eq(
		mt_slice_p(d->slices[d->nslices - 1]), mt_slice_p(m->slices[m->nslices - 1]));
	mt_diff_unref(d);
	mt_diff_unref(m);
	mt_set_unref(mine);
	mt_set_unref(base);
}
END_TEST

START_TEST(union_keeps_what_goes)
{
	struct mt_set *base = set_of("a b"), *next = set_of("b c");
	struct mt_set *u = mt_set_union(base, next), *v = mt_set_union(base, next);
	ck_assert_ptr_eq(u, v);
	ck_assert_uint_eq(mt_set_size(u), 3);
	ck_assert_ptr_eq(mt_set_find(u, "b"), mt_set_find(next, "b"));
	struct mt_set *w = mt_set_union(u, u), *x = mt_set_union(next, u);
	ck_assert_ptr_eq(w, u);
	ck_assert_ptr_eq(x, u);
	struct mt_diff *d = mt_set_diff(u, next, MT_XDS_DELTA);
	ck_assert_uint_eq(d->n, 0);
	ck_assert_uint_eq(d->nremoved, 1);
	mt_diff_unref(d);
	mt_set_unref(u);
	mt_set_unref(v);
	mt_set_unref(w);
	mt_set_unref(x);
	mt_set_unref(base);
	mt_set_unref(next);
}
END_TEST

START_TEST(large_bodies_have_few_slices)
{
	struct mt_res *res[2000];
	char name[64];
	for (size_t i = 0; i < MT_ARRAY_SIZE(res); i++) {
		snprintf(name, sizeof(name), "outbound|80||service-%zu.default", i);
		res[i] = cluster(name, name);
	}
	struct mt_set *s = mt_set_new(res, MT_ARRAY_SIZE(res));
	struct mt_diff *d = mt_set_diff(NULL, s, MT_XDS_DELTA);
	ck_assert_uint_eq(d->n, MT_ARRAY_SIZE(res));
	ck_assert_uint_le(d->nslices, MT_ARRAY_SIZE(res) / MT_CHUNK_SIZE + 1);
	mt_diff_unref(d);
	mt_set_unref(s);
}
END_TEST

static struct mt_view *views(const char *words, size_t *ret_n)
{
	static struct mt_view v[16];
	*ret_n = 0;
	for (const char *p = words; *p; p += strcspn(p, " "), p += *p == ' ')
		v[(*ret_n)++] = (struct mt_view){ p, strcspn(p, " ") };
	return v;
}

START_TEST(name_lists_are_shared)
{
	struct mt_names_table *t = mt_names_table_new();
	size_t n;
	struct mt_view *v = views("b a c a", &n);
	struct mt_names *x = mt_names_edit(t, NULL, v, n, NULL, 0);
	ck_assert_uint_eq(mt_names_size(x), 3);
	ck_assert_str_eq(mt_names_at(x, 0), "a");
	v = views("c b a", &n);
	ck_assert(mt_names_same(x, v, n));
	struct mt_names *y = mt_names_edit(t, NULL, v, n, NULL, 0);
	ck_assert_ptr_eq(x, y);
	ck_assert_uint_eq(mt_names_table_size(t), 1);
	v = views("c b d", &n);
	ck_assert(!mt_names_same(x, v, n));
	struct mt_names *z = mt_names_edit(t, x, v + 2, 1, v, 2);
	ck_assert_uint_eq(mt_names_size(z), 2);
	ck_assert(mt_names_has(z, "a") && mt_names_has(z, "d") && !mt_names_has(z, "b"));
	struct mt_names *same = mt_names_edit(t, z, NULL, 0, v, 1);
	ck_assert_ptr_eq(same, z);
	v = views("a d", &n);
	ck_assert_ptr_null(mt_names_edit(t, z, NULL, 0, v, n));
	ck_assert(mt_names_same(NULL, NULL, 0) && !mt_names_has(NULL, "a"));
	mt_names_unref(x);
	mt_names_unref(y);
	mt_names_unref(z);
	mt_names_unref(same);
	mt_names_unref(NULL);
	ck_assert_uint_eq(mt_names_table_size(t), 0);
	mt_names_table_free(t);
}
END_TEST

/* Long lists are found in the table by their names in any order, and searched by an index. */
START_TEST(long_name_lists)
{
	enum { N = 500 };
	static char text[N + 1][24];
	struct mt_names_table *t = mt_names_table_new();
	struct mt_view v[N + 1];
	for (int i = 0; i <= N; i++) {
		snprintf(text[i], sizeof(text[i]), "name-%d", i);
		v[i] = (struct mt_view){ text[i], strlen(text[i]) };
	}
	struct mt_names *x = mt_names_edit(t, NULL, v, N, NULL, 0), *same, *y;
	ck_assert_uint_eq(mt_names_size(x), N);
	for (int i = 0; i < N; i++)
		v[i] = (struct mt_view){ text[i * 7 % N], strlen(text[i * 7 % N]) };
	same = mt_names_edit(t, NULL, v, N, NULL, 0);
	ck_assert_ptr_eq(same, x);
	for (int i = 0; i < N; i++)
		ck_assert(mt_names_has(x, text[i]));
	ck_assert(!mt_names_has(x, text[N]) && !mt_names_has(x, "") && !mt_names_has(x, "name"));

	v[5] = v[N]; /* as many, one of them another */
	y = mt_names_edit(t, NULL, v, N, NULL, 0);
	ck_assert_ptr_ne(y, x);
	ck_assert_uint_eq(mt_names_size(y), N);
	ck_assert(mt_names_has(y, text[N]));
	mt_names_unref(y);
	v[5] = v[6]; /* as many, one of them twice */
	y = mt_names_edit(t, NULL, v, N, NULL, 0);
	ck_assert_uint_eq(mt_names_size(y), N - 1);
	mt_names_unref(y);
	mt_names_unref(same);
	mt_names_unref(x);
	ck_assert_uint_eq(mt_names_table_size(t), 0);
	mt_names_table_free(t);
}
END_TEST

START_TEST(snapshots_own_their_sets)
{
	struct mt_snapshot *s = mt_snapshot_new(7, 42, 3);
	s->sets[1] = set_of("a");
	ck_assert_uint_eq(s->id, 7);
	mt_snapshot_unref(mt_snapshot_ref(s));
	mt_snapshot_unref(s);
	mt_snapshot_unref(NULL);
}
END_TEST

MT_UNIT(xds_set, resource_is_an_any, rope_equals_the_whole, sets_sort_and_deduplicate,
	patch_shares_what_stays, difference_is_encoded_once, patches_at_random,
	patched_sets_share_runs, union_keeps_what_goes, large_bodies_have_few_slices,
	name_lists_are_shared, long_name_lists, snapshots_own_their_sets)
