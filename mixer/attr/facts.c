#include "mixer/attr/facts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/duration.h"
#include "common/base/strs.h"

const char *mixer_principal(const char *uri)
{
	static const char scheme[] = "spiffe://";

	return uri && mt_str_prefix(uri, scheme) ? uri + sizeof(scheme) - 1 : uri;
}

void mixer_facts_init(struct mixer_facts *f, const struct mt_vocab *vocab, struct mt_arena *a)
{
	mt_bag_init(&f->bag, a, mt_vocab_size(vocab));
	f->vocab = vocab;
	f->arena = a;
}

/* How many entries the storage of a map with n has room for. */
static size_t room(size_t n)
{
	size_t cap = 4;

	while (cap < n)
		cap *= 2;
	return cap;
}

void mixer_facts_copy(struct mixer_facts *f, const struct mixer_facts *from, struct mt_arena *a)
{
	f->bag.v = mt_arena_memdup(a, from->bag.v, from->bag.n * sizeof(*from->bag.v));
	f->bag.n = from->bag.n;
	f->vocab = from->vocab;
	f->arena = a;
	for (size_t i = 0; i < f->bag.n; i++) {
		struct mt_value *v = &f->bag.v[i];

		/* Entries are added in place up to the next power of two: not into the other's. */
		if (v->type == MT_V_STRING_MAP && v->map.n) {
			struct mt_pair *own = MT_ANEWN(a, struct mt_pair, room(v->map.n));

			memcpy(own, v->map.v, v->map.n * sizeof(*own));
			v->map.v = own;
		}
	}
}

const struct mt_text *mixer_facts_text(const struct mixer_facts *f, size_t attr)
{
	const struct mt_value *v = mt_bag_get(&f->bag, attr);

	return v && v->type == MT_V_STRING ? &v->s : NULL;
}

void mixer_facts_strn(struct mixer_facts *f, size_t attr, const char *p, size_t n)
{
	if (p && n && !mixer_facts_has(f, attr))
		mt_bag_text(&f->bag, attr, p, n);
}

void mixer_facts_str(struct mixer_facts *f, size_t attr, const char *s)
{
	mixer_facts_strn(f, attr, s, s ? strlen(s) : 0);
}

void mixer_facts_int(struct mixer_facts *f, size_t attr, int64_t i)
{
	if (!mixer_facts_has(f, attr))
		mt_bag_int(&f->bag, attr, i);
}

void mixer_facts_bool(struct mixer_facts *f, size_t attr, bool b)
{
	if (!mixer_facts_has(f, attr))
		mt_bag_bool(&f->bag, attr, b);
}

void mixer_facts_entry(struct mixer_facts *f, size_t attr, const char *key, const char *value)
{
	const struct mt_value *old = mt_bag_get(&f->bag, attr);
	size_t n = old ? old->map.n : 0;
	struct mt_pair *v = old ? (struct mt_pair *)old->map.v : NULL;

	if (mt_str_empty(key) || !value || n >= MIXER_MAP_MAX)
		return;
	if (!n || room(n) == n) {
		struct mt_pair *bigger = MT_ANEWN(f->arena, struct mt_pair, room(n + 1));

		if (n)
			memcpy(bigger, v, n * sizeof(*v));
		v = bigger;
	}
	v[n] = (struct mt_pair){ mt_text(key), mt_text(value) };
	mt_bag_map(&f->bag, attr, v, n + 1);
}

static bool add_int(struct mixer_facts *f, size_t attr, const char *value)
{
	char *end;
	long long i;

	errno = 0;
	i = strtoll(value, &end, 10);
	if (errno || *end || end == value)
		return false;
	mixer_facts_int(f, attr, i);
	return true;
}

static bool add_value(struct mixer_facts *f, size_t attr, enum mt_vtype type, const char *value)
{
	struct mt_ip ip;
	int64_t ns;

	switch (type) {
	case MT_V_INT64: return add_int(f, attr, value);
	case MT_V_BOOL:
		if (!mt_streq(value, "true") && !mt_streq(value, "false"))
			return false;
		mixer_facts_bool(f, attr, mt_streq(value, "true"));
		return true;
	case MT_V_IP_ADDRESS:
		if (mt_ip_parse(value, &ip) < 0)
			return false;
		if (!mixer_facts_has(f, attr))
			mt_bag_ip(&f->bag, attr, &ip);
		return true;
	case MT_V_TIMESTAMP:
		if (mt_time_parse(value, &ns) < 0)
			return false;
		if (!mixer_facts_has(f, attr))
			mt_bag_time(&f->bag, attr, ns);
		return true;
	case MT_V_DURATION:
		if (mt_duration_parse(value, &ns) < 0)
			return false;
		if (!mixer_facts_has(f, attr))
			mt_bag_duration(&f->bag, attr, ns);
		return true;
	case MT_V_STRING:
	case MT_V_DNS_NAME:
	case MT_V_EMAIL_ADDRESS:
	case MT_V_URI:
		mixer_facts_str(f, attr, value); /* evaluation takes text for any kind of text */
		return true;
	default: return false;
	}
}

bool mixer_facts_add(struct mixer_facts *f, const char *name, const char *value)
{
	enum mt_vtype type;
	int attr;

	if (!name || !value)
		return false;
	attr = mt_vocab_find(f->vocab, name, strlen(name), &type);
	if (attr == MT_ATTR_DESTINATION_PRINCIPAL || attr == MT_ATTR_SOURCE_PRINCIPAL)
		value = mixer_principal(value);
	if (attr >= 0)
		return add_value(f, (size_t)attr, type, value);
	/* Keys of maps may hold dots themselves: the shortest prefix that names a map. */
	for (const char *dot = strchr(name, '.'); dot; dot = strchr(dot + 1, '.')) {
		attr = mt_vocab_find(f->vocab, name, (size_t)(dot - name), &type);
		if (attr >= 0 && type == MT_V_STRING_MAP) {
			mixer_facts_entry(f, (size_t)attr, dot + 1, value);
			return true;
		}
	}
	return false;
}

/* details.bookshop.svc.cluster.local: name and namespace stand in the host. */
static void service_names(struct mixer_facts *f, const struct mt_text *host)
{
	const char *end = host->p + host->n;
	const char *dot = memchr(host->p, '.', host->n);
	const char *svc = dot ? memmem(dot, (size_t)(end - dot), ".svc.", 5) : NULL;

	if (!svc || svc == dot || memchr(dot + 1, '.', (size_t)(svc - dot - 1))) {
		mixer_facts_strn(f, MT_ATTR_DESTINATION_SERVICE_NAME, host->p, host->n);
		return;
	}
	mixer_facts_strn(f, MT_ATTR_DESTINATION_SERVICE_NAME, host->p, (size_t)(dot - host->p));
	mixer_facts_strn(
		f, MT_ATTR_DESTINATION_SERVICE_NAMESPACE, dot + 1, (size_t)(svc - dot - 1));
}

static void same_as(struct mixer_facts *f, size_t attr, size_t other)
{
	const struct mt_value *v = mt_bag_get(&f->bag, other);

	if (v && !mixer_facts_has(f, attr))
		f->bag.v[attr] = *v;
}

void mixer_facts_finish(struct mixer_facts *f)
{
	const struct mt_text *host = mixer_facts_text(f, MT_ATTR_DESTINATION_SERVICE_HOST);

	if (host)
		service_names(f, host);
	same_as(f, MT_ATTR_DESTINATION_SERVICE, MT_ATTR_DESTINATION_SERVICE_HOST);
	same_as(f, MT_ATTR_DESTINATION_NAMESPACE, MT_ATTR_DESTINATION_WORKLOAD_NAMESPACE);
	same_as(f, MT_ATTR_DESTINATION_NAMESPACE, MT_ATTR_DESTINATION_SERVICE_NAMESPACE);
	same_as(f, MT_ATTR_DESTINATION_WORKLOAD_NAMESPACE, MT_ATTR_DESTINATION_NAMESPACE);
	same_as(f, MT_ATTR_DESTINATION_NAME, MT_ATTR_DESTINATION_WORKLOAD_NAME);
	same_as(f, MT_ATTR_DESTINATION_USER, MT_ATTR_DESTINATION_PRINCIPAL);
	same_as(f, MT_ATTR_SOURCE_USER, MT_ATTR_SOURCE_PRINCIPAL);
	same_as(f, MT_ATTR_SOURCE_NAMESPACE, MT_ATTR_SOURCE_WORKLOAD_NAMESPACE);
	same_as(f, MT_ATTR_SOURCE_WORKLOAD_NAMESPACE, MT_ATTR_SOURCE_NAMESPACE);
	same_as(f, MT_ATTR_SOURCE_NAME, MT_ATTR_SOURCE_WORKLOAD_NAME);
	same_as(f, MT_ATTR_ORIGIN_IP, MT_ATTR_SOURCE_IP);
	same_as(f, MT_ATTR_CONTEXT_TIMESTAMP, MT_ATTR_CONTEXT_TIME);
	same_as(f, MT_ATTR_CONTEXT_PROXY_ERROR_CODE, MT_ATTR_RESPONSE_FLAGS);
}
