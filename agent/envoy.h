/* Envoy's life: starts it, starts it again when it dies, adopts the one that an earlier agent of this
 * work folder left running, drains and ends it. Loop thread. */
#pragma once

#include <jansson.h>

#include "agent/options.h"
#include "common/base/err.h"
#include "common/run/loop.h"

struct agent_envoy;

struct agent_envoy_opts {
	struct mt_loop *loop;
	const struct agent_options *o;
	const char *dir;          /* bootstrap.json, envoy.pid, envoy.log */
	json_t *bootstrap;        /* borrowed during start */
	const char *workload_env; /* value of MT_WORKLOAD_ENV */
	struct mt_metrics *metrics;
	/* Envoy became ready, or is not any more. */
	void (*ready)(void *ctx, bool ready, const char *why);
	void *ctx;
};

int agent_envoy_new(const struct agent_envoy_opts *o, struct agent_envoy **ret, struct mt_err *err);
/* Adopts or starts it: once, when its certificate is there (or none is needed). */
void agent_envoy_go(struct agent_envoy *e);
/* Drains, then ends Envoy; done runs when it is gone. */
void agent_envoy_stop(struct agent_envoy *e, void (*done)(void *ctx), void *ctx);
/* After done, or before go. NULL allowed. */
void agent_envoy_free(struct agent_envoy *e);
bool agent_envoy_is_ready(const struct agent_envoy *e);
json_t *agent_envoy_json(const struct agent_envoy *e); /* for the debug page */
