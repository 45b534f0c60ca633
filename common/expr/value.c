#include "common/expr/value.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/base/clock.h"
#include "common/base/duration.h"

void mt_bag_init(struct mt_bag *b, struct mt_arena *a, size_t n)
{
	b->v = MT_ANEWN(a, struct mt_value, n);
	b->n = n;
}

static struct mt_value *slot(struct mt_bag *b, size_t attr, enum mt_vtype type)
{
	static _Thread_local struct mt_value nowhere; /* an attribute beyond the bag is not kept */
	if (attr >= b->n)
		return &nowhere;
	b->v[attr].type = type;
	return &b->v[attr];
}

void mt_bag_str(struct mt_bag *b, size_t attr, const char *s)
{
	if (s)
		mt_bag_text(b, attr, s, strlen(s));
}

void mt_bag_text(struct mt_bag *b, size_t attr, const char *p, size_t n)
{
	slot(b, attr, MT_V_STRING)->s = (struct mt_text){ p, n };
}

void mt_bag_int(struct mt_bag *b, size_t attr, int64_t i)
{
	slot(b, attr, MT_V_INT64)->i = i;
}

void mt_bag_bool(struct mt_bag *b, size_t attr, bool v)
{
	slot(b, attr, MT_V_BOOL)->b = v;
}

void mt_bag_time(struct mt_bag *b, size_t attr, int64_t wall_ns)
{
	slot(b, attr, MT_V_TIMESTAMP)->i = wall_ns;
}

void mt_bag_duration(struct mt_bag *b, size_t attr, int64_t ns)
{
	slot(b, attr, MT_V_DURATION)->i = ns;
}

void mt_bag_ip(struct mt_bag *b, size_t attr, const struct mt_ip *ip)
{
	if (ip->len)
		slot(b, attr, MT_V_IP_ADDRESS)->ip = *ip;
}

void mt_bag_map(struct mt_bag *b, size_t attr, const struct mt_pair *v, size_t n)
{
	slot(b, attr, MT_V_STRING_MAP)->map = (struct mt_smap){ v, n };
}

static const char *const names[MT_V_N] = {
#define VTYPE(id, number) [number] = #id,
#include "common/expr/types.def"
#undef VTYPE
};

const char *mt_vtype_name(enum mt_vtype t)
{
	return t > MT_V_NONE && t < MT_V_N ? names[t] : "NONE";
}

enum mt_vtype mt_vtype_parse(const char *name)
{
	for (int t = 1; t < MT_V_N; t++)
		if (strcmp(names[t], name) == 0)
			return t;
	return MT_V_NONE;
}

static bool ip_equal(const struct mt_ip *a, const struct mt_ip *b)
{
	return a->len == b->len && memcmp(a->b, b->b, a->len) == 0;
}

static bool map_equal(const struct mt_smap *a, const struct mt_smap *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++) {
		const struct mt_text *o = mt_smap_get(b, a->v[i].key.p, a->v[i].key.n);
		if (!o || o->n != a->v[i].value.n || memcmp(o->p, a->v[i].value.p, o->n) != 0)
			return false;
	}
	return true;
}

bool mt_value_equal(const struct mt_value *a, const struct mt_value *b)
{
	switch (a->type) {
	case MT_V_BOOL: return a->b == b->b;
	case MT_V_INT64:
	case MT_V_TIMESTAMP:
	case MT_V_DURATION: return a->i == b->i;
	case MT_V_DOUBLE: return a->d == b->d;
	case MT_V_STRING:
	case MT_V_EMAIL_ADDRESS:
	case MT_V_URI:
		return a->s.n == b->s.n && (a->s.n == 0 || memcmp(a->s.p, b->s.p, a->s.n) == 0);
	case MT_V_DNS_NAME:
		return a->s.n == b->s.n &&
			(a->s.n == 0 || strncasecmp(a->s.p, b->s.p, a->s.n) == 0);
	case MT_V_IP_ADDRESS: return ip_equal(&a->ip, &b->ip);
	case MT_V_STRING_MAP: return map_equal(&a->map, &b->map);
	case MT_V_NONE:
	case MT_V_N: break;
	}
	return false;
}

const struct mt_text *mt_smap_get(const struct mt_smap *m, const char *key, size_t n)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->v[i].key.n == n && (n == 0 || memcmp(m->v[i].key.p, key, n) == 0))
			return &m->v[i].value;
	return NULL;
}

static struct mt_text map_text(const struct mt_smap *m, struct mt_arena *a)
{
	json_t *o = json_object();
	for (size_t i = 0; i < m->n; i++)
		json_object_setn_new(o, m->v[i].key.p ? m->v[i].key.p : "", m->v[i].key.n,
			json_stringn(m->v[i].value.p ? m->v[i].value.p : "", m->v[i].value.n));
	char *text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(o);
	struct mt_text t = mt_text(mt_arena_strdup(a, text ? text : "{}"));
	free(text);
	return t;
}

struct mt_text mt_value_text(const struct mt_value *v, struct mt_arena *a)
{
	char buf[64];

	switch (v->type) {
	case MT_V_STRING:
	case MT_V_EMAIL_ADDRESS:
	case MT_V_URI:
	case MT_V_DNS_NAME: return v->s;
	case MT_V_BOOL: return mt_text(v->b ? "true" : "false");
	case MT_V_INT64: snprintf(buf, sizeof(buf), "%lld", (long long)v->i); break;
	case MT_V_DOUBLE: snprintf(buf, sizeof(buf), "%.17g", v->d); break;
	case MT_V_TIMESTAMP: mt_time_format(v->i, buf, sizeof(buf)); break;
	case MT_V_DURATION: mt_duration_format(v->i, buf, sizeof(buf)); break;
	case MT_V_IP_ADDRESS: mt_ip_format(&v->ip, buf); break;
	case MT_V_STRING_MAP: return map_text(&v->map, a);
	default: return mt_text("");
	}
	return mt_text(mt_arena_strdup(a, buf));
}
