/* The daemon's own struct: what its components share. Loop thread. */
#pragma once

#include "common/base/vec.h"
#include "galley/distribute/distribute.h"
#include "galley/keep.h"
#include "galley/options.h"
#include "galley/source/source.h"
#include "galley/store/store.h"

struct galley {
	struct mt_daemon *d;
	const struct galley_options *o;
	struct mt_rpc_env *env;
	struct mt_daemon_identity *identity;
	struct mt_rpc_server *server;
	struct mt_http_server *rest; /* NULL: REST is on the monitoring address */
	struct galley_store *store;
	struct galley_keep *keep;
	struct galley_distribute *distribute;
	MT_VEC(struct galley_source *) sources;
	size_t restored; /* objects of an earlier run */
	bool read_once;  /* every source has been read whole */
};

/* ingest.c: sources to store to distribution. */
int galley_ingest_start(struct mt_daemon *d, void *self, struct mt_err *err);
void galley_ingest_stop(struct mt_daemon *d, void *self);
int galley_sources_start(struct mt_daemon *d, void *self, struct mt_err *err);
void galley_sources_stop(struct mt_daemon *d, void *self);

/* pages.c: /debug/config, /debug/sources, /debug/subscribers. rest.c: /v1/... */
int galley_pages_start(struct mt_daemon *d, void *self, struct mt_err *err);
int galley_rest_start(struct mt_daemon *d, void *self, struct mt_err *err);
void galley_rest_stop(struct mt_daemon *d, void *self);

json_t *galley_diag_json(const struct mt_diag *d);
json_t *galley_diags_json(const struct mt_diags *d);
