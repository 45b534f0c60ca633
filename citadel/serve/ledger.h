/* Ledger of what was issued: one JSON line a certificate in STATE/ledger, appended before the answer
 * goes out, fsynced in groups, rotated by size (ledger.1 is the file before, and so on). The newest
 * are also kept in memory for the debug page. Threads: any, after open. */
#pragma once

#include <jansson.h>

#include "common/base/clock.h"
#include "common/base/err.h"

enum { CITADEL_LEDGER_RECENT = 512 };

struct citadel_issue {
	int64_t at_ns; /* wall clock */
	int64_t until_ns;
	const char *serial; /* hex */
	const char *id;
	const char *method; /* how the caller was known */
	const char *peer;   /* its address */
};

struct citadel_ledger;
int citadel_ledger_open(const char *dir, int64_t max_bytes, int files, struct citadel_ledger **ret,
	struct mt_err *err);
void citadel_ledger_close(struct citadel_ledger *l); /* fsyncs; NULL allowed */
MT_DEFINE_FREEP(struct citadel_ledger *, citadel_ledger_closep, citadel_ledger_close)
int citadel_ledger_add(struct citadel_ledger *l, const struct citadel_issue *i, struct mt_err *err);
/* Makes what was added durable; cheap when nothing was. */
void citadel_ledger_sync(struct citadel_ledger *l);
/* The newest, at most `limit`, newest first; only those of `id` unless that is NULL. */
json_t *citadel_ledger_recent(struct citadel_ledger *l, size_t limit, const char *id);
