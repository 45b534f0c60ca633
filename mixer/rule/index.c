/* A group for each namespace. In a group a column for each (attribute, key) that rules are told apart
 * by, and in it a table from value to rules. A rule stands in one column: of its equalities, the one
 * whose column has most values, as that leaves fewest rules to each value. Rules without an equality
 * are always candidates. */
#include "mixer/rule/index.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/base/vec.h"

enum { VALUE_MAX = 512 };

typedef MT_VEC(uint32_t) numbers_t;

struct column {
	size_t attr;
	struct mt_text key;      /* n = 0: a plain attribute */
	struct mt_map *by_value; /* value -> numbers_t * */
};

struct group {
	MT_VEC(struct column) columns;
	numbers_t always;
};

struct mixer_index {
	struct mt_map *by_ns; /* -> struct group */
	struct group *everywhere;
};

static void numbers_free(void *p)
{
	numbers_t *v = p;

	mt_vec_clear(v);
	mt_free(v);
}

static void group_free(void *p)
{
	struct group *g = p;

	for (size_t i = 0; i < g->columns.n; i++)
		mt_map_free(g->columns.v[i].by_value, numbers_free);
	mt_vec_clear(&g->columns);
	mt_vec_clear(&g->always);
	mt_free(g);
}

void mixer_index_free(struct mixer_index *x)
{
	if (!x)
		return;
	mt_map_free(x->by_ns, group_free);
	group_free(x->everywhere);
	mt_free(x);
}

static struct column *column_of(struct group *g, const struct mt_expr_equality *e)
{
	struct column c = { e->attr, e->key, NULL };

	mt_vec_each (&g->columns, it)
		if (it->attr == e->attr && it->key.n == e->key.n &&
			(e->key.n == 0 || memcmp(it->key.p, e->key.p, e->key.n) == 0))
			return it;
	c.by_value = mt_map_new();
	mt_vec_push(&g->columns, c);
	return &g->columns.v[g->columns.n - 1];
}

/* Values are map keys: NUL-terminated, so one with a NUL or too long a one is not indexed. */
static bool indexable(const struct mt_expr_equality *e)
{
	return e->value.n < VALUE_MAX && !memchr(e->value.p ? e->value.p : "", 0, e->value.n);
}

static numbers_t *values_of(struct column *c, const struct mt_expr_equality *e)
{
	char value[VALUE_MAX];
	numbers_t *v;

	memcpy(value, e->value.p ? e->value.p : "", e->value.n);
	value[e->value.n] = '\0';
	v = mt_map_get(c->by_value, value);
	if (!v) {
		v = MT_NEW(numbers_t);
		mt_map_put(c->by_value, value, v);
	}
	return v;
}

static struct group *group_of(struct mixer_index *x, const char *ns, const char *root)
{
	struct group *g;

	if (mt_streq(ns, root))
		return x->everywhere;
	g = mt_map_get(x->by_ns, ns);
	if (!g) {
		g = MT_NEW(struct group);
		mt_map_put(x->by_ns, ns, g);
	}
	return g;
}

static void place(struct group *g, const struct mixer_rule *r, uint32_t number)
{
	const struct mt_expr_equality *best = NULL;
	size_t most = 0;

	for (size_t i = 0; i < r->nequalities; i++) {
		const struct mt_expr_equality *e = &r->equalities[i];

		if (indexable(e) && mt_map_size(column_of(g, e)->by_value) > most) {
			most = mt_map_size(column_of(g, e)->by_value);
			best = e;
		}
	}
	if (best)
		mt_vec_push(values_of(column_of(g, best), best), number);
	else
		mt_vec_push(&g->always, number);
}

struct mixer_index *mixer_index_new(
	struct mixer_rule *const *rules, size_t n, const char *root_namespace)
{
	struct mixer_index *x = MT_NEW(struct mixer_index);

	x->by_ns = mt_map_new();
	x->everywhere = MT_NEW(struct group);
	for (size_t i = 0; i < n; i++) /* what values there are, in all columns */
		for (size_t k = 0; k < rules[i]->nequalities; k++)
			if (indexable(&rules[i]->equalities[k]))
				values_of(column_of(group_of(x, rules[i]->ns, root_namespace),
						  &rules[i]->equalities[k]),
					&rules[i]->equalities[k]);
	for (size_t i = 0; i < n; i++)
		place(group_of(x, rules[i]->ns, root_namespace), rules[i], (uint32_t)i);
	return x;
}

/* ---- find ---- */

static const struct mt_text *value_of(const struct column *c, const struct mt_bag *bag)
{
	const struct mt_value *v = mt_bag_get(bag, c->attr);

	if (!v)
		return NULL;
	if (c->key.n)
		return v->type == MT_V_STRING_MAP ? mt_smap_get(&v->map, c->key.p, c->key.n) : NULL;
	return v->type == MT_V_STRING ? &v->s : NULL;
}

typedef struct {
	uint32_t *v;
	size_t n, cap;
} found_t;

static void take(found_t *f, const numbers_t *from, struct mt_arena *scratch)
{
	for (size_t i = 0; i < from->n; i++)
		mt_vec_apush(scratch, f, from->v[i]);
}

static void find_in(
	const struct group *g, const struct mt_bag *bag, struct mt_arena *scratch, found_t *f)
{
	char value[VALUE_MAX];

	take(f, &g->always, scratch);
	for (size_t i = 0; i < g->columns.n; i++) {
		const struct mt_text *t = value_of(&g->columns.v[i], bag);
		const numbers_t *v;

		if (!t || t->n >= VALUE_MAX || memchr(t->p ? t->p : "", 0, t->n))
			continue;
		memcpy(value, t->p ? t->p : "", t->n);
		value[t->n] = '\0';
		v = mt_map_get(g->columns.v[i].by_value, value);
		if (v)
			take(f, v, scratch);
	}
}

static int ascending(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

size_t mixer_index_find(const struct mixer_index *x, struct mt_text ns, const struct mt_bag *bag,
	struct mt_arena *scratch, uint32_t **ret)
{
	found_t f = { 0 };
	char name[VALUE_MAX];

	find_in(x->everywhere, bag, scratch, &f);
	if (ns.n && ns.n < VALUE_MAX && !memchr(ns.p, 0, ns.n)) {
		memcpy(name, ns.p, ns.n);
		name[ns.n] = '\0';
		const struct group *g = mt_map_get(x->by_ns, name);
		if (g)
			find_in(g, bag, scratch, &f);
	}
	if (f.n > 1)
		qsort(f.v, f.n, sizeof(*f.v), ascending);
	*ret = f.v;
	return f.n;
}
