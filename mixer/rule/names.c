/* Names may hold dots, so a reference can be read in several ways: the most explicit that exists
 * counts. */
#include "mixer/rule/names.h"

#include <stdio.h>
#include <string.h>

#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/strs.h"

enum { KEY_MAX = 1024 };

struct any { /* things of one name and namespace, whatever their kind */
	void *thing;
	bool general;
	bool ambiguous;
};

struct mixer_names {
	struct mt_map *full; /* name.kind.ns -> thing */
	struct mt_map *any;  /* name/ns -> struct any */
};

struct mixer_names *mixer_names_new(void)
{
	struct mixer_names *n = MT_NEW(struct mixer_names);

	n->full = mt_map_new();
	n->any = mt_map_new();
	return n;
}

void mixer_names_free(struct mixer_names *n)
{
	if (!n)
		return;
	mt_map_free(n->full, NULL);
	mt_map_free(n->any, mt_free);
	mt_free(n);
}

const char *mixer_name_full(const char *name, const char *kind, const char *ns, char *buf, size_t n)
{
	snprintf(buf, n, "%s.%s.%s", name, kind, ns);
	return buf;
}

void mixer_names_add(struct mixer_names *n, const char *name, const char *kind, const char *ns,
	bool general, void *thing)
{
	char key[KEY_MAX];
	struct any *a;

	mt_map_put(n->full, mixer_name_full(name, kind, ns, key, sizeof(key)), thing);
	snprintf(key, sizeof(key), "%s/%s", name, ns);
	a = mt_map_get(n->any, key);
	if (!a) {
		a = MT_NEW(struct any);
		mt_map_put(n->any, key, a);
	} else if (a->general || !general) {
		a->ambiguous |= !a->general;
		return;
	}
	*a = (struct any){ thing, general, false };
}

static const struct any *find_any(
	const struct mixer_names *n, const char *name, size_t len, const char *ns)
{
	char key[KEY_MAX];

	snprintf(key, sizeof(key), "%.*s/%s", (int)len, name, ns);
	return mt_map_get(n->any, key);
}

int mixer_names_find(const struct mixer_names *n, const char *what, const char *ref, const char *ns,
	void **ret, struct mt_err *err)
{
	const char *dot = strrchr(ref, '.');
	char key[KEY_MAX];
	const struct any *a = NULL;
	void *thing;

	if (mt_str_empty(ref) || strlen(ref) > KEY_MAX / 2)
		return mt_fail(err, MT_INVALID, NULL, "names no %s", what);
	thing = mt_map_get(n->full, ref); /* name.kind.namespace */
	if (!thing) {
		snprintf(key, sizeof(key), "%s.%s", ref, ns); /* name.kind */
		thing = mt_map_get(n->full, key);
	}
	if (thing) {
		*ret = thing;
		return 0;
	}
	if (dot)
		a = find_any(n, ref, (size_t)(dot - ref), dot + 1); /* name.namespace */
	if (!a)
		a = find_any(n, ref, strlen(ref), ns);
	if (!a)
		return mt_fail(err, MT_NOT_FOUND, NULL, "there is no usable %s \"%s\"", what, ref);
	if (a->ambiguous)
		return mt_fail(err, MT_CONFLICT, NULL,
			"several kinds of %s are named \"%s\": say which, as NAME.KIND", what, ref);
	*ret = a->thing;
	return 0;
}
