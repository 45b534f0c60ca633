/* A record is a sequence of entries: type URL NUL version NUL length (32 bits, little endian) and the
 * packed mcp.Resource. The state's own header tells a torn file. */
#include "common/feed/record.h"

#include <string.h>

#include "common/base/mem.h"
#include "common/feed/feed.h"

struct mt_feed_entry *mt_feed_entry_new(struct mt_object *o, const char *version)
{
	size_t n = strlen(version);
	struct mt_feed_entry *e = mt_alloc(sizeof(*e) + n + 1);

	e->object = o;
	memcpy(e->version, version, n);
	return e;
}

void mt_feed_entry_free(struct mt_feed_entry *e)
{
	if (!e)
		return;
	mt_object_unref(e->object);
	mt_free(e);
}

void mt_feed_record_add(struct mt_buf *out, const struct mt_feed_entry *e)
{
	const char *url = e->object->kind->type_url;
	size_t at, n;

	mt_buf_add(out, url, strlen(url) + 1);
	mt_buf_add(out, e->version, strlen(e->version) + 1);
	at = out->n;
	mt_buf_add(out, "\0\0\0\0", 4);
	mt_feed_pack(e->object, out);
	n = out->n - at - 4;
	for (int i = 0; i < 4; i++)
		out->p[at + (size_t)i] = (char)(n >> (8 * i));
}

static const char *text_take(const char **p, const char *end)
{
	const char *s = *p, *nul = s < end ? memchr(s, 0, (size_t)(end - s)) : NULL;

	if (nul)
		*p = nul + 1;
	return nul ? s : NULL;
}

int mt_feed_record_read(const void *bytes, size_t n, void (*f)(void *ctx, struct mt_feed_entry *e),
	void *ctx, struct mt_err *err)
{
	const char *p = bytes, *end = n ? p + n : p;

	while (p < end) {
		const char *url = text_take(&p, end);
		const char *version = url ? text_take(&p, end) : NULL;
		struct mt_object *o;
		size_t len = 0;

		if (!version || end - p < 4)
			return mt_fail(err, MT_INVALID, NULL, "a malformed record");
		for (int i = 0; i < 4; i++)
			len |= (size_t)(uint8_t)*p++ << (8 * i);
		if (len > (size_t)(end - p))
			return mt_fail(err, MT_INVALID, NULL, "a malformed record");
		const struct mt_kind *kind = mt_kind_by_type_url(url);
		if (kind) {
			int r = mt_feed_unpack(kind, p, len, &o, err);
			if (r < 0)
				return r;
			f(ctx, mt_feed_entry_new(o, version));
		}
		p += len;
	}
	return 0;
}
