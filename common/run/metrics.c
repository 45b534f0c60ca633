/* Metrics registry.
 *
 * A metric has a map from label values to its series, under a lock of its own, and the same series
 * as a list that only ever grows: the text page walks that list without the lock while others add.
 * Values are atomic cells. A counter has two, an integer that is added to without retries (the usual
 * case) and a double for fractions; a gauge has the double alone, a histogram one count a bucket and
 * the sum. The `_count` of a histogram is computed from the same bucket counts that are shown, so a
 * page is consistent in itself.
 *
 * Label values may come from peers: they are cut at VALUE_MAX, made valid UTF-8, and a metric has at
 * most MT_METRIC_SERIES_MAX series. */
#include "common/run/metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/err.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/strs.h"
#include "common/run/metrics_cell.h"

enum { METRICS_MAX = 1024, VALUE_MAX = 256, NAME_LEN_MAX = 200 };

static const double default_buckets[] = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
	0 };

struct metric {
	struct mt_metric_info info;
	pthread_mutex_t lock;     /* guards by_labels and tail */
	struct mt_map *by_labels; /* key: the rendered label text */
	struct mt_metric_series *tail;
	struct mt_metric_series *only;  /* the series of a metric without labels */
	struct mt_metric_series *other; /* beyond the limit; made on demand */
};

struct mt_metrics {
	pthread_mutex_t lock; /* guards by_name and additions */
	struct mt_map *by_name;
	_Atomic(struct metric *) all[METRICS_MAX];
	atomic_size_t n;
};

static bool name_ok(const char *s, size_t n, bool colon)
{
	if (!n || n > NAME_LEN_MAX || (*s >= '0' && *s <= '9'))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') ||
			    (s[i] >= '0' && s[i] <= '9') || s[i] == '_' || (colon && s[i] == ':')))
			return false;
	return true;
}

/* Splits "type,code" into heap strings; false when a name is bad. */
static bool split_labels(struct mt_metric_info *info, const char *labels)
{
	while (*labels) {
		size_t n = strcspn(labels, ",");

		if (info->nlabels == MT_METRIC_LABELS_MAX || !name_ok(labels, n, false))
			return false;
		info->labels[info->nlabels++] = mt_strndup(labels, n);
		labels += n;
		if (*labels == ',' && !*++labels)
			return false;
	}
	return true;
}

static void metric_free(struct metric *m)
{
	struct mt_metric_series *s, *next;

	for (s = m->info.first; s; s = next) {
		next = s->next;
		mt_free(s);
	}
	for (size_t i = 0; i < m->info.nlabels; i++)
		mt_free(m->info.labels[i]);
	mt_free(m->info.name);
	mt_free(m->info.help);
	mt_free(m->info.buckets);
	mt_map_free(m->by_labels, NULL);
	pthread_mutex_destroy(&m->lock);
	mt_free(m);
}

static struct metric *metric_new(const struct mt_metric_desc *row)
{
	const double *buckets =
		row->buckets && row->buckets[0] != 0 ? row->buckets : default_buckets;
	struct metric *m = MT_NEW(struct metric);

	pthread_mutex_init(&m->lock, NULL);
	m->by_labels = mt_map_new();
	m->info.type = row->type;
	m->info.name = mt_strdup(row->name);
	m->info.help = mt_strdup(row->help);
	if (row->type == MT_METRIC_HISTOGRAM) {
		while (buckets[m->info.nbuckets] != 0)
			m->info.nbuckets++;
		m->info.buckets = mt_memdup(buckets, m->info.nbuckets * sizeof(*buckets));
	}
	if (!name_ok(row->name, strlen(row->name), true) || !split_labels(&m->info, row->labels)) {
		metric_free(m);
		return NULL;
	}
	return m;
}

/* Under m->lock, or before m is known to anybody. */
static struct mt_metric_series *series_add(struct metric *m, const char *text)
{
	size_t cells = m->info.type == MT_METRIC_HISTOGRAM ? m->info.nbuckets + 1 : 0;
	struct mt_metric_series *s =
		mt_alloc(sizeof(*s) + cells * sizeof(s->cells[0]) + strlen(text) + 1);

	s->info = &m->info;
	s->labels = memcpy((char *)&s->cells[cells], text, strlen(text) + 1);
	if (m->tail)
		atomic_store_explicit(&m->tail->next, s, memory_order_release);
	else
		atomic_store_explicit(&m->info.first, s, memory_order_release);
	m->tail = s;
	return s;
}

struct mt_metrics *mt_metrics_new(const struct mt_metric_desc *rows, size_t n)
{
	struct mt_metrics *m = MT_NEW(struct mt_metrics);

	pthread_mutex_init(&m->lock, NULL);
	m->by_name = mt_map_new();
	for (size_t i = 0; i < n; i++)
		if (mt_metrics_define(m, &rows[i]) != (int)i)
			abort(); /* the daemon's table is wrong: a bug of ours */
	return m;
}

void mt_metrics_free(struct mt_metrics *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < atomic_load(&m->n); i++)
		metric_free(m->all[i]);
	mt_map_free(m->by_name, NULL);
	pthread_mutex_destroy(&m->lock);
	mt_free(m);
}

static bool same_metric(const struct metric *a, const struct metric *b)
{
	bool same = a->info.type == b->info.type && a->info.nlabels == b->info.nlabels;

	for (size_t i = 0; same && i < a->info.nlabels; i++)
		same = mt_streq(a->info.labels[i], b->info.labels[i]);
	return same;
}

/* Under m->lock; takes new. The map holds index + 1, as no value may be NULL. */
static int define(struct mt_metrics *m, struct metric *new)
{
	size_t n = atomic_load(&m->n),
	       at = (size_t)(uintptr_t)mt_map_get(m->by_name, new->info.name);
	bool same = at && same_metric(m->all[at - 1], new);

	if (at || n == METRICS_MAX) {
		metric_free(new);
		return !at ? MT_LIMIT : same ? (int)at - 1 : MT_EXISTS;
	}
	if (!new->info.nlabels)
		new->only = series_add(new, "");
	mt_map_put(m->by_name, new->info.name, (void *)(uintptr_t)(n + 1));
	atomic_store_explicit(&m->all[n], new, memory_order_release);
	atomic_store_explicit(&m->n, n + 1, memory_order_release);
	return (int)n;
}

int mt_metrics_define(struct mt_metrics *m, const struct mt_metric_desc *row)
{
	struct metric *new = metric_new(row);
	int r;

	if (!new)
		return MT_INVALID;
	pthread_mutex_lock(&m->lock);
	r = define(m, new);
	pthread_mutex_unlock(&m->lock);
	return r;
}

/* Appends the value, escaped as Prometheus wants it and always valid UTF-8. */
static char *render_value(char *out, const char *v)
{
	size_t n = strnlen(v, VALUE_MAX);

	/* Never cut inside a character. */
	while (n == VALUE_MAX && n > VALUE_MAX - 4 && ((unsigned char)v[n] & 0xc0) == 0x80)
		n--;
	for (size_t i = 0, len; i < n; i += len) {
		unsigned char c = (unsigned char)v[i];

		len = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
		if (len > n - i || !mt_utf8_valid(v + i, len)) {
			len = 1;
			*out++ = '?';
		} else if (c == '\\' || c == '"') {
			*out++ = '\\';
			*out++ = (char)c;
		} else if (c == '\n') {
			*out++ = '\\';
			*out++ = 'n';
		} else {
			memcpy(out, v + i, len);
			out += len;
		}
	}
	return out;
}

/* a="x",b="y": what the page shows is also the key, as escaping makes it unambiguous. */
static void render_labels(char *out, const struct metric *m, const char *const *values)
{
	for (size_t i = 0; i < m->info.nlabels; i++) {
		if (i)
			*out++ = ',';
		out = stpcpy(stpcpy(out, m->info.labels[i]), "=\"");
		out = render_value(out, values && values[i] ? values[i] : "");
		*out++ = '"';
	}
	*out = '\0';
}

static size_t rendered_max(const struct metric *m)
{
	size_t n = 1;

	for (size_t i = 0; i < m->info.nlabels; i++)
		n += strlen(m->info.labels[i]) + 4 + 2 * VALUE_MAX;
	return n;
}

static struct mt_metric_series *overflow(struct metric *m)
{
	const char *values[MT_METRIC_LABELS_MAX];
	MT_AUTO(mt_strfreep) char *text = mt_alloc(rendered_max(m));

	for (size_t i = 0; i < MT_METRIC_LABELS_MAX; i++)
		values[i] = "other";
	render_labels(text, m, values);
	m->other = mt_map_get(m->by_labels, text); /* somebody may have said so himself */
	if (!m->other)
		m->other = series_add(m, text);
	return m->other;
}

static struct mt_metric_series *series_find(struct metric *m, const char *text)
{
	struct mt_metric_series *s = mt_map_get(m->by_labels, text);

	if (s)
		return s;
	if (mt_map_size(m->by_labels) >= MT_METRIC_SERIES_MAX)
		return m->other ? m->other : overflow(m);
	s = series_add(m, text);
	mt_map_put(m->by_labels, text, s);
	return s;
}

struct mt_metric_series *mt_metric_series(
	struct mt_metrics *m, int metric, const char *const *labels)
{
	struct mt_metric_series *s;
	struct metric *one;
	char small[1024], *text = small;
	size_t need;

	if (metric < 0 || (size_t)metric >= atomic_load_explicit(&m->n, memory_order_acquire))
		abort(); /* not an index of this registry: a bug of ours */
	one = atomic_load_explicit(&m->all[metric], memory_order_acquire);
	if (one->only)
		return one->only;
	need = rendered_max(one);
	if (need > sizeof(small))
		text = mt_alloc(need);
	render_labels(text, one, labels);
	pthread_mutex_lock(&one->lock);
	s = series_find(one, text);
	pthread_mutex_unlock(&one->lock);
	if (text != small)
		mt_free(text);
	return s;
}

const struct mt_metric_info *mt_metrics_at(const struct mt_metrics *m, size_t i)
{
	if (i >= atomic_load_explicit(&m->n, memory_order_acquire))
		return NULL;
	return &atomic_load_explicit(&m->all[i], memory_order_acquire)->info;
}

/* --- values ------------------------------------------------------------------------------------- */

static void cell_add(mt_metric_cell *cell, double v)
{
	double old = atomic_load_explicit(cell, memory_order_relaxed);

	while (!atomic_compare_exchange_weak_explicit(
		cell, &old, old + v, memory_order_relaxed, memory_order_relaxed))
		;
}

void mt_series_add(struct mt_metric_series *s, double v)
{
	if (s->info->type == MT_METRIC_COUNTER) {
		if (!(v >= 0))
			return; /* a counter never goes back, and NaN would stay for ever */
		if (v < 1e9 && v == (double)(int64_t)v) {
			atomic_fetch_add_explicit(&s->whole, (uint64_t)v, memory_order_relaxed);
			return;
		}
	}
	cell_add(&s->value, v);
}

void mt_series_set(struct mt_metric_series *s, double v)
{
	if (s->info->type == MT_METRIC_GAUGE)
		atomic_store_explicit(&s->value, v, memory_order_relaxed);
}

void mt_series_observe(struct mt_metric_series *s, double v)
{
	size_t i = 0;

	if (s->info->type != MT_METRIC_HISTOGRAM || isnan(v))
		return;
	while (i < s->info->nbuckets && v > s->info->buckets[i])
		i++;
	atomic_fetch_add_explicit(&s->cells[i], 1, memory_order_relaxed);
	cell_add(&s->value, v);
}

double mt_series_value(const struct mt_metric_series *s)
{
	return atomic_load_explicit(&s->value, memory_order_relaxed) +
		(double)atomic_load_explicit(&s->whole, memory_order_relaxed);
}
