/* The state machine of a probe:
 *
 *   idle ──initial delay──> asking ──answer──> counted ──period──> asking ...
 *
 * successThreshold good answers in a row make it healthy, failureThreshold bad ones unhealthy; until
 * the first of both its health is unknown. Defaults are those of Kubernetes: every 10 s, 1 s for an
 * answer, 1 and 3. */
#include "agent/probe.h"

#include <stdio.h>
#include <string.h>

#include "agent/probe_ask.h"
#include "common/base/mem.h"
#include "common/schema/pb.h"

struct agent_probe {
	struct agent_probe_opts o;
	struct mt_http_client *http;
	struct mt_timer *timer;
	struct mt_arena *arena; /* of spec */
	Nw__ReadinessProbe *spec;
	uint64_t hash;
	struct agent_ask *ask;
	int32_t good, bad; /* in a row */
	enum agent_health health;
};

static int32_t or (int32_t value, int32_t otherwise)
{
	return value > 0 ? value : otherwise;
}

static void become(struct agent_probe *p, enum agent_health health, const char *reason)
{
	if (p->health == health)
		return;
	p->health = health;
	p->o.changed(p->o.ctx, health, reason);
}

static void on_answer(void *ctx, const char *why)
{
	struct agent_probe *p = ctx;

	p->ask = NULL;
	p->good = why ? 0 : p->good + 1;
	p->bad = why ? p->bad + 1 : 0;
	mt_timer_start(p->timer, or (p->spec->period_seconds, 10) * MT_NS_PER_SEC, 0);
	if (!why && p->good >= or (p->spec->success_threshold, 1))
		become(p, AGENT_HEALTHY, "");
	else if (why && p->bad >= or (p->spec->failure_threshold, 3))
		become(p, AGENT_UNHEALTHY, why);
}

static void on_timer(void *arg)
{
	struct agent_probe *p = arg;

	p->ask = agent_ask_start(p->spec,
		&(struct agent_ask_opts){ .loop = p->o.loop,
			.env = p->o.env,
			.http = p->http,
			.ip = p->o.ip,
			.allow_exec = p->o.allow_exec,
			.timeout_ns = or (p->spec->timeout_seconds, 1) * MT_NS_PER_SEC,
			.answer = on_answer,
			.ctx = p });
}

struct agent_probe *agent_probe_new(const struct agent_probe_opts *o)
{
	struct agent_probe *p = MT_NEW(struct agent_probe);

	p->o = *o;
	p->http = mt_http_client_new(o->loop);
	p->timer = mt_timer_new(o->loop, on_timer, p);
	return p;
}

static void stop(struct agent_probe *p)
{
	mt_timer_stop(p->timer);
	if (p->ask)
		agent_ask_cancel(MT_TAKE(p->ask));
	mt_arena_free(p->arena);
	p->arena = NULL;
	p->spec = NULL;
	p->good = p->bad = 0;
}

void agent_probe_set(struct agent_probe *p, const Nw__ReadinessProbe *spec)
{
	uint64_t hash = spec ? mt_pb_hash(&spec->base) : 0;

	if (hash == p->hash && !!spec == !!p->spec)
		return;
	stop(p);
	p->hash = hash;
	if (!spec) {
		become(p, AGENT_HEALTH_UNKNOWN, "");
		return;
	}
	p->arena = mt_arena_new(0);
	p->spec = (Nw__ReadinessProbe *)mt_pb_dup(&spec->base, p->arena);
	mt_timer_start(p->timer, or (spec->initial_delay_seconds, 0) * MT_NS_PER_SEC, 0);
}

void agent_probe_free(struct agent_probe *p)
{
	if (!p)
		return;
	stop(p);
	mt_timer_free(p->timer);
	mt_http_client_free(p->http);
	mt_free(p);
}
