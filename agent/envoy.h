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
	const struct agent_options *o; /* may change until it goes */
	const char *dir;               /* bootstrap.json, envoy.pid, envoy.log */
	const char *workload_env;      /* value of MT_WORKLOAD_ENV */
	struct mt_metrics *metrics;
	/* Envoy became ready, or is not any more. */
	void (*ready)(void *ctx, bool ready, const char *why);
	void *ctx;
};

struct agent_envoy *agent_envoy_new(const struct agent_envoy_opts *o);
/* Adopts or starts it, once: when its certificate is there (or none is needed), and what it is to be
 * started with. From then on the options do not change. plain: what it starts with when it does not get
 * as far as answering with the other; NULL none. env: more of its environment, "NAME=VALUE". */
int agent_envoy_go(struct agent_envoy *e, const json_t *bootstrap, const json_t *plain,
	const struct mt_strlist *env, struct mt_err *err);
/* Drains, then ends Envoy; done runs when it is gone. */
void agent_envoy_stop(struct agent_envoy *e, void (*done)(void *ctx), void *ctx);
/* After done, or before go. NULL allowed. */
void agent_envoy_free(struct agent_envoy *e);
bool agent_envoy_is_ready(const struct agent_envoy *e);
json_t *agent_envoy_json(const struct agent_envoy *e); /* for the debug page */
