#include "agent/admin.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/strs.h"

#define TIMEOUT_NS (2 * MT_NS_PER_SEC)
enum { BODY_MAX = 4 << 20 };

struct agent_admin {
	struct mt_http_client *http;
	char *base; /* "http://ADDR:PORT" */
};

struct call {
	struct agent_admin *a;
	void (*done)(void *ctx, bool ok, const char *why);
	void (*count)(void *ctx, long n);
	void *ctx;
};

struct agent_admin *agent_admin_new(struct mt_loop *l, const char *addr)
{
	struct agent_admin *a = MT_NEW(struct agent_admin);

	a->http = mt_http_client_new(l);
	a->base = mt_asprintf("http://%s", addr);
	return a;
}

void agent_admin_free(struct agent_admin *a)
{
	if (!a)
		return;
	mt_http_client_free(a->http);
	mt_free(a->base);
	mt_free(a);
}

static void start(struct agent_admin *a, const char *method, const char *path,
	void (*done)(void *ctx, const struct mt_http_result *r), const struct call *c)
{
	MT_AUTO(mt_strfreep) char *url = mt_asprintf("%s%s", a->base, path);

	mt_http_call_start(a->http,
		&(struct mt_http_call_opts){ .method = method,
			.url = url,
			.timeout_ns = TIMEOUT_NS,
			.max_body = BODY_MAX },
		done, mt_memdup(c, sizeof(*c)));
}

/* Ends the call with `why` when the answer is not a 200; true then. */
static bool failed(struct call *c, const struct mt_http_result *r, const char *what)
{
	char why[sizeof(r->err->msg) + 64];

	if (!r->err && r->status == 200)
		return false;
	if (r->err)
		snprintf(why, sizeof(why), "%s: %s", what, r->err->msg);
	else
		snprintf(why, sizeof(why), "%s: Envoy says %d %.*s", what, r->status,
			(int)MT_MIN(strcspn(r->body ? r->body : "", "\n"), (size_t)100),
			r->body ? r->body : "");
	if (c->done)
		c->done(c->ctx, false, why);
	else
		c->count(c->ctx, -1);
	mt_free(c);
	return true;
}

static long value_of(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at ? strtol(at + strlen(name), NULL, 10) : 0;
}

static void on_stats(void *ctx, const struct mt_http_result *r)
{
	struct call *c = ctx;
	const char *why = NULL;

	if (failed(c, r, "statistics"))
		return;
	if (value_of(r->body, "cluster_manager.cds.update_success: ") < 1)
		why = "no clusters from Pilot yet";
	else if (value_of(r->body, "listener_manager.lds.update_success: ") < 1)
		why = "no listeners from Pilot yet";
	else if (value_of(r->body, "listener_manager.workers_started: ") < 1)
		why = "workers have not started";
	c->done(c->ctx, !why, why ? why : "");
	mt_free(c);
}

static void on_live(void *ctx, const struct mt_http_result *r)
{
	struct call *c = ctx;

	if (failed(c, r, "not live"))
		return;
	start(c->a, NULL,
		"/stats?filter=^(cluster_manager.cds.update_success|listener_manager.lds.update_success|"
		"listener_manager.workers_started)$",
		on_stats, c);
	mt_free(c);
}

void agent_admin_ready(
	struct agent_admin *a, void (*done)(void *ctx, bool ready, const char *why), void *ctx)
{
	start(a, NULL, "/ready", on_live, &(struct call){ .a = a, .done = done, .ctx = ctx });
}

static void on_draining(void *ctx, const struct mt_http_result *r)
{
	struct call *c = ctx;

	if (failed(c, r, "drain"))
		return;
	c->done(c->ctx, true, "");
	mt_free(c);
}

void agent_admin_drain(
	struct agent_admin *a, void (*done)(void *ctx, bool ok, const char *why), void *ctx)
{
	start(a, "POST", "/drain_listeners?graceful&skip_exit", on_draining,
		&(struct call){ .a = a, .done = done, .ctx = ctx });
}

long agent_admin_sum(const char *text)
{
	long sum = 0;

	while (*text) {
		size_t n = strcspn(text, "\n");
		const char *colon = memchr(text, ':', n), *last = NULL;

		/* The name may hold colons of its own (addresses): the value follows the last. */
		for (; colon; colon = memchr(colon + 1, ':', n - (size_t)(colon + 1 - text)))
			last = colon;
		if (last && !mt_str_prefix(text, "listener.admin."))
			if (__builtin_add_overflow(sum, strtol(last + 1, NULL, 10), &sum))
				return LONG_MAX;
		text += n + (text[n] == '\n');
	}
	return sum;
}

static void on_count(void *ctx, const struct mt_http_result *r)
{
	struct call *c = ctx;

	if (failed(c, r, "statistics"))
		return;
	c->count(c->ctx, agent_admin_sum(r->body));
	mt_free(c);
}

void agent_admin_connections(struct agent_admin *a, void (*done)(void *ctx, long n), void *ctx)
{
	start(a, NULL, "/stats?filter=^listener%5C..*downstream_cx_active$", on_count,
		&(struct call){ .a = a, .count = done, .ctx = ctx });
}
