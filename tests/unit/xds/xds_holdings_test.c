#include "common/xds/holdings.h"

#include <stdio.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "envoy/config/cluster/v3/cluster.pb-c.h"
#include "tests/unit/unit.h"

enum { N = 100 };

static struct mt_set *set;
static char names[N][24], versions[N][17];
static struct mt_xds_held held[N + 1];

static struct mt_view view(const char *s)
{
	return (struct mt_view){ s, strlen(s) };
}

/* A set of N clusters, and held: exactly that, last name first. */
static void make(void)
{
	struct mt_res *res[N];
	for (int i = 0; i < N; i++) {
		Cluster__Cluster c = CLUSTER__CLUSTER__INIT;
		snprintf(names[i], sizeof(names[i]), "c%03d", i);
		c.name = names[i];
		res[i] = mt_res_new(names[i], &c.base, NULL, 0);
		mt_hash_hex(res[i]->hash, versions[i]);
		held[N - 1 - i] = (struct mt_xds_held){ view(names[i]), view(versions[i]) };
	}
	set = mt_set_new(res, N);
}

static bool same(size_t n)
{
	struct mt_xds_holdings *h = mt_xds_holdings_new(held, n);
	bool yes = mt_xds_holdings_same(h, set);
	/* Sorting changes nothing about it. */
	mt_xds_holdings_sort(h);
	mt_xds_holdings_sort(h);
	ck_assert(mt_xds_holdings_same(h, set) == yes);
	for (size_t i = 1; i < h->n; i++)
		ck_assert_int_lt(strcmp(h->v[i - 1].name, h->v[i].name), 0);
	mt_free(h);
	return yes;
}

START_TEST(equal_in_any_order)
{
	make();
	ck_assert(same(N));
	for (int i = 0; i < N / 2; i++) {
		struct mt_xds_held t = held[i];
		held[i] = held[N / 2 + (i * 7) % (N / 2)];
		held[N / 2 + (i * 7) % (N / 2)] = t;
	}
	ck_assert(same(N));
	mt_set_unref(set);
}
END_TEST

START_TEST(other_content)
{
	make();
	held[40].version = held[41].version;
	ck_assert(!same(N));
	held[40].version = view("not one of ours");
	ck_assert(!same(N));
	held[40].version = view("0123456789ABCDEF"); /* we write small letters */
	ck_assert(!same(N));
	held[40].version = view("");
	ck_assert(!same(N));
	mt_set_unref(set);
}
END_TEST

/* Two that exchanged their contents: the same names and the same versions. */
START_TEST(exchanged_content)
{
	make();
	struct mt_view t = held[3].version;
	held[3].version = held[4].version;
	held[4].version = t;
	ck_assert(!same(N));
	mt_set_unref(set);
}
END_TEST

START_TEST(other_count)
{
	make();
	ck_assert(!same(N - 1));
	ck_assert(!same(0));
	held[N] = (struct mt_xds_held){ view("one more"), view(versions[0]) };
	ck_assert(!same(N + 1));
	mt_set_unref(set);
}
END_TEST

START_TEST(unknown_name)
{
	make();
	held[0].name = view("unknown");
	ck_assert(!same(N));
	mt_set_unref(set);
}
END_TEST

/* A map entry that is said twice: the later counts, as in any protobuf map. */
START_TEST(said_twice)
{
	make();
	held[N] = held[0];
	struct mt_xds_holdings *h = mt_xds_holdings_new(held, N + 1);
	ck_assert(!mt_xds_holdings_same(h, set));
	mt_xds_holdings_sort(h);
	ck_assert_uint_eq(h->n, N);
	mt_free(h);

	held[0] = held[1]; /* as many as the set has, but one is not there */
	ck_assert(!same(N));

	held[0] = (struct mt_xds_held){ view("x"), view("0000000000000001") };
	held[1] = (struct mt_xds_held){ view("x"), view("0000000000000002") };
	h = mt_xds_holdings_new(held, 2);
	mt_xds_holdings_sort(h);
	ck_assert_uint_eq(h->n, 1);
	ck_assert_uint_eq(h->v[0].version, 2);
	mt_free(h);
	mt_set_unref(set);
}
END_TEST

START_TEST(nothing)
{
	struct mt_set *empty = mt_set_new(NULL, 0);
	struct mt_xds_holdings *h = mt_xds_holdings_new(NULL, 0);
	ck_assert(mt_xds_holdings_same(h, empty));
	mt_xds_holdings_sort(h);
	ck_assert_uint_eq(h->n, 0);
	mt_free(h);
	mt_set_unref(empty);
}
END_TEST

MT_UNIT(xds_holdings, equal_in_any_order, other_content, exchanged_content, other_count,
	unknown_name, said_twice, nothing)
