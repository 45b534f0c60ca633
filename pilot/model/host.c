#include "pilot/model/host.h"

#include <ctype.h>
#include <string.h>

#include "common/base/strs.h"

bool pilot_host_is_wild(const char *h)
{
	return h[0] == '*';
}

bool pilot_host_covers(const char *pattern, const char *host)
{
	if (!pilot_host_is_wild(pattern))
		return strcmp(pattern, host) == 0;
	const char *tail = pattern + 1;
	if (!pilot_host_is_wild(host))
		return mt_str_suffix(host, tail) && strlen(host) > strlen(tail);
	return mt_str_suffix(host + 1, tail);
}

/* "HOST.NS.svc.DOMAIN": asked so often that a formatter is too slow. */
static char *join(struct mt_arena *a, const char *host, const char *ns, const char *domain)
{
	size_t h = strlen(host), n = strlen(ns), d = strlen(domain);
	char *r = mt_arena_alloc(a, h + n + d + sizeof("..svc."));
	memcpy(r, host, h);
	r[h] = '.';
	memcpy(r + h + 1, ns, n);
	memcpy(r + h + 1 + n, ".svc.", 5);
	memcpy(r + h + n + 6, domain, d + 1);
	return r;
}

char *pilot_host_resolve(struct mt_arena *a, const char *host, const char *ns, const char *domain)
{
	char *h;
	if (strchr(host, '.') || pilot_host_is_wild(host) || !*host)
		h = mt_arena_strdup(a, host);
	else
		h = join(a, host, ns, domain);
	for (char *p = h; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return h;
}

bool pilot_exported(const char *const *to, size_t n, const char *own_ns, const char *from_ns)
{
	if (!n)
		return true;
	for (size_t i = 0; i < n; i++) {
		if (strcmp(to[i], "*") == 0)
			return true;
		if (strcmp(to[i], ".") == 0 && strcmp(own_ns, from_ns) == 0)
			return true;
		if (strcmp(to[i], from_ns) == 0)
			return true;
	}
	return false;
}

const char *pilot_gateway_name(struct mt_arena *a, const char *name, const char *ns)
{
	const char *dot = strchr(name, '.');
	if (strcmp(name, "mesh") == 0)
		return "mesh";
	if (mt_str_prefix(name, "./"))
		return mt_arena_printf(a, "%s/%s", ns, name + 2);
	if (strchr(name, '/'))
		return name;
	if (dot)
		return mt_arena_printf(a, "%.*s/%.*s", (int)strcspn(dot + 1, "."), dot + 1,
			(int)(dot - name), name);
	return mt_arena_printf(a, "%s/%s", ns, name);
}
