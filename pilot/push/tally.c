/* A plan runs whole whenever its table may have changed, so what it came upon replaces what the one
 * before did. Classes see much the same, so that a key counts once however many classes have it. */
#include "pilot/push/tally.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/strs.h"
#include "pilot/metrics.h"
#include "pilot/push/view.h"

static const struct {
	const char *name;
	int metric;
} kinds[PILOT_TALLIES] = {
#define TALLY(name, table) [PILOT_TALLY_##name] = { "pilot_" #name, METRIC_pilot_##name },
#include "pilot/translate/tallies.def"
#undef TALLY
};

void push_tally_clear(struct push_tallies *t)
{
	for (size_t i = 0; i < t->n; i++)
		mt_free(t->v[i].key);
	mt_free(t->v);
	t->v = NULL;
	t->n = 0;
}

void push_tally_take(struct push_class *c, const struct pilot_job *j)
{
	const struct pilot_tallies *all = pilot_job_tallies(j);
	struct push_tallies *t = &c->tallies;

	push_tally_clear(t);
	for (size_t i = 0; i < all->n && t->n < PUSH_TALLY_MAX; i++) {
		if (pilot_tally_table(all->v[i].kind) != c->table)
			continue;
		if ((t->n & (t->n - 1)) == 0)
			t->v = mt_reallocarray(t->v, t->n ? 2 * t->n : 1, sizeof(*t->v));
		t->v[t->n++] = (struct push_tally){ all->v[i].kind, mt_strdup(all->v[i].key) };
	}
}

static int tally_cmp(const void *pa, const void *pb)
{
	const struct push_tally *a = pa, *b = pb;
	return a->kind != b->kind ? (int)a->kind - (int)b->kind : strcmp(a->key, b->key);
}

/* Of all classes, sorted, without repeats; borrowed keys. To be freed. */
static struct push_tally *distinct(const struct push_views *v, size_t *ret_n)
{
	size_t n = 0, k = 0;

	for (int t = 0; t < PILOT_TABLES; t++)
		for (struct mt_map_it it = { 0 }; mt_map_next(v->classes[t], &it);)
			n += ((const struct push_class *)it.value)->tallies.n;
	struct push_tally *all = mt_reallocarray(NULL, n + 1, sizeof(*all));
	n = 0;
	for (int t = 0; t < PILOT_TABLES; t++)
		for (struct mt_map_it it = { 0 }; mt_map_next(v->classes[t], &it);) {
			const struct push_tallies *c =
				&((const struct push_class *)it.value)->tallies;
			if (c->n)
				memcpy(all + n, c->v, c->n * sizeof(*all));
			n += c->n;
		}
	if (n > 1)
		qsort(all, n, sizeof(*all), tally_cmp);
	for (size_t i = 0; i < n; i++)
		if (!k || tally_cmp(&all[k - 1], &all[i]) != 0)
			all[k++] = all[i];
	*ret_n = k;
	return all;
}

void push_tally_each(const struct push_views *v,
	void (*fn)(void *ctx, const char *metric, const char *key), void *ctx)
{
	size_t n;
	struct push_tally *all = distinct(v, &n);

	for (size_t i = 0; i < n; i++)
		fn(ctx, kinds[all[i].kind].name, all[i].key);
	mt_free(all);
}

static void count_world(const struct pilot_world *w, struct mt_metrics *m)
{
	size_t unhealthy = 0, subsets = 0, kinds_of[PILOT_NOTE_KINDS] = { 0 };
	const struct pilot_notes *notes = pilot_world_notes(w);

	for (size_t i = 0; i < pilot_world_nservices(w); i++) {
		const struct pilot_endpoints *eps;
		pilot_world_service(w, i, &eps);
		for (size_t k = 0; k < eps->n; k++)
			unhealthy += eps->v[k].unhealthy;
	}
	for (size_t i = 0; i < notes->n; i++) {
		kinds_of[notes->v[i].kind]++;
		subsets += notes->v[i].kind == PILOT_NOTE_SHADOWED &&
			mt_str_prefix(notes->v[i].path, "spec.subsets");
	}
	for (int k = 0; k < PILOT_NOTE_KINDS; k++)
		mt_metric_set(m, METRIC_pilot_object_notes, (double)kinds_of[k],
			pilot_note_kind_name(k), "world");
	mt_metric_set(m, METRIC_pilot_endpoint_not_ready, (double)unhealthy);
	mt_metric_set(m, METRIC_pilot_destrule_subsets, (double)subsets);
}

void push_tally_publish(
	const struct push_views *v, const struct pilot_world *w, struct mt_metrics *m)
{
	size_t n, counts[PILOT_TALLIES] = { 0 }, empty = 0;
	struct push_tally *all = distinct(v, &n);

	for (size_t i = 0; i < n; i++)
		counts[all[i].kind]++;
	mt_free(all);
	for (int k = 0; k < PILOT_TALLIES; k++)
		mt_metric_set(m, kinds[k].metric, (double)counts[k]);
	for (struct mt_map_it it = { 0 }; mt_map_next(v->classes[PILOT_ENDPOINTS], &it);)
		empty = MT_MAX(empty, ((const struct push_class *)it.value)->tallies.empty);
	mt_metric_set(m, METRIC_pilot_eds_no_instances, (double)empty);
	if (w)
		count_world(w, m);
}
