#include "mixer/attr/parts.h"

#include <string.h>

#include "common/base/clock.h"

enum { QUERY_PARAMS_MAX = 64 };

void mixer_add_address(
	struct mixer_facts *f, const Core__Address *a, size_t ip_attr, size_t port_attr)
{
	const Core__SocketAddress *s;
	struct mt_ip ip;

	if (!a || a->address_case != CORE__ADDRESS__ADDRESS_SOCKET_ADDRESS || !a->socket_address)
		return;
	s = a->socket_address;
	if (!mixer_facts_has(f, ip_attr) && s->address && mt_ip_parse(s->address, &ip) == 0)
		mt_bag_ip(&f->bag, ip_attr, &ip);
	if (s->port_specifier_case == CORE__SOCKET_ADDRESS__PORT_SPECIFIER_PORT_VALUE)
		mixer_facts_int(f, port_attr, s->port_value);
}

static int hex(char c)
{
	return c >= '0' && c <= '9'    ? c - '0'
		: c >= 'a' && c <= 'f' ? c - 'a' + 10
		: c >= 'A' && c <= 'F' ? c - 'A' + 10
				       : -1;
}

/* %XX and '+' undone; a broken escape stays as it is, an encoded NUL too. */
static const char *unescape(struct mt_arena *a, const char *p, size_t n)
{
	char *out = mt_arena_alloc(a, n + 1), *w = out;

	for (size_t i = 0; i < n; i++) {
		int hi, lo;

		if (p[i] == '%' && i + 2 < n && (hi = hex(p[i + 1])) >= 0 &&
			(lo = hex(p[i + 2])) >= 0 && (hi | lo)) {
			*w++ = (char)(hi << 4 | lo);
			i += 2;
		} else {
			*w++ = p[i] == '+' ? ' ' : p[i];
		}
	}
	return out;
}

static void add_query(struct mixer_facts *f, const char *q)
{
	for (int i = 0; *q && i < QUERY_PARAMS_MAX; i++) {
		size_t n = strcspn(q, "&"), name = strcspn(q, "&=");

		if (name)
			mixer_facts_entry(f, MT_ATTR_REQUEST_QUERY_PARAMS,
				unescape(f->arena, q, name),
				name < n ? unescape(f->arena, q + name + 1, n - name - 1) : "");
		q += n + (q[n] == '&');
	}
}

void mixer_add_path(struct mixer_facts *f, const char *path)
{
	size_t n;

	if (!path)
		return;
	n = strcspn(path, "?#");
	mixer_facts_str(f, MT_ATTR_REQUEST_PATH, path);
	mixer_facts_strn(f, MT_ATTR_REQUEST_URL_PATH, path, n);
	if (path[n] == '?')
		add_query(f, path + n + 1);
}

static int64_t saturate(int64_t seconds, int64_t nanos)
{
	int64_t ns;

	if (__builtin_mul_overflow(seconds, (int64_t)MT_NS_PER_SEC, &ns) ||
		__builtin_add_overflow(ns, nanos, &ns))
		return seconds < 0 ? INT64_MIN : INT64_MAX;
	return ns;
}

int64_t mixer_duration_ns(const Google__Protobuf__Duration *d)
{
	return d ? saturate(d->seconds, d->nanos) : 0;
}

void mixer_add_time(
	struct mixer_facts *f, size_t attr, const Google__Protobuf__Timestamp *t, int64_t plus_ns)
{
	int64_t ns = saturate(t->seconds, t->nanos);

	if (!mixer_facts_has(f, attr) && !__builtin_add_overflow(ns, plus_ns, &ns))
		mt_bag_time(&f->bag, attr, ns);
}

const char *mixer_map_find(const struct mixer_facts *f, size_t attr, const char *key)
{
	const struct mt_value *v = mt_bag_get(&f->bag, attr);
	const struct mt_text *t = v ? mt_smap_get(&v->map, key, strlen(key)) : NULL;

	return t ? t->p : NULL;
}
