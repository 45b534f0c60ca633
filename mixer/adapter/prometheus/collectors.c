/* Each collector is a metrics registry with one metric: it can go without the others.
 *
 * A collector that nobody holds stays, idle, for the next configuration to find (a handler is often
 * opened again before or after the old one closed); it goes when a new definition wants its name or
 * more than IDLE_MAX are idle. What is idle is not shown. */
#include "mixer/adapter/prometheus/collectors.h"

#include "common/base/hash.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/strs.h"

enum { IDLE_MAX = 256 };

struct mixer_collector {
	char *name;
	char *owner; /* the handler that asked for it last */
	uint64_t definition;
	unsigned users;
	bool hidden; /* displaced by another definition: not in the map */
	struct mt_metrics *metrics;
};

struct mixer_collectors {
	struct mt_map *by_name;
	size_t idle;
	char *displaced; /* owner of the last one that was displaced */
};

struct mixer_collectors *mixer_collectors_new(void)
{
	struct mixer_collectors *c = MT_NEW(struct mixer_collectors);

	c->by_name = mt_map_new();
	return c;
}

static void collector_free(void *p)
{
	struct mixer_collector *m = p;

	mt_metrics_free(m->metrics);
	mt_free(m->name);
	mt_free(m->owner);
	mt_free(m);
}

void mixer_collectors_free(struct mixer_collectors *c)
{
	if (!c)
		return;
	mt_map_free(c->by_name, collector_free);
	mt_free(c->displaced);
	mt_free(c);
}

static uint64_t definition_of(const struct mt_metric_desc *d)
{
	uint64_t h = mt_hash_mix((uint64_t)d->type, mt_hash_str(d->labels));

	h = mt_hash_mix(h, mt_hash_str(d->help));
	for (const double *b = d->buckets; b && *b != 0; b++)
		h = mt_hash_mix(h, mt_hash(b, sizeof(*b)));
	return h;
}

static void remove_idle(struct mixer_collectors *c, struct mixer_collector *m)
{
	mt_map_del(c->by_name, m->name);
	collector_free(m);
	c->idle--;
}

/* Out of the map; freed now or with its last user. */
static const char *displace(
	struct mixer_collectors *c, struct mixer_collector *m, const char *owner)
{
	if (!m->users) {
		remove_idle(c, m);
		return NULL;
	}
	mt_map_del(c->by_name, m->name);
	m->hidden = true;
	mt_free(c->displaced);
	c->displaced = mt_streq(m->owner, owner) ? NULL : mt_strdup(m->owner);
	return c->displaced;
}

static int make(const struct mt_metric_desc *d, uint64_t definition, struct mixer_collector **ret,
	struct mt_err *err)
{
	struct mt_metrics *metrics = mt_metrics_new(NULL, 0);
	struct mixer_collector *m;

	if (mt_metrics_define(metrics, d) < 0) {
		mt_metrics_free(metrics);
		return mt_fail(err, MT_INVALID, NULL,
			"%s{%s}: Prometheus does not allow this name or one of these labels",
			d->name, d->labels);
	}
	m = MT_NEW(struct mixer_collector);
	m->name = mt_strdup(d->name);
	m->definition = definition;
	m->metrics = metrics;
	*ret = m;
	return 0;
}

int mixer_collectors_get(struct mixer_collectors *c, const struct mt_metric_desc *d,
	const char *owner, struct mixer_collector **ret, const char **ret_displaced,
	struct mt_err *err)
{
	uint64_t definition = definition_of(d);
	struct mixer_collector *old = mt_map_get(c->by_name, d->name), *m = old;
	const char *displaced = NULL;

	if (!old || old->definition != definition) {
		int r = make(d, definition, &m, err);

		if (r < 0)
			return r;
		if (old)
			displaced = displace(c, old, owner);
		mt_map_put(c->by_name, m->name, m);
	} else if (!old->users) {
		c->idle--;
	}
	m->users++;
	mt_free(m->owner);
	m->owner = mt_strdup(owner);
	*ret = m;
	*ret_displaced = displaced;
	return 0;
}

void mixer_collectors_put(struct mixer_collectors *c, struct mixer_collector *m)
{
	struct mt_map_it it = { 0 };

	if (--m->users)
		return;
	if (m->hidden) {
		collector_free(m);
		return;
	}
	c->idle++;
	while (c->idle > IDLE_MAX && mt_map_next(c->by_name, &it))
		if (((struct mixer_collector *)it.value)->users == 0)
			remove_idle(c, it.value);
}

struct mt_metric_series *mixer_collector_series(
	struct mixer_collector *m, const char *const *labels)
{
	return mt_metric_series(m->metrics, 0, labels);
}

void mixer_collectors_text(const struct mixer_collectors *c, struct mt_buf *out)
{
	struct mt_map_it it = { 0 };

	while (mt_map_next(c->by_name, &it)) {
		const struct mixer_collector *m = it.value;

		if (m->users)
			mt_metrics_text(m->metrics, out);
	}
}

size_t mixer_collectors_count(const struct mixer_collectors *c)
{
	return mt_map_size(c->by_name) - c->idle;
}
