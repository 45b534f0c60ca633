#include "galley/source/source.h"

#include <string.h>

#include "common/base/mem.h"

#define SOURCE(vtable) extern const struct galley_source_ops vtable;
#include "galley/source/sources.def"
#undef SOURCE

static const struct galley_source_ops *const table[] = {
#define SOURCE(vtable) &vtable,
#include "galley/source/sources.def"
#undef SOURCE
};

int galley_source_open(const char *url, unsigned index, const struct galley_source_opts *o,
	struct galley_source **ret, struct mt_err *err)
{
	const char *colon = strchr(url, ':');
	size_t n = colon ? (size_t)(colon - url) : 0;

	for (size_t i = 0; i < MT_ARRAY_SIZE(table); i++) {
		struct galley_source *s;
		if (strlen(table[i]->scheme) != n || memcmp(table[i]->scheme, url, n) != 0)
			continue;
		int r = table[i]->open(colon + 1, o, &s, err);
		if (r < 0)
			return r;
		s->ops = table[i];
		s->o = *o;
		s->url = mt_strdup(url);
		s->index = index;
		*ret = s;
		return 0;
	}
	return mt_fail(err, MT_INVALID, "--source", "%s: the form is dir:PATH", url);
}

void galley_source_close(struct galley_source *s)
{
	if (!s)
		return;
	mt_free(s->url);
	mt_free(s->why);
	s->ops->close(s);
}
