/* What checks and reports share: the programs, who may call, where is counted. Made before the server
 * starts, ended after it stopped. */
#pragma once

#include "common/rpc/rpc.h"
#include "mixer/rule/program.h"

enum { MIXER_THREADS_MAX = 64 };

struct mixer_recent;
struct mixer_reports;

struct mixer_serve {
	struct mixer_slot *slot;
	const struct mt_clock *clock;
	struct mt_metrics *metrics; /* NULL in tests that do without */
	const char *trust_domain;   /* whose proxies may call; NULL: plaintext, any */
	bool trust_source_header;
	struct mixer_recent *recent;   /* NULL: checks are not kept */
	struct mixer_reports *reports; /* NULL: no access log service */

	/* Each thread its own arenas, used again for each check; of that thread alone. */
	struct {
		struct mt_arena *message; /* limited: what a peer's bytes unpack to */
		struct mt_arena *scratch;
	} thread[MIXER_THREADS_MAX];
};

void mixer_serve_init(struct mixer_serve *s);
void mixer_serve_clear(struct mixer_serve *s); /* when the server has stopped */
/* May peer call? MT_UNAUTHENTICATED, MT_DENIED. Any thread. */
int mixer_serve_allow(
	const struct mixer_serve *s, const struct mt_rpc_peer *peer, struct mt_err *err);
/* Adds to a counter of metrics.def by one label value (NULL: none). */
void mixer_serve_count(const struct mixer_serve *s, int metric, double v, const char *label);

/* The methods; ctx is s. */
struct mt_rpc_method mixer_check_method(struct mixer_serve *s);
struct mt_rpc_method mixer_accesslog_method(struct mixer_serve *s);
