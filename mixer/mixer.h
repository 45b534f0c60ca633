/* The daemon: what its components share. Loop thread, but for what says otherwise in its own header. */
#pragma once

#include "common/feed/feed.h"
#include "common/ident/daemon_identity.h"
#include "common/run/daemon.h"
#include "mixer/options.h"
#include "mixer/rule/compile.h"
#include "mixer/serve/recent.h"
#include "mixer/serve/reports.h"

struct mixer {
	struct mt_daemon *d;
	const struct mixer_options *o;
	struct mt_loop *loop;
	struct mt_rpc_env *env;
	struct mt_daemon_identity *identity;

	struct mt_http_client *http;
	struct mixer_collectors *collectors;
	struct mixer_adapter_env adapters;
	struct mt_map *health; /* handler -> heap text: what ails it */

	struct mt_feed *feed;
	bool connected;
	bool synced; /* configuration is complete: from Galley or from disk */
	struct mt_timer *compile;
	struct mixer_compiler *compiler;
	json_t *said; /* faults that the log has told already */

	struct mixer_serve serve;
	struct mt_rpc_server *server;
	struct mt_http_server *prometheus;
};

/* config.c: configuration in, programs out */
int mixer_config_start(struct mt_daemon *d, void *self, struct mt_err *err);
void mixer_config_stop(struct mt_daemon *d, void *self);
/* listen.c: checks and access logs, and the page that Prometheus scrapes */
int mixer_listen_start(struct mt_daemon *d, void *self, struct mt_err *err);
void mixer_listen_stop(struct mt_daemon *d, void *self);
int mixer_scrape_start(struct mt_daemon *d, void *self, struct mt_err *err);
void mixer_scrape_stop(struct mt_daemon *d, void *self);
/* pages.c: /debug */
int mixer_pages_start(struct mt_daemon *d, void *self, struct mt_err *err);
