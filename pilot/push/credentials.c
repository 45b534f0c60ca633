#include "pilot/push/credentials.h"

#include <string.h>

#include "common/base/mem.h"

struct credentials {
	size_t n;
	const char **v; /* texts follow in the block */
};

static struct credentials *credentials_new(const char *const *names, size_t n)
{
	size_t size = sizeof(struct credentials) + n * sizeof(char *);
	for (size_t i = 0; i < n; i++)
		size += strlen(names[i]) + 1;
	struct credentials *c = mt_alloc(size);
	c->n = n;
	c->v = (const char **)(c + 1);
	char *text = (char *)(c->v + n);
	for (size_t i = 0; i < n; i++) {
		c->v[i] = strcpy(text, names[i]);
		text += strlen(text) + 1;
	}
	return c;
}

static bool same(const struct credentials *a, const char *const *names, size_t n)
{
	bool equal = a && a->n == n;
	for (size_t i = 0; equal && i < n; i++)
		equal = strcmp(a->v[i], names[i]) == 0;
	return equal;
}

bool push_reported(
	struct mt_map *all, size_t max, const char *node_id, const char *const *names, size_t n)
{
	const struct credentials *had = mt_map_get(all, node_id);

	if (same(had, names, n) || (!had && mt_map_size(all) >= max))
		return false;
	mt_free(mt_map_put(all, node_id, credentials_new(names, n)));
	return true;
}

void push_reported_take(const struct mt_map *all, struct pilot_proxy **proxy)
{
	const struct credentials *c = mt_map_get(all, (*proxy)->node_id);

	if (!c)
		return;
	struct pilot_proxy *with = pilot_proxy_with_credentials(*proxy, c->v, c->n);
	pilot_proxy_unref(*proxy);
	*proxy = with;
}
