/* What the feed keeps of a resource, and how it lies on disk. Private to common/feed, and the same
 * for Galley's own last good state. */
#pragma once

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/schema/object.h"

struct mt_feed_entry {
	struct mt_object *object; /* a reference */
	char version[];           /* as the server named it; "" when there is none */
};

struct mt_feed_entry *mt_feed_entry_new(
	struct mt_object *o, const char *version); /* takes o over */
void mt_feed_entry_free(struct mt_feed_entry *e);  /* NULL allowed */

void mt_feed_record_add(struct mt_buf *out, const struct mt_feed_entry *e);
/* Calls f with each entry (f owns it). Kinds that this program does not know are skipped.
 * MT_INVALID when malformed: what was read before stays read. */
int mt_feed_record_read(const void *p, size_t n, void (*f)(void *ctx, struct mt_feed_entry *e),
	void *ctx, struct mt_err *err);
