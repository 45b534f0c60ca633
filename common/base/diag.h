/* Collected diagnostics: validators find every fault and do not stop at the first.
 * Owner: whoever declares it; mt_diags_clear(). Threads: one. At most MT_DIAGS_MAX are kept, the
 * rest are counted. */
#pragma once

#include "common/base/err.h"
#include "common/base/macros.h"

enum { MT_DIAGS_MAX = 200 };
enum mt_severity { MT_SEV_ERROR, MT_SEV_WARNING, MT_SEV_INFO };

/* A place in a text: file may be NULL (not from a file), line and col start at 1, 0 = unknown. */
struct mt_pos {
	const char *file;
	int line;
	int col;
};

struct mt_diag {
	enum mt_severity severity;
	char *file; /* NULL when none */
	int line;
	int col;
	char *object; /* "VirtualService default/reviews", NULL when none */
	char *path;   /* "spec.http[2].timeout", "" when it does not apply */
	char *msg;
};

struct mt_diags {
	struct mt_diag *v;
	size_t n;
	size_t cap;
	size_t errors; /* how many of severity error, dropped ones included */
	size_t dropped;
};

/* All strings are copied; pos may be NULL, object may be NULL. Returns MT_INVALID. */
int mt_diag_add(struct mt_diags *d, enum mt_severity sev, const struct mt_pos *pos,
	const char *object, const char *path, const char *fmt, ...) MT_PRINTF(6, 7);
void mt_diags_clear(struct mt_diags *d);
/* "file:line:col: error: object: path: msg" into heap text (mt_free). */
char *mt_diag_format(const struct mt_diag *d);
