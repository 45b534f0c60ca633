/* The Prometheus text format, version 0.0.4. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/run/metrics_cell.h"

static const char *const type_names[] = { "counter", "gauge", "histogram" };

/* The shortest decimal that reads back as the same double. */
static void add_number(struct mt_buf *out, double v)
{
	char text[40];

	if (isnan(v)) {
		mt_buf_adds(out, "NaN");
	} else if (isinf(v)) {
		mt_buf_adds(out, v > 0 ? "+Inf" : "-Inf");
	} else {
		snprintf(text, sizeof(text), "%.15g", v);
		if (strtod(text, NULL) != v)
			snprintf(text, sizeof(text), "%.17g", v);
		mt_buf_adds(out, text);
	}
}

/* le is NULL but for buckets. */
static void add_line(struct mt_buf *out, const struct mt_metric_series *s, const char *suffix,
	const char *le, double v)
{
	const char *comma = le && *s->labels ? "," : "";

	mt_buf_adds(out, s->info->name);
	mt_buf_adds(out, suffix);
	if (*s->labels || le) {
		mt_buf_addc(out, '{');
		mt_buf_adds(out, s->labels);
		if (le)
			mt_buf_printf(out, "%sle=\"%s\"", comma, le);
		mt_buf_addc(out, '}');
	}
	mt_buf_addc(out, ' ');
	add_number(out, v);
	mt_buf_addc(out, '\n');
}

static void add_histogram(struct mt_buf *out, const struct mt_metric_series *s)
{
	uint64_t sum = 0;

	for (size_t i = 0; i <= s->info->nbuckets; i++) {
		MT_AUTO(mt_buf_clear) struct mt_buf le = { 0 };

		add_number(&le, i < s->info->nbuckets ? s->info->buckets[i] : INFINITY);
		sum += atomic_load_explicit(&s->cells[i], memory_order_relaxed);
		add_line(out, s, "_bucket", le.p, (double)sum);
	}
	add_line(out, s, "_sum", NULL, mt_series_value(s));
	add_line(out, s, "_count", NULL, (double)sum);
}

static void add_help(struct mt_buf *out, const struct mt_metric_info *m)
{
	mt_buf_printf(out, "# HELP %s ", m->name);
	for (const char *p = m->help; *p; p++) {
		if (*p == '\\')
			mt_buf_adds(out, "\\\\");
		else if (*p == '\n')
			mt_buf_adds(out, "\\n");
		else
			mt_buf_addc(out, *p);
	}
	mt_buf_printf(out, "\n# TYPE %s %s\n", m->name, type_names[m->type]);
}

void mt_metrics_text(const struct mt_metrics *m, struct mt_buf *out)
{
	const struct mt_metric_info *one;

	for (size_t i = 0; (one = mt_metrics_at(m, i)); i++) {
		const struct mt_metric_series *s =
			atomic_load_explicit(&one->first, memory_order_acquire);

		add_help(out, one);
		for (; s; s = atomic_load_explicit(&s->next, memory_order_acquire)) {
			if (one->type == MT_METRIC_HISTOGRAM)
				add_histogram(out, s);
			else
				add_line(out, s, "", NULL, mt_series_value(s));
		}
	}
}
