/* One question of a probe. Private to agent/probe*.c. Loop thread. */
#pragma once

#include "agent/probe.h"
#include "common/http/client.h"

struct agent_ask;

struct agent_ask_opts {
	struct mt_loop *loop;
	struct mt_rpc_env *env;
	struct mt_http_client *http;
	const char *ip;
	bool allow_exec;
	int64_t timeout_ns;
	/* Once, never from within agent_ask_start(). why: NULL when it is well. */
	void (*answer)(void *ctx, const char *why);
	void *ctx;
};

struct agent_ask *agent_ask_start(const Nw__ReadinessProbe *spec, const struct agent_ask_opts *o);
/* No answer after it. Its memory goes when what it began has ended. */
void agent_ask_cancel(struct agent_ask *a);
