#include "common/base/workload.h"

#include <stdio.h>
#include <string.h>

#include "common/base/strs.h"

struct out {
	char *p;
	size_t n;
};

static void put(struct out *o, char c)
{
	if (o->n < MT_WORKLOAD_MAX)
		o->p[o->n] = c;
	o->n++;
}

static bool plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		(c && strchr("-._~/:", c));
}

static void put_encoded(struct out *o, const char *s)
{
	static const char hex[] = "0123456789ABCDEF";

	for (; *s; s++) {
		if (plain(*s)) {
			put(o, *s);
			continue;
		}
		put(o, '%');
		put(o, hex[(unsigned char)*s >> 4]);
		put(o, hex[(unsigned char)*s & 15]);
	}
}

static void put_pair(struct out *o, const char *prefix, const char *key, const char *value)
{
	if (mt_str_empty(value) && !*prefix)
		return;
	if (o->n)
		put(o, '&');
	for (; *prefix; prefix++)
		put(o, *prefix);
	put_encoded(o, key);
	put(o, '=');
	put_encoded(o, value ? value : "");
}

int mt_workload_format(
	const struct mt_workload *w, struct mt_arena *a, const char **ret, struct mt_err *err)
{
	struct out o = { .p = mt_arena_alloc(a, MT_WORKLOAD_MAX + 1) };

	put_pair(&o, "", "name", w->name);
	put_pair(&o, "", "ns", w->ns);
	put_pair(&o, "", "sa", w->service_account);
	put_pair(&o, "", "cluster", w->cluster);
	for (size_t i = 0; i < w->nlabels; i++)
		put_pair(&o, "l.", w->labels[i].key, w->labels[i].value);
	if (o.n > MT_WORKLOAD_MAX)
		return mt_fail(err, MT_LIMIT, NULL,
			"the workload's description has more than %d bytes", MT_WORKLOAD_MAX);
	*ret = o.p;
	return 0;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes n bytes into the arena; NULL when they are malformed. */
static const char *decode(const char *p, size_t n, struct mt_arena *a)
{
	char *out = mt_arena_alloc(a, n + 1), *to = out;

	for (size_t i = 0; i < n; i++) {
		if (p[i] != '%') {
			*to++ = p[i];
			continue;
		}
		if (i + 2 >= n || digit(p[i + 1]) < 0 || digit(p[i + 2]) < 0)
			return NULL;
		*to = (char)(digit(p[i + 1]) * 16 + digit(p[i + 2]));
		if (!*to++)
			return NULL;
		i += 2;
	}
	return mt_utf8_valid(out, (size_t)(to - out)) ? out : NULL;
}

static int take(struct mt_workload *w, struct mt_workload_label *labels, const char *key,
	const char *value, struct mt_err *err)
{
	if (mt_str_prefix(key, "l.")) {
		if (w->nlabels == MT_WORKLOAD_LABELS_MAX)
			return mt_fail(
				err, MT_LIMIT, NULL, "more than %d labels", MT_WORKLOAD_LABELS_MAX);
		labels[w->nlabels++] = (struct mt_workload_label){ key + 2, value };
	} else if (strcmp(key, "name") == 0) {
		w->name = value;
	} else if (strcmp(key, "ns") == 0) {
		w->ns = value;
	} else if (strcmp(key, "sa") == 0) {
		w->service_account = value;
	} else if (strcmp(key, "cluster") == 0) {
		w->cluster = value;
	}
	return 0;
}

int mt_workload_parse(
	const char *text, size_t n, struct mt_arena *a, struct mt_workload *ret, struct mt_err *err)
{
	struct mt_workload w = { "", "", "", "", NULL, 0 };
	struct mt_workload_label *labels;
	int r;

	if (n > MT_WORKLOAD_MAX)
		return mt_fail(err, MT_LIMIT, NULL, "a workload's description has at most %d bytes",
			MT_WORKLOAD_MAX);
	labels = MT_ANEWN(a, struct mt_workload_label, MT_WORKLOAD_LABELS_MAX);
	w.labels = labels;
	for (size_t at = 0; at < n;) {
		const char *pair = text + at, *end = memchr(pair, '&', n - at), *eq;
		size_t len = end ? (size_t)(end - pair) : n - at;
		const char *key, *value;

		at += len + 1;
		eq = memchr(pair, '=', len);
		if (!eq)
			return mt_fail(err, MT_INVALID, NULL, "a pair without \"=\"");
		key = decode(pair, (size_t)(eq - pair), a);
		value = decode(eq + 1, len - (size_t)(eq + 1 - pair), a);
		if (!key || !value)
			return mt_fail(err, MT_INVALID, NULL, "a pair is badly encoded");
		if ((r = take(&w, labels, key, value, err)) < 0)
			return r;
	}
	*ret = w;
	return 0;
}
