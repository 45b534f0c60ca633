/* Last good state on disk: STATE/<record>, each with a header (magic, version, length, XXH3) so that
 * a torn or foreign file is noticed. Written aside, fsynced, renamed. Threads: one at a time. */
#pragma once

#include "common/base/buf.h"
#include "common/base/err.h"

struct mt_state;

/* Creates dir (0700) and takes its lock. MT_CONFLICT says which pid holds it. */
int mt_state_open(const char *dir, struct mt_state **ret, struct mt_err *err);
void mt_state_close(struct mt_state *s);
const char *mt_state_dir(const struct mt_state *s);
int mt_state_save(
	struct mt_state *s, const char *record, const void *p, size_t n, struct mt_err *err);
/* MT_NOT_FOUND; MT_INVALID when damaged (the file is set aside as <record>.bad). */
int mt_state_load(struct mt_state *s, const char *record, struct mt_buf *out, struct mt_err *err);
int mt_state_remove(struct mt_state *s, const char *record, struct mt_err *err);
