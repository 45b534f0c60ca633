#include "common/xds/holdings.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/hash.h"
#include "common/base/mem.h"

/* A version as mt_hash_hex() writes it. */
static uint64_t version_parse(struct mt_view v)
{
	/* What each character stands for, plus one. */
	static const uint8_t digits[256] = { ['0'] = 1,
		['1'] = 2,
		['2'] = 3,
		['3'] = 4,
		['4'] = 5,
		['5'] = 6,
		['6'] = 7,
		['7'] = 8,
		['8'] = 9,
		['9'] = 10,
		['a'] = 11,
		['b'] = 12,
		['c'] = 13,
		['d'] = 14,
		['e'] = 15,
		['f'] = 16 };
	uint64_t n = 0;

	if (v.n != 16)
		return 0;
	for (size_t i = 0; i < v.n; i++) {
		uint8_t d = digits[(unsigned char)v.p[i]];
		if (!d)
			return 0;
		n = n << 4 | (uint64_t)(d - 1);
	}
	return n;
}

struct mt_xds_holdings *mt_xds_holdings_new(const struct mt_xds_held *held, size_t n)
{
	struct mt_xds_holdings *h;
	size_t bytes = 0;

	for (size_t i = 0; i < n; i++)
		bytes += held[i].name.n + 1;
	h = mt_alloc(sizeof(*h) + n * sizeof(h->v[0]) + bytes);
	char *p = (char *)&h->v[n];
	for (size_t i = 0; i < n; i++) {
		uint64_t version = version_parse(held[i].version);
		h->v[i].name = memcpy(p, held[i].name.p, held[i].name.n);
		h->v[i].version = version;
		h->sum += mt_set_term(mt_hash(held[i].name.p, held[i].name.n), version);
		p += held[i].name.n + 1;
	}
	h->n = n;
	return h;
}

bool mt_xds_holdings_same(const struct mt_xds_holdings *h, const struct mt_set *s)
{
	return h->n == s->n && h->sum == s->sum;
}

static int holding_cmp(const void *a, const void *b)
{
	const struct mt_xds_holding *x = a, *y = b;
	int c = strcmp(x->name, y->name);
	/* The names lie in the order in which they came. */
	return c ? c : (x->name > y->name) - (x->name < y->name);
}

void mt_xds_holdings_sort(struct mt_xds_holdings *h)
{
	size_t k = 0;

	if (h->sorted)
		return;
	qsort(h->v, h->n, sizeof(h->v[0]), holding_cmp);
	for (size_t i = 0; i < h->n; i++) {
		if (k && strcmp(h->v[k - 1].name, h->v[i].name) == 0)
			k--;
		h->v[k++] = h->v[i];
	}
	h->n = k;
	h->sorted = true;
}
