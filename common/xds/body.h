/* Encodes resources as they stand in a discovery response: a small head, then the resource's shared
 * slices. Private to common/xds. Threads: one a body. */
#pragma once

#include "common/base/buf.h"
#include "common/base/vec.h"
#include "common/xds/set.h"

enum mt_xds_mode { MT_XDS_SOTW, MT_XDS_DELTA };

struct mt_body {
	enum mt_xds_mode mode;
	size_t join_below; /* slices smaller than this are copied and joined */
	MT_VEC(mt_slice) slices;
	struct mt_buf pending;
	size_t bytes;
};

enum {
	MT_BODY_SHARED = 8 * 1024, /* join_below of a body that many streams send: few slices */
	MT_BODY_OWN = 512,         /* of one stream's: little memory */
};

void mt_body_res(struct mt_body *b, const struct mt_res *r);
void mt_body_removed(struct mt_body *b, const char *name); /* delta only; else nothing */
/* Adds slices that are encoded already (references are taken). */
void mt_body_slices(struct mt_body *b, const mt_slice *s, size_t n);
void mt_body_bytes(struct mt_body *b, const void *p, size_t n);
void mt_body_finish(
	struct mt_body *b); /* b->slices are complete; references belong to the caller */
